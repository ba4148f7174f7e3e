"""Distribution of the labels of each axis, and warnings, for `reports/labels.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.teacher.labels import OK
from postbias.teacher.rubric import Rubric, RubricAxis

#: Beyond these limits labels carry too little information for a regression; see docs/teacher.md.
MAX_MODAL_SHARE = 0.5
MIN_DISTINCT = 5
MIN_SPREAD_SHARE = 0.05
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 20


def describe_label_axes(labels: pa.Table, rubric: Rubric) -> dict[str, Any]:
    """Describe the distribution of the valid labels of each axis.

    Args:
        labels: The table of labels, rejects included.
        rubric: The axes and their ranges.

    Returns:
        Per axis: moments, quantiles, histogram, distinct values, the mode and its share, heaping
        (the share of the three most frequent values) and warnings.
    """
    valid = labels.filter(pc.equal(labels["status"], OK))
    return {axis.name: _describe_axis(valid[axis.name].to_numpy(), axis) for axis in rubric.axes}


def label_histogram_rows(axes: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert the histograms to the rows that DVC plots.

    Args:
        axes: Result of `describe_label_axes`.

    Returns:
        One row per axis and bin: `axis`, `score_from`, `score_to`, `posts` and `share` of the
        labels of the axis.
    """
    rows = []
    for name, described in axes.items():
        if described["n"]:
            counts, edges = described["histogram"]["counts"], described["histogram"]["edges"]
            for start, end, count in zip(edges, edges[1:], counts, strict=False):
                bin_ = {"axis": name, "score_from": start, "score_to": end}
                rows.append({**bin_, "posts": count, "share": round(count / described["n"], 6)})
    return rows


def collect_warnings(axes: dict[str, Any]) -> list[str]:
    """Collect the warnings of all axes, the main axis first."""
    return [warning for axis in axes.values() for warning in axis["warnings"]]


def _describe_axis(scores: npt.NDArray[np.float64], axis: RubricAxis) -> dict[str, Any]:
    values, counts = np.unique(scores, return_counts=True)
    if not len(values):
        return {"n": 0, "warnings": [f"{axis.name}: no valid label"]}
    mode = values[np.argmax(counts)]
    histogram, edges = np.histogram(scores, bins=_BINS, range=(axis.low, axis.high))
    described = {
        "n": len(scores),
        "mean": float(scores.mean()),
        "sd": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "quantiles": {f"{q:g}": float(np.quantile(scores, q)) for q in _QUANTILES},
        "histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
        "distinct": len(values),
        "mode": float(mode),
        "share_at_mode": float(counts.max() / len(scores)),
        "heaping": float(np.sort(counts)[-3:].sum() / len(scores)),
    }
    return {**described, "warnings": _warnings(described, axis)}


def _warnings(described: dict[str, Any], axis: RubricAxis) -> list[str]:
    warnings = []
    if described["share_at_mode"] > MAX_MODAL_SHARE:
        warnings.append(
            f"{axis.name}: {described['share_at_mode']:.0%} of the labels are "
            f"{described['mode']:g}; a constant will be hard to beat"
        )
    if described["distinct"] < MIN_DISTINCT:
        warnings.append(
            f"{axis.name}: only {described['distinct']} distinct values; this is a "
            "classification, judge students by rank or RMSE"
        )
    if described["sd"] < MIN_SPREAD_SHARE * (axis.high - axis.low):
        warnings.append(
            f"{axis.name}: sd {described['sd']:.2g} on a scale of {axis.high - axis.low:g}; "
            "the labels hardly differ, a student has nothing to learn"
        )
    return warnings
