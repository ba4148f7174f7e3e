"""The learning curve: how good a student is that learned from a share of the labels.

All are judged on the same test posts and the same draws of authors as in `evaluate.json`, so that
the difference between two of them has an interval of its own. Knows nothing of training.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from postbias.evaluation.labelled_folds import load_folds, score_folds
from postbias.evaluation.measure import Bench
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.shards import atomic_write
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import estimate

METRICS = ("mae", "rmse", "r2", "spearman")
_COLUMNS = ("axis", "labels", "share", "metric", "value", "lo", "hi")

Json = dict[str, Any]


def describe_shares(paths: Paths, params: Params, artifacts: Mapping[float, Path]) -> Json:
    """Measure students that learned from more and more labels.

    Args:
        paths: The repository; reads posts, labels and the split.
        params: How students are judged; `seed`, `threads`, `evaluate`, `infer`.
        artifacts: By share of the train fold the folder of the student that learned from it, in
            ascending order.

    Returns:
        The content of `reports/learning_curve.json`: `modality`, `axis` (the main one), `points`
        (`share`, `labels`, and by axis and metric an estimate), and `last_step`: from how many
        labels to how many, and by axis and metric by how much the value changed.
    """
    with ExitStack() as stack:
        scorers = [
            stack.enter_context(
                Scorer.open(
                    folder,
                    precision=params.infer.precision,
                    threads=params.threads,
                    device=params.infer.device,
                )
            )
            for folder in artifacts.values()
        ]
        axes = scorers[0].manifest.axes
        test = load_folds(paths, axes)["test"]
        scored = score_folds(paths, [(scorer, test) for scorer in scorers], axes)
        manifests = [scorer.manifest for scorer in scorers]
    rng = np.random.default_rng(params.seed).spawn(2)[1]  # as for the test fold in `evaluation`
    bench = Bench.of(test, axes, params.evaluate.bootstrap, rng)
    measured = [bench.measure(one.by_axis) for one in scored]
    points = [
        {
            "share": share,
            "labels": manifest.n_train,
            **{
                axis: {metric: estimate(found[metric]).as_dict() for metric in METRICS}
                for axis, found in by_axis.items()
            },
        }
        for share, manifest, by_axis in zip(artifacts, manifests, measured, strict=True)
    ]
    report: Json = {
        "modality": manifests[-1].modality,
        "axis": axes[0].name,
        "points": points,
        "last_step": None,
    }
    if len(points) > 1:
        before, after = measured[-2:]
        report["last_step"] = {
            "from": points[-2]["labels"],
            "to": points[-1]["labels"],
            **{
                axis.name: {
                    metric: estimate(after[axis.name][metric] - before[axis.name][metric]).as_dict()
                    for metric in METRICS
                }
                for axis in axes
            },
        }
    return report


def write_points(report: Json, path: Path) -> None:
    """Write the learning curve as data for a plot.

    Args:
        report: What `describe_shares` returned.
        path: A CSV file.

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
                for metric, found in metrics.items():
                    if found["value"] is not None:
                        ends = ("" if x is None else f"{x:.6g}" for x in found.values())
                        row = (axis, point["labels"], point["share"], metric, *ends)
                        writer.writerow(row)


def curve_metrics(report: Json) -> dict[str, float]:
    """Return the numbers to log.

    Args:
        report: What `describe_shares` returned.

    Returns:
        `learning.<labels>.<metric>` of the main axis.
    """
    axis = report["axis"]
    return {
        f"learning.{point['labels']}.{metric}": found["value"]
        for point in report["points"]
        for metric, found in point[axis].items()
        if found["value"] is not None
    }
