"""What a person should know of labels before a student is trained on them.

Takes the table of labels and gives plain numbers for `reports/labels.json`; writes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.teacher.labels import OK
from postbias.teacher.rubric import Rubric, RubricAxis

#: Beyond these, labels say too little for a regression; see docs/teacher.md.
MAX_MODAL_SHARE = 0.5
MIN_DISTINCT = 5
MIN_SPREAD_SHARE = 0.05
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 20


def describe_axes(labels: pa.Table, rubric: Rubric) -> dict[str, Any]:
    """Describe the distribution of valid labels, axis by axis.

    Args:
        labels: A table of labels.
        rubric: By what they were scored.

    Returns:
        Per axis: moments, quantiles, histogram, distinct values, the mode and its share, heaping
        (the share of the three commonest values) and warnings.
    """
    good = labels.filter(pc.equal(labels["status"], OK))
    return {axis.name: _describe_axis(good[axis.name].to_numpy(), axis) for axis in rubric.axes}


def histogram_rows(axes: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay the histograms out for DVC's plots.

    Args:
        axes: What `describe_axes` returned.

    Returns:
        One row per axis and bin: `axis`, `score_from`, `score_to`, `posts` and `share` of the
        axis' labels.
    """
    rows = []
    for name, found in axes.items():
        if found["n"]:
            counts, edges = found["histogram"]["counts"], found["histogram"]["edges"]
            for start, end, count in zip(edges, edges[1:], counts, strict=False):
                where = {"axis": name, "score_from": start, "score_to": end}
                rows.append({**where, "posts": count, "share": round(count / found["n"], 6)})
    return rows


def warnings_of(axes: dict[str, Any]) -> list[str]:
    """Collect the warnings of all axes.

    Args:
        axes: What `describe_axes` returned.

    Returns:
        One sentence per warning, the main axis first.
    """
    return [warning for axis in axes.values() for warning in axis["warnings"]]


def _describe_axis(scores: npt.NDArray[np.float64], axis: RubricAxis) -> dict[str, Any]:
    values, counts = np.unique(scores, return_counts=True)
    if not len(values):
        return {"n": 0, "warnings": [f"{axis.name}: no valid label"]}
    mode = values[np.argmax(counts)]
    histogram, edges = np.histogram(scores, bins=_BINS, range=(axis.low, axis.high))
    found = {
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
    return {**found, "warnings": _warn(found, axis)}


def _warn(found: dict[str, Any], axis: RubricAxis) -> list[str]:
    warnings = []
    if found["share_at_mode"] > MAX_MODAL_SHARE:
        warnings.append(
            f"{axis.name}: {found['share_at_mode']:.0%} of the labels are {found['mode']:g}; "
            "a constant will be hard to beat"
        )
    if found["distinct"] < MIN_DISTINCT:
        warnings.append(
            f"{axis.name}: only {found['distinct']} distinct values; this is a classification, "
            "judge students by rank or RMSE"
        )
    if found["sd"] < MIN_SPREAD_SHARE * (axis.high - axis.low):
        warnings.append(
            f"{axis.name}: sd {found['sd']:.2g} on a scale of {axis.high - axis.low:g}; "
            "the labels hardly differ, a student has nothing to learn"
        )
    return warnings
