"""Look-up of registered model versions, by alias or by the digest of their artifact."""

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
    """Find the version that the alias `champion` points to.

    Returns:
        The version; None if there is none.

    Raises:
        TrackingError: If the registry cannot be read.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, ALIAS)
    except MlflowException as error:
        # No such model, no such alias.
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise TrackingError(f"cannot read the MLflow model registry: {error.error_code}") from error


def find_version(
    client: MlflowClient, digest: str, precision: Precision | None = None
) -> ModelVersion | None:
    """Find the version that contains an artifact.

    Args:
        digest: Digest of the artifact.
        precision: Precision that the version serves; None for either.

    Returns:
        The version; None if there is none.
    """
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        has_precision = precision in {None, version.tags.get("precision")}
        if version.tags.get("digest") == digest and has_precision:
            return version
    return None


def artifact_folder(version: ModelVersion) -> Path | None:
    """Return the folder of a version's artifact; None if its files are missing."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=version.source)) / STUDENT_PATH
    except (MlflowException, OSError):
        return None


def is_intact(version: ModelVersion, digest: str) -> bool:
    """Check whether the files of a version exist and have this digest."""
    folder = artifact_folder(version)
    try:
        return folder is not None and Artifact.open(folder).digest == digest
    except ArtifactError:
        return False
