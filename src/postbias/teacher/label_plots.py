"""The label figure: distribution, test-retest error and drift, one row per axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: From the Okabe-Ito palette, distinguishable with any kind of colour vision.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def draw_labels(report: dict[str, Any]) -> Figure:
    """Draw the content of `reports/labels.json`; recorded labels have no error and no drift."""
    teacher = report["teacher"]
    has_drift = "drift" in teacher
    axes = report["axes"]
    figure = Figure(figsize=(9.6 if has_drift else 4.8, 2.8 * len(axes)), layout="constrained")
    grid = figure.subplots(len(axes), 2 if has_drift else 1, squeeze=False)
    for row, (name, described) in zip(grid, axes.items(), strict=True):
        _draw_distribution(row[0], name, described)
        if has_drift:
            _draw_drift(row[1], name, teacher)
    return figure


def _draw_distribution(ax: Axes, name: str, described: dict[str, Any]) -> None:
    ax.set_xlabel(name)
    ax.set_ylabel("posts")
    if not described["n"]:
        return
    edges = np.array(described["histogram"]["edges"])
    counts = described["histogram"]["counts"]
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_BLUE)
    ax.axvline(described["mode"], color=_ORANGE, lw=1.5, ls="--")
    ax.set_title(
        f"{described['n']} labels, {described['distinct']} distinct values; "
        f"{described['share_at_mode']:.0%} at {described['mode']:g} (dashed)",
        fontsize="small",
    )


def _draw_drift(ax: Axes, name: str, teacher: dict[str, Any]) -> None:
    retest, means = teacher["retest"][name], teacher["drift"][name]["means_over_run"]
    ax.plot(np.arange(1, len(means) + 1), means, "o-", color=_BLUE)
    ax.set_xlabel("tenth of the run")
    ax.set_ylabel(f"mean {name}")
    title = "no post has two replies"
    if retest["mae"] is not None:
        measured = f"two replies differ by {retest['mae']:.2f} on average (n = {retest['n']})"
        title = f"{measured}; {teacher['retest_measures']}"
    ax.set_title(title, fontsize="small")
