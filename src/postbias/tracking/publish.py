"""Copies of the report in MLflow, which name the commit and the runs behind the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from postbias.errors import TrackingError
from postbias.report.page import MODEL_CARD, Origin
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect
from postbias.tracking.dvc_records import git_state, locked_records
from postbias.tracking.model_versions import MODEL
from postbias.tracking.runs import StageRun

if TYPE_CHECKING:
    from postbias.paths import Paths
    from postbias.report.findings import Findings

logger = logging.getLogger(__name__)

_ITSELF = "report"


def publish_report(run: StageRun, found: Findings) -> None:
    """Store the report page and the cards with the run, and the cards with the champion.

    Args:
        run: The run of the report stage.
        found: The content of the report.
    """
    run.log_text(found.page(find_origin(run.paths)), "report.html")
    for name, text in found.cards.items():
        run.log_text(text, f"cards/{name}")
    attach_cards(run.paths)


def attach_cards(paths: Paths) -> bool:
    """Attach the model card and the data sheet to the registered versions of `build/champion`.

    The model card becomes the version's description; both become files beside its model.

    Returns:
        Whether there were cards and a version to attach them to.
    """
    connect(paths)
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    card = paths.cards / MODEL_CARD
    if not card.is_file() or not paths.champion.is_dir():
        return False
    digest = Artifact.open(paths.champion).digest
    client = MlflowClient()
    versions = client.search_model_versions(f"name = '{MODEL}' and tags.digest = '{digest}'")
    text = card.read_text(encoding="utf-8")
    for version in versions:
        if version.description != text:
            repository = get_artifact_repository(str(version.source))
            repository.log_artifacts(str(paths.cards), "cards")  # type: ignore[no-untyped-call]
            client.update_model_version(MODEL, version.version, text)
    return bool(versions)


def find_origin(paths: Paths) -> Origin:
    """Find the commit and the MLflow runs behind the outputs of the pipeline."""
    from mlflow import MlflowClient

    commit = git_state(paths).get("git.commit")
    try:
        records = [r for r in locked_records(paths) if r.name != _ITSELF]
    except TrackingError as error:
        logger.warning("the report does not name its runs: %s", error)
        return Origin(commit, ())
    client = MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = []
    for record in records:
        hits = client.search_runs(
            experiments,
            f"tags.`dvc.identity` = '{record.identity}' and attributes.status = 'FINISHED'",
            max_results=1,
        )
        # In the UI that `make ui` starts, on the Makefile's default port.
        runs += [
            (
                record.name,
                str(hit.info.run_id),
                f"http://localhost:5000/#/experiments/{hit.info.experiment_id}"
                f"/runs/{hit.info.run_id}",
            )
            for hit in hits
        ]
    return Origin(commit, tuple(runs))
