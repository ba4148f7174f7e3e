"""Tags, parameters, metrics and curves of a run.

Shared by executed runs and runs that `sync` restores, so that both look the same.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from postbias.evaluation.results_table import load_evaluation
from postbias.tracking.database import EXPERIMENT
from postbias.tracking.dvc_records import StageRecord, recorded_curves, recorded_metrics
from postbias.tracking.students_view import save_view

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from postbias.paths import Paths

# MLflow's limits for one call to the tracking store.
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def stage_tags(stage: str, record: StageRecord | None) -> dict[str, str]:
    """Build the tags that identify the work of a run.

    Args:
        record: DVC's record of the stage, if there is one.

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


def log_params(run_id: str, stage: str, params: Mapping[str, object]) -> None:
    """Log the parameters of a stage, and the modality where the stage trains one student.

    Args:
        params: Values by dotted key.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Param

    modality = matrix_value(stage)
    # As a parameter too: the UI compares runs by parameters, not by tags.
    params = params if modality is None else {"modality": modality, **params}
    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), _PARAMS_PER_CALL):
        MlflowClient().log_batch(run_id, params=entries[start : start + _PARAMS_PER_CALL])


def log_recorded(paths: Paths, run_id: str, record: StageRecord) -> None:
    """Log the contents of a stage's metrics and plots files, unless the run has them already.

    Args:
        record: DVC's record of the stage.
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


def log_test_metrics(paths: Paths, charts: Mapping[str, Mapping[str, bytes]] | None = None) -> None:
    """Add the test metrics of each student to the run that trained it.

    Also points the saved view of the UI at the newest run of each student.

    Args:
        paths: The repository; reads `reports/evaluate.json`.
        charts: Charts (PNG) to store with the runs, by modality and name.

    Raises:
        InputError: If the report is damaged.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    file = paths.reports / "evaluate.json"
    if not file.is_file():
        return
    report = load_evaluation(file)
    client, now = MlflowClient(), int(time.time() * 1000)
    experiment_id = _experiment_id(client)
    newest: list[str] = []
    for modality, student in report.get("students", {}).items():
        found = [
            Metric(f"test.{axis}.{name}", number["value"], now, 0)
            for axis, metrics in student["test"].items()
            for name, number in metrics.items()
            if number["value"] is not None
        ]
        # Found by content: a training run is tagged with the digest of the artifact it wrote.
        run_ids = _training_runs(client, experiment_id, student["digest"])
        newest += run_ids[:1]
        for run_id in run_ids:
            known = client.get_run(run_id).data.metrics
            if new := [metric for metric in found if metric.key not in known]:
                client.log_batch(run_id, metrics=new)
            with TemporaryDirectory() as folder:
                for name, image in (charts or {}).get(modality, {}).items():
                    (Path(folder) / f"{name}.png").write_bytes(image)
                client.log_artifacts(run_id, folder)
    if newest:
        main = report["main"]["axis"]
        axes = [main, *(axis for axis in report["axes"] if axis != main)]
        save_view(client, experiment_id, newest, axes)


def _experiment_id(client: MlflowClient) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return str(experiment.experiment_id)


def _training_runs(client: MlflowClient, experiment_id: str, digest: str) -> list[str]:
    """Return the runs that trained the student with this digest, the newest first."""
    query = f"tags.artifact = '{digest}' and tags.stage = 'train'"
    runs = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"])
    return [str(run.info.run_id) for run in runs]


def matrix_value(stage: str) -> str | None:
    """Return the part after the `@` of a matrix stage's name; None for other stages."""
    return stage.partition("@")[2] or None
