"""Promotion of registered versions to champion, and the record of each promotion.

Every version stores its scores of the valid fold beside its model, so that a later challenger can
be compared on the same posts.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from postbias.evaluation.champion_challenger import (
    ChampionComparison,
    ChampionScores,
    compare_champions,
    read_valid_scores,
)
from postbias.evaluation.results_table import load_evaluation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from postbias.paths import Paths

logger = logging.getLogger(__name__)

#: File beside a version's model with its scores of the valid fold.
VALID_SCORES = "valid_scores.json"
#: Tags of a version: time of its last promotion, and why a promotion was refused.
PROMOTED, REFUSED = "promoted_at", "refused"


def store_valid_scores(paths: Paths, version: ModelVersion) -> None:
    """Store a version's scores of the valid fold beside its model, if the reports hold them.

    Args:
        version: The version that holds `build/champion`.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    new = read_valid_scores(paths, version.tags["digest"])
    if new is None or new == _stored(version):
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / VALID_SCORES
        file.write_text(json.dumps(new.as_dict()), encoding="utf-8")
        repository = get_artifact_repository(str(version.source))
        repository.log_artifact(str(file))  # type: ignore[no-untyped-call]


def decide_promotion(version: ModelVersion, champion: ModelVersion | None) -> ChampionComparison:
    """Decide whether a version may become champion.

    Args:
        version: The challenger.
        champion: The current champion, another version; None if there is none.

    Returns:
        The decision and its reason.
    """
    if champion is None:
        return ChampionComparison(True, "there was no champion")
    # Returning to a former champion was the user's decision.
    if PROMOTED in version.tags:
        return ChampionComparison(True, "it was champion before")
    return compare_champions(_stored(version), _stored(champion))


def record_promotion(
    client: MlflowClient,
    paths: Paths,
    run_id: str,
    versions: tuple[ModelVersion, ModelVersion | None],
    succession: ChampionComparison,
) -> None:
    """Record a promotion, because MLflow keeps no history of its aliases.

    Args:
        run_id: The run that stores the record.
        versions: The new champion, and the previous one if there was one.
        succession: How the two compare.
    """
    version, previous = versions
    report = paths.reports / "evaluate.json"
    evaluated = load_evaluation(report) if report.is_file() else {}
    modality, now = version.tags["modality"], datetime.now(UTC)
    promotion: dict[str, Any] = {
        "version": int(version.version),
        "digest": version.tags["digest"],
        "modality": modality,
        "at": now.isoformat(timespec="seconds"),
        "instead_of": None
        if previous is None
        else {"version": int(previous.version), "digest": previous.tags.get("digest")},
        "succession": asdict(succession),
        "test": evaluated.get("students", {}).get(modality, {}).get("test"),
        "beat": evaluated.get("paired"),
        "gate": evaluated.get("gate"),
    }
    name = f"promotions/version-{version.version}-{now:%Y%m%dT%H%M%SZ}.json"
    client.log_dict(run_id, promotion, name)
    client.set_model_version_tag(version.name, version.version, PROMOTED, promotion["at"])
    if previous is not None:
        client.set_model_version_tag(
            version.name, version.version, "instead_of", str(previous.version)
        )
    logger.info(
        "version %s (%s) is champion%s: %s",
        version.version,
        modality,
        "" if previous is None else f" instead of version {previous.version}",
        succession.why,
    )


def record_refusal(
    client: MlflowClient,
    version: ModelVersion,
    champion: ModelVersion | None,
    succession: ChampionComparison,
) -> None:
    """Record why a version did not become champion.

    Args:
        version: The challenger.
        champion: The champion, which stays.
        succession: How the two compare.
    """
    client.set_model_version_tag(version.name, version.version, REFUSED, succession.why)
    logger.warning(
        "version %s does not become champion: version %s is better, %s; restore the data, params "
        "and code that produced it, or run `postbias promote` to use the new version anyway",
        version.version,
        champion.version if champion is not None else None,
        succession.why,
    )


def _stored(version: ModelVersion) -> ChampionScores | None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        file = Path(download_artifacts(artifact_uri=f"{version.source}/{VALID_SCORES}"))
        return ChampionScores.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (MlflowException, OSError, ValueError, KeyError, TypeError):
        return None
