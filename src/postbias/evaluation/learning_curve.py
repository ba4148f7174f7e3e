"""The learning curve: test metrics of students trained on increasing shares of the labels.

All are measured on the test posts and resamples of `evaluate.json`, so that the difference between
two of them has its own interval.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from postbias.axes import Axis
from postbias.evaluation.evaluation_set import EvaluationSet, Measured
from postbias.evaluation.labelled_folds import load_labelled_folds, score_folds
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.shards import atomic_write
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import summarize_replicates

CURVE_METRICS = ("mae", "rmse", "r2", "spearman")
_COLUMNS = ("axis", "labels", "share", "metric", "value", "lo", "hi")

Json = dict[str, Any]


def measure_learning_curve(paths: Paths, params: Params, artifacts: Mapping[float, Path]) -> Json:
    """Measure students that were trained on increasing shares of the train fold.

    Args:
        artifacts: Folder of each student by its share of the train fold, ascending.

    Returns:
        The content of `reports/learning_curve.json`: `modality`, `axis` (the main one), `points`
        (`share`, `labels`, and an estimate by axis and metric), and `last_step`: the two largest
        numbers of labels, and the change from one to the other by axis and metric.
    """
    with ExitStack() as stack:
        scorers = [
            stack.enter_context(
                Scorer.open(
                    folder,
                    precision=params.infer.precision,
                    threads=params.threads,
                    device=params.infer.device,
                    image_texts=paths.image_texts,
                )
            )
            for folder in artifacts.values()
        ]
        axes = scorers[0].manifest.axes
        fold = load_labelled_folds(paths, axes)["test"]
        predictions = score_folds(paths, [(scorer, fold) for scorer in scorers], axes)
        manifests = [scorer.manifest for scorer in scorers]
    rng = np.random.default_rng(params.seed).spawn(2)[1]  # the test fold's, as in `evaluate`
    test = EvaluationSet.create(fold, axes, params.evaluate.bootstrap, rng)
    measured = [test.measure(scored.by_axis) for scored in predictions]
    points = [
        {
            "share": share,
            "labels": manifest.n_train,
            **{
                axis: {
                    metric: summarize_replicates(by_metric[metric]).as_dict()
                    for metric in CURVE_METRICS
                }
                for axis, by_metric in by_axis.items()
            },
        }
        for share, manifest, by_axis in zip(artifacts, manifests, measured, strict=True)
    ]
    has_step = len(points) > 1
    return {
        "modality": manifests[-1].modality,
        "axis": axes[0].name,
        "points": points,
        "last_step": {"from": points[-2]["labels"], "to": points[-1]["labels"]}
        | _last_change(axes, measured)
        if has_step
        else None,
    }


def write_curve_csv(report: Json, path: Path) -> None:
    """Write the points of the learning curve as CSV, for plots.

    Args:
        report: Result of `measure_learning_curve`.

    Raises:
        StorageError: If it cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for point in report["points"]:
            for axis, metrics in point.items():
                if axis in ("share", "labels"):
                    continue
                for metric, number in metrics.items():
                    if number["value"] is not None:
                        ends = ("" if x is None else f"{x:.6g}" for x in number.values())
                        writer.writerow((axis, point["labels"], point["share"], metric, *ends))


def curve_metrics(report: Json) -> dict[str, float]:
    """Select the numbers to log.

    Args:
        report: Result of `measure_learning_curve`.

    Returns:
        Value of `learning.<labels>.<metric>` for each number of labels, on the main axis.
    """
    axis = report["axis"]
    return {
        f"learning.{point['labels']}.{metric}": number["value"]
        for point in report["points"]
        for metric, number in point[axis].items()
        if number["value"] is not None
    }


def _last_change(axes: tuple[Axis, ...], measured: Sequence[Measured]) -> Json:
    before, after = measured[-2:]
    return {
        axis.name: {
            metric: summarize_replicates(
                after[axis.name][metric] - before[axis.name][metric]
            ).as_dict()
            for metric in CURVE_METRICS
        }
        for axis in axes
    }
