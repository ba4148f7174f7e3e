"""The labels in one figure: distribution, test-retest error and drift, a row per axis.

A pure function from the label report to a figure; the caller keeps it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Okabe and Ito's blue and orange, told apart with any kind of colour vision.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def draw_labels(report: dict[str, Any]) -> Figure:
    """Draw what a person should see of labels before training on them.

    Args:
        report: What `reports/labels.json` holds.

    Returns:
        The figure; recorded labels have no test-retest error and no drift.
    """
    teacher = report["teacher"]
    has_runs = "drift" in teacher
    axes = report["axes"]
    figure = Figure(figsize=(9.6 if has_runs else 4.8, 2.8 * len(axes)), layout="constrained")
    grid = figure.subplots(len(axes), 2 if has_runs else 1, squeeze=False)
    for row, (name, found) in zip(grid, axes.items(), strict=True):
        _draw_distribution(row[0], name, found)
        if has_runs:
            _draw_run(row[1], name, teacher["drift"][name], teacher["retest"][name])
    return figure


def _draw_distribution(ax: Axes, name: str, found: dict[str, Any]) -> None:
    ax.set_xlabel(name)
    ax.set_ylabel("posts")
    if not found["n"]:
        return
    edges = np.array(found["histogram"]["edges"])
    ax.bar(edges[:-1], found["histogram"]["counts"], np.diff(edges), align="edge", color=_BLUE)
    ax.axvline(found["mode"], color=_ORANGE, lw=1.5, ls="--")
    ax.set_title(
        f"{found['n']} labels, {found['distinct']} values; {found['share_at_mode']:.0%} at "
        f"{found['mode']:g} (dashed)",
        fontsize="small",
    )


def _draw_run(ax: Axes, name: str, drift: dict[str, Any], retest: dict[str, Any]) -> None:
    means = drift["means_over_run"]
    ax.plot(np.arange(1, len(means) + 1), means, "o-", color=_BLUE)
    ax.set_xlabel("tenth of the run")
    ax.set_ylabel(f"mean {name}")
    said = "no post has two replies"
    if retest["mae"] is not None:
        said = f"two replies differ by {retest['mae']:.2f} (n = {retest['n']})"
    ax.set_title(said, fontsize="small")
