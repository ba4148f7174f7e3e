"""Charts of the teacher's labels."""

from __future__ import annotations

import altair as alt

from postbias.charts.chart_theme import (
    COLORS,
    ChartSource,
    finish_chart,
    parse_numbers,
    tooltips,
)


def chart_labels(source: ChartSource) -> alt.FacetChart:
    """Plot the histogram of the labels of each axis.

    Args:
        source: `axis`, `score_from`, `score_to`, `posts`, `share`; see `label_histogram_rows`.
    """
    bars = (
        alt.Chart(source.data)
        .mark_bar(binSpacing=1, color=COLORS["main"])
        .encode(
            alt.X("score_from:Q", bin="binned", title="label"),
            alt.X2("score_to"),
            alt.Y("share:Q", title="share of posts", axis=alt.Axis(format="%")),
            tooltip=tooltips(source, "score_from:Q", "score_to:Q", "posts:Q", "share:Q"),
        )
        .properties(width=320, height=180)
    )
    column = alt.Column("axis:N", title=None)
    facets = (
        bars.facet(row=alt.Row("rev:N", title=None), column=column)
        if source.has_revisions
        else bars.facet(column=column)
    )
    chart = parse_numbers(facets, "score_from", "score_to", "share", "posts")
    chart = chart.transform_filter("isValid(datum.share)")
    finished: alt.FacetChart = finish_chart(chart, source)
    return finished
