"""The report's section on distributions: scores of all posts beside weighted labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from postbias.axes import BAND_EDGES, BAND_NAMES, Axis
from postbias.charts.chart_rendering import render_svg
from postbias.charts.corpus_charts import chart_distribution
from postbias.localisation.messages import gettext as _
from postbias.population.scored_corpus import ScoredCorpus
from postbias.report.wording import band_title
from postbias.stats.label_design import UNLABELLED

Json = dict[str, Any]

_BINS = 20


def lay_out_distributions(corpus: ScoredCorpus) -> list[str]:
    """Chart the distribution of scores and labels of each axis, that of the main axis with bands.

    Args:
        corpus: All scored posts.

    Returns:
        One SVG element per axis.
    """
    charts: list[str] = []
    for i, axis in enumerate(corpus.axes):
        limits = [axis.low + x * (axis.high - axis.low) for x in (0, *BAND_EDGES, 1)]
        bands = [
            {"name": band_title(name), "start": start, "end": end}
            for name, start, end in zip(BAND_NAMES, limits, limits[1:], strict=False)
        ]
        x_title = _("{axis} (points, {low} to {high})").format(
            axis=axis.name, low=f"{axis.low:g}", high=f"{axis.high:g}"
        )
        chart = chart_distribution(_bin_posts(corpus, axis), x_title, bands=bands if i == 0 else ())
        label = _("Distribution of scores and labels of {axis}").format(axis=axis.name)
        charts.append(render_svg(chart, label, f"distribution-{i}"))
    return charts


def _bin_posts(corpus: ScoredCorpus, axis: Axis) -> list[Json]:
    """Return the share of posts in each bin, by score and by weighted label."""
    is_labelled = corpus.design.roles != UNLABELLED
    weights = corpus.design.weights[is_labelled]
    edges = np.linspace(axis.low, axis.high, _BINS + 1)
    scores = np.histogram(corpus.scores[axis.name], edges)[0] / len(corpus)
    labels = np.histogram(corpus.labels[axis.name][is_labelled], edges, weights=weights)[0]
    columns = (edges, edges[1:], scores, labels / max(weights.sum(), 1e-12))
    names = ("start", "end", "scores", "labels")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=False)]
