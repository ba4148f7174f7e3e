"""Registers the pipeline's champion with MLflow and finds it again.

Versions are found by the digest of the artifact they were made of, so that none is registered
twice. The alias `champion` belongs to the checkout: an experiment in a
temporary tree (`dvc exp run --temp`, `--queue`) registers its student but leaves the alias alone.
"""

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
    champion_version,
    find_version,
    is_whole,
    student_folder,
)
from postbias.tracking.promotion import (
    REFUSED,
    keep_test_scores,
    record_promotion,
    record_refusal,
    succeed,
)

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
    """What registering a student came to.

    Attributes:
        version: The model version that holds it.
        is_new: Whether the version was made now.
        previous: The version that was champion before, if another one was.
        is_champion: Whether the alias points to it; not in an experiment's temporary tree.
        refused: Why it may not take the place of the champion, if so.
    """

    version: int
    is_new: bool
    previous: int | None
    is_champion: bool
    refused: str | None = None


def register_champion(
    paths: Paths, run_id: str, *, precision: Precision = "int8", is_forced: bool = False
) -> Registration:
    """Make `build/champion` the registered champion; does nothing if it is that already.

    The model is packed, loaded in a process of its own and compared with the student before
    anything is registered and before the alias moves. The alias stays where it is if the champion
    was better on the same test fold.

    Args:
        paths: The repository.
        run_id: The run of the stage that chose it.
        precision: Which of its graphs serving runs (`infer.precision`).
        is_forced: Whether the alias moves even from a better one.

    Returns:
        The version, and what it took the place of.

    Raises:
        ChampionError: If the packed model does not answer as the student does.
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
        if version is None or not is_whole(version, artifact.digest):
            version = _register(client, artifact, version, run_id, precision)
        keep_test_scores(paths, version)
        is_other = current is None or current.version != version.version
        if is_other and not _is_experiment(paths):
            succession = succeed(version, current)
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


def promote(paths: Paths) -> Registration:
    """Make `build/champion` the champion even if the one before was better on the same test fold.

    Args:
        paths: The repository.

    Returns:
        The version, and what it took the place of.

    Raises:
        ChampionError: If `build/champion` is missing or was never registered, or this is an
            experiment's temporary tree.
    """
    if _is_experiment(paths):
        raise ChampionError("an experiment's temporary tree has no champion of its own")
    connect(paths)
    from mlflow import MlflowClient

    version = find_version(MlflowClient(), _built(paths).digest)
    if version is None or version.run_id is None:
        raise ChampionError("what the pipeline built is not registered", do="run `postbias sync`")
    precision: Precision = "fp32" if version.tags.get("precision") == "fp32" else "int8"
    return register_champion(paths, version.run_id, precision=precision, is_forced=True)


def champion_artifact(paths: Paths) -> Path:
    """Give the registered champion's artifact, once it is sure that it is the pipeline's.

    Args:
        paths: The repository.

    Returns:
        The artifact folder inside the registered model.

    Raises:
        ChampionError: If no champion is registered, its files are gone or damaged, or it is
            another one than `build/champion`.
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
                do="go back to what made the champion, or run `postbias promote` to take the new "
                "one all the same",
            )
        raise ChampionError(
            f"version {version.version} is the registered champion, but the pipeline built another",
            seen=registered[:12],
            allowed=built.digest[:12],
            do="run `postbias sync`",
        )
    folder = student_folder(version)
    if folder is None or not is_whole(version, built.digest):
        raise ChampionError(
            f"the files of version {version.version} are gone or damaged",
            do="run `postbias sync`: it makes them again",
        )
    return folder


def warn_if_another_champion(paths: Paths) -> None:
    """Warn if the registry's champion is not `build/champion`; the stage scores with the latter.

    What a DVC stage writes must follow from its inputs, and the registry is not one of them.

    Args:
        paths: The repository.
    """
    try:
        champion_artifact(paths)
    except ChampionError as error:
        logger.warning("scoring with build/champion, but %s", error)


def registered_artifact(uri: str, paths: Paths | None) -> Path:
    """Give the artifact of any registered model.

    Args:
        uri: `models:/postbias@champion`, `models:/postbias/3` and the like.
        paths: The repository whose MLflow is asked; None for the one that MLflow's own
            environment variables name.

    Returns:
        The artifact folder inside the model.

    Raises:
        ChampionError: If there is no such model.
    """
    if paths is not None:
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
        raise ChampionError(f"the pipeline has built no champion: {error}") from error


def _is_experiment(paths: Paths) -> bool:
    return paths.root != paths.memory


def _register(
    client: MlflowClient,
    artifact: Artifact,
    version: ModelVersion | None,
    run_id: str,
    precision: Precision,
) -> ModelVersion:
    """Pack, prove and register; a version whose files are gone gets its files back."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from postbias.tracking.packaging import pack, prove

    with TemporaryDirectory() as temporary:
        package = Path(temporary) / "model"
        pack(artifact, package, precision=precision)
        prove(artifact, package, precision=precision)
        if version is not None:
            source = str(version.source)
        else:
            # One run may register two: the same student to be run in another precision.
            name = f"model-{artifact.digest[:12]}-{precision}"
            source = f"{client.get_run(run_id).info.artifact_uri}/{name}"
        # Not by run id: MLflow remembers where a run's files lay before the checkout moved.
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
    }
    return client.create_model_version(MODEL, source, run_id, tags)
