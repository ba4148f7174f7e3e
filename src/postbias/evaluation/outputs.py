"""Writes what an evaluation found: the report, data for plots, and the champion's folder.

`reports/evaluate.json` is written before the gate has its say, so that a user whose students all
fail can read why; `build/champion/` exists only if the gate passed. Decides nothing.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.errors import ArtifactError
from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_json import (
    as_report,
)
from postbias.evaluation.gate import require
from postbias.json_files import write_json
from postbias.paths import Paths
from postbias.posts.shards import atomic_write
from postbias.scoring.artifact import Artifact
from postbias.stats.metrics import Predictions, calibration

if TYPE_CHECKING:
    from pathlib import Path


#: What `dvc metrics show` compares; everything is in `evaluate.json`.
HEADLINES = ("mae", "rmse", "r2", "spearman", "auc_high")

Json = dict[str, Any]


def write_outcome(found: Evaluation, paths: Paths) -> Json:
    """Write the reports and the data for plots.

    Args:
        found: The evaluation.
        paths: The repository; writes `reports/evaluate.json`, `reports/metrics.json` and
            `reports/plots/`.

    Returns:
        What `evaluate.json` says.
    """
    report = as_report(found)
    write_json(paths.reports / "evaluate.json", report)
    models = report["students"] | report["baselines"]
    write_json(
        paths.reports / "metrics.json",
        {name: _headlines(model["test"]) for name, model in models.items()},
    )
    folder = paths.reports / "plots"
    _write_csv(folder / "predictions.csv", PREDICTIONS, _prediction_rows(found))
    _write_csv(folder / "calibration.csv", CALIBRATION, _calibration_rows(found))
    _write_csv(folder / "comparison.csv", COMPARISON, _comparison_rows(models))
    return report


def promote(found: Evaluation, paths: Paths) -> Artifact:
    """Make the chosen student the champion if the gate lets it pass.

    Args:
        found: The evaluation.
        paths: The repository; writes `build/champion/`.

    Returns:
        The champion: a copy of the student's artifact.

    Raises:
        ArtifactError: If the copy is not what was evaluated.
    """
    shutil.rmtree(paths.champion, ignore_errors=True)
    require(found.gate, found.chosen)
    copying = paths.champion.with_name(f".{paths.champion.name}.tmp")
    shutil.rmtree(copying, ignore_errors=True)
    shutil.copytree(paths.students / found.chosen, copying)
    if Artifact.open(copying).digest != found.students[found.chosen].digest:
        shutil.rmtree(copying)
        raise ArtifactError(
            f"student {found.chosen} changed while it was judged", do="run `dvc repro` again"
        )
    copying.replace(paths.champion)
    return Artifact.open(paths.champion)


PREDICTIONS = ("modality", "axis", "post_id", "author", "label", "score", "lo", "hi")
CALIBRATION = ("modality", "axis", "score", "label", "n")
COMPARISON = ("model", "axis", "metric", "value", "lo", "hi")


def _headlines(by_axis: Json) -> Json:
    return {
        axis: {metric: metrics[metric]["value"] for metric in HEADLINES}
        for axis, metrics in by_axis.items()
    }


def _columns(found: Evaluation) -> Iterable[tuple[str, str, np.ndarray, Predictions]]:
    for name, student in found.students.items():
        for column, axis in enumerate(found.bench.axes):
            yield (
                name,
                axis.name,
                found.bench.fold.labels[:, column],
                student.test.by_axis[axis.name],
            )


def _prediction_rows(found: Evaluation) -> Iterable[Sequence[object]]:
    for name, axis, labels, said in _columns(found):
        for row in np.flatnonzero(said.is_scored):
            numbers = (labels[row], said.values[row], said.lo[row], said.hi[row])
            fold = found.bench.fold
            yield name, axis, fold.post_ids[row], fold.authors[row], *map(_short, numbers)


def _calibration_rows(found: Evaluation) -> Iterable[Sequence[object]]:
    for name, axis, labels, said in _columns(found):
        rows = said.is_scored
        for score, label, n in calibration(labels[rows], said.values[rows]):
            yield name, axis, _short(score), _short(label), int(n)


def _comparison_rows(models: Json) -> Iterable[Sequence[object]]:
    for name, model in models.items():
        for axis, metrics in model["test"].items():
            for metric, number in metrics.items():
                if number["value"] is not None:
                    yield name, axis, metric, *(_short(number[k]) for k in ("value", "lo", "hi"))


def _short(number: float | None) -> str:
    return "" if number is None or not np.isfinite(number) else f"{number:.6g}"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
