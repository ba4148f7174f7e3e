"""Finds versions of the registered model: by alias, by content, and whether their files are whole.

A version carries the digest of the artifact that it was made of. Reads MLflow, changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from postbias.errors import ArtifactError, TrackingError
from postbias.scoring.artifact import Artifact
from postbias.tracking.packaging import STUDENT_PATH

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from postbias.scoring.manifest import Precision

MODEL = "postbias"
ALIAS = "champion"


def champion_version(client: MlflowClient) -> ModelVersion | None:
    """Find the champion.

    Args:
        client: Of the MLflow to ask.

    Returns:
        The version that the alias points to; None if there is none.

    Raises:
        TrackingError: If the registry cannot be read.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, ALIAS)
    except MlflowException as error:
        # Neither the model nor the alias: two codes for "there is none".
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise TrackingError(f"MLflow's registry cannot be read: {error.error_code}") from error


def find_version(
    client: MlflowClient, digest: str, precision: Precision | None = None
) -> ModelVersion | None:
    """Find the version that was made of an artifact.

    Args:
        client: Of the MLflow to ask.
        digest: Of the artifact.
        precision: Which of its graphs serving must run; None takes either.

    Returns:
        The version; None if there is none.
    """
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        has_precision = precision in {None, version.tags.get("precision")}
        if version.tags.get("digest") == digest and has_precision:
            return version
    return None


def student_folder(version: ModelVersion) -> Path | None:
    """Find the artifact inside a version's packed model.

    Args:
        version: The version.

    Returns:
        Its folder; None if the files are gone.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=version.source)) / STUDENT_PATH
    except (MlflowException, OSError):
        return None


def is_whole(version: ModelVersion, digest: str) -> bool:
    """Tell whether a version's files are there and undamaged.

    Args:
        version: The version.
        digest: Of the artifact that they must be.

    Returns:
        Whether they are.
    """
    folder = student_folder(version)
    try:
        return folder is not None and Artifact.open(folder).digest == digest
    except ArtifactError:
        return False
