"""Write the reports and plot data of an evaluation, and the champion's folder."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.errors import ArtifactError
from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_json import evaluation_to_json
from postbias.evaluation.gate import require_passed
from postbias.json_files import write_json
from postbias.paths import Paths
from postbias.posts.shards import atomic_write
from postbias.scoring.artifact import Artifact
from postbias.stats.metrics import Predictions, calibration_curve

if TYPE_CHECKING:
    from pathlib import Path


#: Metrics in `metrics.json`, for `dvc metrics show`; `evaluate.json` has all of them.
HEADLINE_METRICS = ("mae", "rmse", "r2", "spearman", "auc_high")

#: Columns of the scores that a later challenger is compared by, and of the plot data.
VALID_PREDICTIONS = ("modality", "axis", "post_id", "author", "label", "score")
PREDICTIONS = ("modality", "axis", "post_id", "author", "label", "score", "lo", "hi")
CALIBRATION = ("modality", "axis", "score", "label", "n")
COMPARISON = ("model", "axis", "metric", "value", "lo", "hi")

Json = dict[str, Any]


def write_evaluation(evaluation: Evaluation, paths: Paths) -> Json:
    """Write `evaluate.json`, `metrics.json`, `valid_predictions.csv` and `plots/` to `reports/`.

    Separate from `write_champion`, so that the reports exist even if the student fails the gate.

    Returns:
        The content of `evaluate.json`.
    """
    report = evaluation_to_json(evaluation)
    write_json(paths.reports / "evaluate.json", report)
    models = report["students"] | report["baselines"]
    write_json(
        paths.reports / "metrics.json",
        {
            "valid": {
                name: _select_headlines(student["valid"])
                for name, student in report["students"].items()
            },
            "test": {name: _select_headlines(model["test"]) for name, model in models.items()},
        },
    )
    _write_csv(paths.reports / "valid_predictions.csv", VALID_PREDICTIONS, _valid_rows(evaluation))
    folder = paths.reports / "plots"
    _write_csv(folder / "predictions.csv", PREDICTIONS, _prediction_rows(evaluation))
    _write_csv(folder / "calibration.csv", CALIBRATION, _calibration_rows(evaluation))
    _write_csv(folder / "comparison.csv", COMPARISON, _comparison_rows(models))
    return report


def write_champion(evaluation: Evaluation, paths: Paths) -> Artifact:
    """Copy the chosen student to `build/champion` if it passed the gate.

    Returns:
        The champion's artifact.

    Raises:
        ArtifactError: If the student is not the one that was evaluated.
        GateError: If it did not pass the gate; there is no champion then.
    """
    shutil.rmtree(paths.champion, ignore_errors=True)
    require_passed(evaluation.gate, evaluation.chosen)
    temporary = paths.champion.with_name(f".{paths.champion.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(paths.students / evaluation.chosen, temporary)
    if Artifact.open(temporary).digest != evaluation.students[evaluation.chosen].digest:
        shutil.rmtree(temporary)
        raise ArtifactError(
            f"student {evaluation.chosen} changed during its evaluation",
            do="run `dvc repro` again",
        )
    temporary.replace(paths.champion)
    return Artifact.open(paths.champion)


def _select_headlines(by_axis: Json) -> Json:
    return {
        axis: {metric: metrics[metric]["value"] for metric in HEADLINE_METRICS}
        for axis, metrics in by_axis.items()
    }


def _iter_predictions(
    evaluation: Evaluation,
) -> Iterator[tuple[str, str, np.ndarray, Predictions]]:
    """Yield student, axis, labels and predictions of the test fold."""
    for name, student in evaluation.students.items():
        for column, axis in enumerate(evaluation.test_set.axes):
            labels = evaluation.test_set.fold.labels[:, column]
            yield name, axis.name, labels, student.test.by_axis[axis.name]


def _valid_rows(evaluation: Evaluation) -> Iterator[Sequence[object]]:
    fold, axis = evaluation.folds["valid"], evaluation.test_set.axes[0].name
    for name, student in evaluation.students.items():
        scored = student.valid.by_axis[axis]
        for row in np.flatnonzero(scored.is_scored):
            numbers = (fold.labels[row, 0], scored.values[row])
            yield name, axis, fold.post_ids[row], fold.authors[row], *map(_format, numbers)


def _prediction_rows(evaluation: Evaluation) -> Iterator[Sequence[object]]:
    fold = evaluation.test_set.fold
    for name, axis, labels, scored in _iter_predictions(evaluation):
        for row in np.flatnonzero(scored.is_scored):
            numbers = (labels[row], scored.values[row], scored.lo[row], scored.hi[row])
            yield name, axis, fold.post_ids[row], fold.authors[row], *map(_format, numbers)


def _calibration_rows(evaluation: Evaluation) -> Iterator[Sequence[object]]:
    for name, axis, labels, scored in _iter_predictions(evaluation):
        rows = scored.is_scored
        for score, label, n in calibration_curve(labels[rows], scored.values[rows]):
            yield name, axis, _format(score), _format(label), int(n)


def _comparison_rows(models: Json) -> Iterator[Sequence[object]]:
    for name, model in models.items():
        for axis, metrics in model["test"].items():
            for metric, number in metrics.items():
                if number["value"] is not None:
                    yield name, axis, metric, *(_format(number[k]) for k in ("value", "lo", "hi"))


def _format(number: float | None) -> str:
    return "" if number is None or not np.isfinite(number) else f"{number:.6g}"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
