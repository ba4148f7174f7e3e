"""Writes into an MLflow run which work it did: tags, parameters, recorded metrics and curves.

Runs that trained a student also get what the evaluation found out about it.

Shared by runs that are being executed and runs that `sync` restores, so that both look the same.
Neither opens nor ends a run.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from postbias.tracking.database import EXPERIMENT
from postbias.tracking.dvc_records import StageRecord, recorded_curves, recorded_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

    from postbias.paths import Paths

# What one call to the tracking store may hold, by MLflow's own limits.
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def stage_tags(stage: str, record: StageRecord | None) -> dict[str, str]:
    """Make the tags that say which work a run did.

    Args:
        stage: The stage's name.
        record: What it read and wrote, if DVC knows it.

    Returns:
        Tags `stage`, `modality` (in a matrix), `dvc.identity`, and the digest of each dependency
        and output as `dvc.deps.<path>` and `dvc.outs.<path>`.
    """
    tags = {"stage": stage.partition("@")[0]}
    modality = matrix_value(stage)
    if modality is not None:
        tags["modality"] = modality
    if record is not None:
        tags["dvc.identity"] = record.identity
        tags |= {f"dvc.deps.{path}": digest for path, digest in record.deps.items()}
        tags |= {f"dvc.outs.{path}": digest for path, digest in record.outs.items()}
    return tags


def log_params(run_id: str, params: Mapping[str, object]) -> None:
    """Log parameters, in as many calls as MLflow's limit asks for.

    Args:
        run_id: The run.
        params: Value by dotted key.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Param

    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), _PARAMS_PER_CALL):
        MlflowClient().log_batch(run_id, params=entries[start : start + _PARAMS_PER_CALL])


def log_recorded(paths: Paths, run_id: str, record: StageRecord) -> None:
    """Log what a stage's metrics and plots files say and its run does not have yet.

    Runs that were executed and runs that were restored have the same metrics by this.

    Args:
        paths: The repository.
        run_id: The run.
        record: The stage.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient()
    known = client.get_run(run_id).data.metrics
    now = int(time.time() * 1000)
    points = [(name, 0, value) for name, value in recorded_metrics(paths, record).items()]
    for name, curve in recorded_curves(paths, record).items():
        points += [(name, step, value) for step, value in curve]
    entries = [
        Metric(_NOT_IN_NAMES.sub("_", name), value, now, step)
        for name, step, value in points
        if name not in known and math.isfinite(value)
    ]
    for start in range(0, len(entries), _METRICS_PER_CALL):
        client.log_batch(run_id, metrics=entries[start : start + _METRICS_PER_CALL])


def log_tests(paths: Paths, figures: Mapping[str, Mapping[str, Figure]] | None = None) -> None:
    """Log what the evaluation found on the test fold onto the runs that trained the students.

    They are found by content: a student's run has the digest of its artifact as the tag `artifact`.
    Side by side in the UI, runs of the students then show what the decision rests on.

    Args:
        paths: The repository; reads `reports/evaluate.json`.
        figures: Figures by modality and name, without an ending, to keep with the runs.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    file = paths.reports / "evaluate.json"
    if not file.is_file():
        return
    client, now = MlflowClient(), int(time.time() * 1000)
    report = json.loads(file.read_text(encoding="utf-8"))
    for modality, student in report.get("students", {}).items():
        found = [
            Metric(f"test.{axis}.{name}", number["value"], now, 0)
            for axis, metrics in student["test"].items()
            for name, number in metrics.items()
            if number["value"] is not None
        ]
        for run_id in _runs_of(client, student["digest"]):
            known = client.get_run(run_id).data.metrics
            if new := [metric for metric in found if metric.key not in known]:
                client.log_batch(run_id, metrics=new)
            for name, figure in (figures or {}).get(modality, {}).items():
                client.log_figure(run_id, figure, f"{name}.png")


def _runs_of(client: MlflowClient, digest: str) -> list[str]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    wanted = f"tags.artifact = '{digest}' and tags.stage = 'train'"
    found = client.search_runs([experiment.experiment_id], wanted)
    return [str(run.info.run_id) for run in found]


def matrix_value(stage: str) -> str | None:
    """Give what stands behind the `@` of a matrix stage's name.

    Args:
        stage: The stage's name.

    Returns:
        `fusion` of `train@fusion`; none for a stage that is no matrix.
    """
    return stage.partition("@")[2] or None
