"""Registration of `build/champion` with MLflow, and look-up of registered artifacts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from postbias.errors import ArtifactError, ChampionError
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect
from postbias.tracking.model_versions import (
    ALIAS,
    MODEL,
    artifact_folder,
    champion_version,
    find_version,
    is_intact,
)
from postbias.tracking.promotion import (
    REFUSED,
    decide_promotion,
    record_promotion,
    record_refusal,
    store_valid_scores,
)
from postbias.tracking.registered_files import find_registered_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from postbias.paths import Paths
    from postbias.scoring.manifest import Precision

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Scores posts for gender bias. Input: a table with columns `caption` (text), `image` (base64 "
    "text, or bytes in process) and `images` (a list of such), each optional. Output: one row per "
    "post with scores, 90% intervals, band, modalities, n_images, status and detail."
)


@dataclass(frozen=True, slots=True)
class Registration:
    """The result of registering a student.

    Attributes:
        version: The model version that holds it.
        is_new: Whether the version was created by this call.
        previous: The version that was champion before, if it was another one.
        is_champion: Whether the alias points to this version.
        refused: Why it did not replace the champion; None if it did.
    """

    version: int
    is_new: bool
    previous: int | None
    is_champion: bool
    refused: str | None = None


def register_champion(
    paths: Paths, run_id: str, *, precision: Precision = "int8", is_forced: bool = False
) -> Registration:
    """Register `build/champion` and point the alias `champion` at it; idempotent.

    Before anything is registered, the packaged model is loaded in a separate process and its scores
    are compared with those of the artifact. The alias does not move if the current champion is
    significantly better on the same valid fold, nor in the temporary tree of a DVC experiment.

    Args:
        run_id: The run of the evaluate stage.
        precision: Precision that serving uses (`infer.precision`).
        is_forced: Whether to move the alias away from a better champion too.

    Returns:
        The version and the one that it replaced.

    Raises:
        ChampionError: If the packaged model and the artifact return different scores.
        ArtifactError: If `build/champion` is incomplete or damaged.
    """
    connect(paths)
    from filelock import FileLock
    from mlflow import MlflowClient

    artifact = Artifact.open(paths.champion)
    refused = None
    client = MlflowClient()
    with FileLock(paths.mlruns / ".registry.lock"):
        current = champion_version(client)
        version = find_version(client, artifact.digest, precision)
        is_new = version is None
        if version is None or not is_intact(version, artifact.digest):
            version = _register(client, artifact, version, run_id, precision)
        store_valid_scores(paths, version)
        is_other = current is None or current.version != version.version
        if is_other and not _is_experiment(paths):
            succession = decide_promotion(version, current)
            if succession.is_allowed or is_forced:
                client.set_registered_model_alias(MODEL, ALIAS, version.version)
                record_promotion(client, paths, run_id, (version, current), succession)
            else:
                refused = succession.why
                record_refusal(client, version, current, succession)
    return Registration(
        version=int(version.version),
        is_new=is_new,
        previous=int(current.version) if current is not None and is_other else None,
        is_champion=not is_other or not (_is_experiment(paths) or refused),
        refused=refused,
    )


def force_promotion(paths: Paths) -> Registration:
    """Make `build/champion` the champion even if the current one is significantly better.

    Returns:
        The version and the one that it replaced.

    Raises:
        ChampionError: If `build/champion` is missing or not registered, or in the temporary tree
            of a DVC experiment.
    """
    if _is_experiment(paths):
        raise ChampionError(
            "the temporary tree of a DVC experiment has no champion",
            do="run `postbias promote` in the main checkout",
        )
    connect(paths)
    from mlflow import MlflowClient

    version = find_version(MlflowClient(), _built(paths).digest)
    if version is None or version.run_id is None:
        raise ChampionError("build/champion is not registered", do="run `postbias sync`")
    precision: Precision = "fp32" if version.tags.get("precision") == "fp32" else "int8"
    return register_champion(paths, version.run_id, precision=precision, is_forced=True)


def champion_artifact(paths: Paths) -> Path:
    """Return the folder of the registered champion after checking that it is `build/champion`.

    Returns:
        The artifact folder inside the registered model.

    Raises:
        ChampionError: If no champion is registered, its files are missing or damaged, or it is
            not `build/champion`.
    """
    connect(paths)
    from mlflow import MlflowClient

    built = _built(paths)
    client = MlflowClient()
    if _is_experiment(paths):
        version = find_version(client, built.digest)
    else:
        version = champion_version(client)
    if version is None:
        raise ChampionError(
            f"no champion is registered: models:/{MODEL}@{ALIAS} does not exist",
            do="run `postbias sync`",
        )
    registered = version.tags.get("digest", "")
    if registered != built.digest:
        refused = find_version(client, built.digest)
        if refused is not None and REFUSED in refused.tags:
            raise ChampionError(
                f"the pipeline built version {refused.version}, which is worse than the champion, "
                f"version {version.version}: {refused.tags[REFUSED]}",
                do="restore the data, params and code that produced the champion, or run "
                "`postbias promote` to use the new version anyway",
            )
        raise ChampionError(
            f"version {version.version} is the registered champion, but build/champion is another",
            seen=registered[:12],
            allowed=built.digest[:12],
            do="run `postbias sync`",
        )
    folder = artifact_folder(version)
    if folder is None or not is_intact(version, built.digest):
        raise ChampionError(
            f"the files of version {version.version} are missing or damaged",
            do="run `postbias sync` to restore them",
        )
    return folder


def warn_if_another_champion(paths: Paths) -> None:
    """Warn if the registry's champion is not `build/champion`; the stage scores with the latter.

    What a DVC stage writes must follow from its inputs, and the registry is not one of them.
    """
    try:
        champion_artifact(paths)
    except ChampionError as error:
        logger.warning("scoring with build/champion, but %s", error)


def fetch_artifact(uri: str, paths: Paths | None) -> Path:
    """Fetch the artifact of a registered model.

    Args:
        uri: Such as `models:/postbias@champion` or `models:/postbias/3`.
        paths: The repository whose database to use; None for MLflow's own environment variables.

    Returns:
        The artifact folder inside the model.

    Raises:
        ChampionError: If there is no such model.
    """
    if paths is not None:
        if (folder := find_registered_files(uri, paths)) is not None:
            return folder
        connect(paths)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from postbias.tracking.packaging import STUDENT_PATH

    try:
        return Path(download_artifacts(artifact_uri=uri)) / STUDENT_PATH
    except (MlflowException, OSError) as error:
        do = "run `postbias sync`, or name the folder of an artifact"
        raise ChampionError("no such registered model", seen=uri, do=do) from error


def _built(paths: Paths) -> Artifact:
    try:
        return Artifact.open(paths.champion)
    except ArtifactError as error:
        raise ChampionError(f"there is no build/champion: {error}") from error


def _is_experiment(paths: Paths) -> bool:
    return paths.root != paths.persistent_root


def _register(
    client: MlflowClient,
    artifact: Artifact,
    version: ModelVersion | None,
    run_id: str,
    precision: Precision,
) -> ModelVersion:
    """Package, check and register; a version whose files are missing gets them back."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from postbias.tracking.packaging import check_package, write_package

    with TemporaryDirectory() as temporary:
        package = Path(temporary) / "model"
        write_package(artifact, package, precision=precision)
        check_package(artifact, package, precision=precision)
        if version is not None:
            source = str(version.source)
        else:
            # One run may register two versions: the same student in another precision.
            name = f"model-{artifact.digest[:12]}-{precision}"
            source = f"{client.get_run(run_id).info.artifact_uri}/{name}"
        # Not by run id: MLflow has the location from before the checkout moved.
        get_artifact_repository(source).log_artifacts(str(package))  # type: ignore[no-untyped-call]
    if version is not None:
        return version
    try:
        client.create_registered_model(MODEL, description=_DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    manifest = artifact.manifest
    tags = {
        "digest": artifact.digest,
        "precision": precision,
        "modality": manifest.modality,
        "rubric": manifest.rubric,
        "training_digest": manifest.training_digest,
        **{name: value for name, value in artifact.lineage.items() if name != "artifact"},
    }
    return client.create_model_version(MODEL, source, run_id, tags)
