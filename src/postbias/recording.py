"""Writes into an MLflow run which work it did: tags, parameters, recorded metrics and curves.

Shared by runs that are being executed and runs that `sync` restores, so that both look the same.
Neither opens nor ends a run.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from postbias.lineage import StageRecord, recorded_curves, recorded_metrics

if TYPE_CHECKING:
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


def matrix_value(stage: str) -> str | None:
    """Give what stands behind the `@` of a matrix stage's name.

    Args:
        stage: The stage's name.

    Returns:
        `fusion` of `train@fusion`; none for a stage that is no matrix.
    """
    return stage.partition("@")[2] or None
