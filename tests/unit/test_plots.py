"""Figures say what they show; how they look was seen by eye."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.unit.test_results_table import a_report

from postbias.axes import Axis
from postbias.evaluation import plots

AXIS = Axis("bias", 0, 10)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _posts(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 10, n).round(1)
    return labels, (labels + rng.normal(0, 1, n)).clip(0, 10)


@pytest.mark.parametrize("n", [0, 1, 200])
def test_labels_are_drawn_over_scores_in_units_of_the_axis(n: int) -> None:
    figure = plots.labels_over_scores(*_posts(n), AXIS, "text")
    (ax,) = figure.axes
    assert ax.get_xlabel() == "score of bias (0 to 10)"
    assert ax.get_ylabel() == "teacher's label of bias (0 to 10)"
    assert f"text-only: {n} posts" in ax.get_title()
    assert len(ax.collections[0].get_offsets()) == n
    assert _png(figure)


@pytest.mark.parametrize("n", [0, 1, 200])
def test_residuals_stand_in_three_bands_with_their_numbers_of_posts(n: int) -> None:
    labels, values = _posts(n)
    figure = plots.residuals_by_band(labels, values, AXIS, "fusion")
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert [tick.split("\n")[:2] for tick in ticks] == [
        ["low", "0 to 3.5"],
        ["moderate", "3.5 to 6.5"],
        ["high", "6.5 to 10"],
    ]
    assert sum(int(tick.rsplit("= ", 1)[1]) for tick in ticks) == n
    assert _png(figure)


def test_the_comparison_has_a_panel_per_metric_and_a_row_per_model() -> None:
    figure = plots.comparison(a_report())
    assert len(figure.axes) == 3
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == ["fusion", "image-only", "TF-IDF + ridge", "best constant"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["not defined"]
    assert _png(figure)


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert _png(plots.comparison(a_report())) == _png(plots.comparison(a_report()))
