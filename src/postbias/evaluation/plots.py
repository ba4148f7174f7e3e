"""Figures of an evaluation: pure functions from arrays to matplotlib figures.

The colours of Okabe and Ito are distinguishable with any kind of colour vision, and no information
is conveyed by colour alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from postbias.axes import BAND_EDGES, Axis
from postbias.evaluation.results_table import MODEL_NAMES, TABLE_METRICS
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import band_indices, calibration_curve

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_BAND_NAMES = ("low", "moderate", "high")
_ENDS = ("value", "lo", "hi")


def labels_over_scores(labels: Array, values: Array, axis: Axis, name: str) -> Figure:
    """Draw each post's label over its score, with the calibration curve.

    Args:
        labels: The teacher's labels. (n,)
        values: Scores. (n,)
        axis: The scored axis.
        name: Name of the student.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    ax = figure.add_subplot()
    ax.plot([axis.low, axis.high], [axis.low, axis.high], "--", color=GREY, lw=1, label="equal")
    ax.scatter(values, labels, s=12, color=BLUE, alpha=0.3, linewidths=0, label="one post")
    curve = calibration_curve(labels, values)
    if curve:
        score, label, n = (np.array(column) for column in zip(*curve, strict=True))
        ax.plot(score, label, "-", color=ORANGE, lw=1.5)
        ax.scatter(
            score,
            label,
            s=20 + 60 * n / n.max(),
            color=ORANGE,
            label="mean of similar scores",
        )
    _square(ax, axis)
    ax.set_xlabel(f"score of {axis.name} ({_range(axis)})")
    ax.set_ylabel(f"teacher's label of {axis.name} ({_range(axis)})")
    ax.set_title(f"{MODEL_NAMES.get(name, name)}: {len(labels):,} posts of the test fold")
    ax.legend(loc="upper left", frameon=False)
    return figure


def residuals_by_band(labels: Array, values: Array, axis: Axis, name: str) -> Figure:
    """Draw the residuals of posts whose label is low, moderate and high.

    Args:
        labels: The teacher's labels. (n,)
        values: Scores. (n,)
        axis: The scored axis.
        name: Name of the student.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.add_subplot()
    band = band_indices(labels, axis)
    groups = [values[band == i] - labels[band == i] for i in range(len(_BAND_NAMES))]
    edges = [axis.low + share * (axis.high - axis.low) for share in (0, *BAND_EDGES, 1)]
    ax.axhline(0, color=GREY, lw=1, ls="--")
    style = {"color": BLUE, "linewidth": 1.2}
    ax.boxplot(
        groups,
        widths=0.5,
        boxprops=style,
        whiskerprops=style,
        capprops=style,
        medianprops={"color": ORANGE, "linewidth": 2},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": BLUE, "alpha": 0.4},
    )
    ax.set_xticks(
        range(1, len(groups) + 1),
        [
            f"{name}\n{edges[i]:g} to {edges[i + 1]:g}\nn = {len(groups[i]):,}"
            for i, name in enumerate(_BAND_NAMES)
        ],
    )
    ax.set_xlabel(f"band of the teacher's label of {axis.name}")
    ax.set_ylabel(f"score minus label (points of {axis.name})")
    ax.set_title(f"{MODEL_NAMES.get(name, name)}: residuals by band")
    return figure


def comparison(report: dict[str, Any]) -> Figure:
    """Draw students and baselines side by side with their intervals, on the main axis.

    Args:
        report: Content of `evaluate.json`.

    Returns:
        The figure, one panel per metric.
    """
    axis = report["main"]["axis"]
    models = report["students"] | report["baselines"]
    names = [name for name in MODEL_NAMES if name in models]
    has_retest = bool(report["retest"].get(axis))
    figure = Figure(figsize=(10, 0.9 + 0.45 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(TABLE_METRICS), sharey=True)
    for panel, (metric, shown) in zip(panels, TABLE_METRICS.items(), strict=True):
        for row, name in enumerate(names):
            ceiling = report["ceiling"].get(name, {}).get(axis) if metric == "r2" else None
            _whisker(
                panel,
                row,
                models[name]["test"][axis][metric],
                is_student=name in report["students"],
            )
            if ceiling:
                panel.plot(ceiling["r2"]["value"], row, "|", color=GREEN, ms=16, mew=2)
        if metric == "mae" and has_retest:
            panel.axvline(report["retest"][axis]["floor"]["value"], color=GREEN, lw=1.5, ls=":")
        unit = f"points of {axis}, lower is better" if metric == "mae" else "higher is better"
        panel.set_xlabel(
            f"{shown} ({unit})"
            + ("\ngreen: ceiling" if report["ceiling"] and metric == "r2" else "")
            + ("\ndotted: the teacher's own error" if metric == "mae" and has_retest else "")
        )
        panel.grid(axis="x", color="#dddddd", lw=0.6)
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), [MODEL_NAMES[name] for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"{axis} on the test fold ({report['n']['test']:,} posts), 95% intervals")
    return figure


def learning_curve(report: dict[str, Any]) -> Figure:
    """Draw the test error over the number of training labels.

    Args:
        report: Content of `learning_curve.json`.

    Returns:
        The figure, main axis, with 95% intervals.
    """
    axis = report["axis"]
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.add_subplot()
    known = [point for point in report["points"] if point[axis]["mae"]["value"] is not None]
    labels = np.array([point["labels"] for point in known])
    value, lo, hi = (np.array([p[axis]["mae"][end] for p in known], float) for end in _ENDS)
    ax.errorbar(labels, value, (value - lo, hi - value), fmt="o-", color=BLUE, capsize=4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(labels, [f"{n:,}" for n in labels])
    ax.minorticks_off()
    ax.set_xlabel("training labels")
    ax.set_ylabel(f"mean absolute error (points of {axis})")
    ax.set_title(
        f"{MODEL_NAMES.get(report['modality'], report['modality'])}, test fold, 95% intervals"
    )
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    return figure


def slices(report: dict[str, Any], name: str) -> Figure:
    """Draw one student's error on each slice, with its interval.

    Args:
        report: Content of `evaluate.json`.
        name: Name of the student.

    Returns:
        The figure; slices with too few posts are open marks.
    """
    axis = report["main"]["axis"]
    rows = [
        (f"{dimension.replace('_', ' ')}: {value}", found)
        for dimension, kinds in report["slices"][name].items()
        for value, found in kinds.items()
    ]
    figure = Figure(figsize=(7.5, 1.2 + 0.27 * len(rows)), layout="constrained")
    ax = figure.add_subplot()
    ax.axvline(report["students"][name]["test"][axis]["mae"]["value"], color=GREY, lw=1, ls="--")
    for row, (_, found) in enumerate(rows):
        _whisker(ax, row, found["metrics"]["mae"], is_student=True, is_open=found["tiny"])
    ax.set_yticks(range(len(rows)), [f"{label} ({found['n']:,})" for label, found in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel(f"MAE (points of {axis}); dashed: all posts; open: too few posts")
    ax.set_title(f"{MODEL_NAMES.get(name, name)}: error by slice, 95% intervals")
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    return figure


def coverage(report: dict[str, Any], nominal: float) -> Figure:
    """Draw the coverage of the intervals by student, axis and group of modalities.

    Args:
        report: Content of `evaluate.json`.
        nominal: Nominal coverage.

    Returns:
        The figure, one panel per axis.
    """
    axes = list(report["axes"])
    rows = [
        (name, group)
        for name, by_axis in report["coverage"].items()
        for group in by_axis.get(axes[0], {})
    ]
    size = (1.5 + 3.6 * len(axes), 1.3 + 0.3 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
        panel.axvline(100 * nominal, color=GREY, lw=1, ls="--")
        for row, (name, group) in enumerate(rows):
            found = report["coverage"][name][axis][group]["coverage"]
            percent = {part: x and 100 * x for part, x in found.items()}
            _whisker(panel, row, percent, is_student=True)
        panel.set_xlabel(f"labels of {axis} within their interval (%)")
        panel.grid(axis="x", color="#dddddd", lw=0.6)
        panel.set_axisbelow(True)
    labels = [
        f"{MODEL_NAMES.get(name, name)}: {group} "
        f"({report['coverage'][name][axes[0]][group]['n']:,})"
        for name, group in rows
    ]
    panels[0].set_yticks(range(len(rows)), labels)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(f"Interval coverage on the test fold; dashed: the nominal {100 * nominal:g}%")
    return figure


def _whisker(
    ax: Axes,
    row: int,
    number: dict[str, float | None],
    *,
    is_student: bool,
    is_open: bool = False,
) -> None:
    value, lo, hi = number["value"], number["lo"], number["hi"]
    colour, marker = (BLUE, "o") if is_student else (ORANGE, "s")
    if value is None:
        ax.annotate(
            "not defined", (0.02, row), xycoords=("axes fraction", "data"), va="center", color=GREY
        )
        return
    if lo is not None and hi is not None:
        ax.plot([lo, hi], [row, row], color=colour, lw=2)
    ax.plot(value, row, marker, color=colour, ms=7, mfc="white" if is_open else colour)


def _square(ax: Axes, axis: Axis) -> None:
    margin = 0.03 * (axis.high - axis.low)
    ax.set_xlim(axis.low - margin, axis.high + margin)
    ax.set_ylim(axis.low - margin, axis.high + margin)
    ax.set_aspect("equal")


def _range(axis: Axis) -> str:
    return f"{axis.low:g} to {axis.high:g}"
