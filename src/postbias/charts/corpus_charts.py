"""Charts of all posts: distributions of scores and labels, and estimates over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from postbias.charts.chart_theme import (
    COLORS,
    DASHES,
    ChartSource,
    Row,
    finish_chart,
    fit_page,
    layer_charts,
)
from postbias.localisation.messages import gettext as _

_PERCENT = alt.Axis(format="%")


def chart_distribution(
    bins: Sequence[Row], x_title: str, *, bands: Sequence[Row] = ()
) -> alt.LayerChart:
    """Plot the distribution of scores as bars and that of labels as an outline.

    Args:
        bins: Adjacent bins in order: `start`, `end`, and the shares of posts `scores` and `labels`.
        x_title: Title of the x axis.
        bands: `name`, `start` and `end` of each band, to draw and label their limits.
    """
    low, high = bins[0]["start"], bins[-1]["end"]
    x_scale = alt.Scale(domain=[low, high], nice=False)
    source = ChartSource.from_rows(bins)
    bars = (
        alt.Chart(source.data)
        .mark_bar(binSpacing=1, color=COLORS["fill"])
        .encode(
            alt.X("start:Q", bin="binned", title=x_title, scale=x_scale, axis=alt.Axis(grid=False)),
            alt.X2("end"),
            alt.Y("scores:Q", title=_("share of posts"), axis=_PERCENT),
        )
    )
    # A line has no bins: it starts and ends at zero, and the last step needs a separate point.
    steps = [{"start": low, "labels": 0}, *bins, {**bins[-1], "start": high}]
    steps.append({"start": high, "labels": 0})
    steps = [{**step, "index": i} for i, step in enumerate(steps)]
    outline = (
        alt.Chart(ChartSource.from_rows(steps).data)
        .mark_line(interpolate="step-after", color=COLORS["second"], strokeWidth=2)
        .encode(alt.X("start:Q", scale=x_scale), alt.Y("labels:Q"), order="index:Q")
    )
    layers: list[alt.Chart] = [bars, outline]
    if bands:
        limits = alt.Chart(ChartSource.from_rows(bands).data)
        layers.append(
            limits.transform_filter(f"datum.end < {high}")
            .mark_rule(color=COLORS["soft"], strokeDash=DASHES)
            .encode(alt.X("end:Q", scale=x_scale))
        )
        layers.append(
            limits.transform_calculate(middle="(datum.start + datum.end) / 2")
            .mark_text(baseline="bottom", dy=-4, color=COLORS["soft"], fontSize=11)
            .encode(alt.X("middle:Q", scale=x_scale), y=alt.value(0), text="name:N")
        )
    return finish_chart(fit_page(layer_charts(*layers)), source)


def chart_over_time(source: ChartSource, y_title: str, *, is_share: bool = False) -> alt.LayerChart:
    """Plot an estimate by period with its interval, and the plug-in estimate as a dashed line.

    Args:
        source: One row per period in order: `period`, `value`, `lo`, `hi`, `uncorrected`.
        y_title: Title of the y axis.
        is_share: Whether values are shares, shown as percentages from 0.
    """
    scale = alt.Scale(zero=is_share)
    axis = _PERCENT if is_share else alt.Axis()
    base = alt.Chart().encode(
        alt.X(
            "period:O",
            sort=None,
            title=_("date of the post"),
            axis=alt.Axis(labelAngle=0, labelOverlap="greedy", labelSeparation=12),
        )
    )
    y: dict[str, Any] = {"title": y_title, "scale": scale, "axis": axis}
    plug_in = base.mark_line(color=COLORS["second"], strokeWidth=2, strokeDash=DASHES).encode(
        alt.Y("uncorrected:Q", **y)
    )
    intervals = base.mark_rule(color=COLORS["main"], strokeWidth=3, strokeCap="round").encode(
        alt.Y("lo:Q", **y), alt.Y2("hi")
    )
    points = base.mark_point(filled=True, color=COLORS["main"], size=50, opacity=1).encode(
        alt.Y("value:Q", **y)
    )
    layers = layer_charts(plug_in, intervals, points, data=source.data)
    return finish_chart(fit_page(layers), source)


def chart_cost_curve(points: Sequence[Row], goal: float) -> alt.LayerChart:
    """Plot the half-width that each cost can buy, with the goal as a dashed line.

    Args:
        points: `cost` in US dollars and `half_width`, by ascending cost.
        goal: The half-width to reach.
    """
    source = ChartSource.from_rows(points)
    curve = (
        alt.Chart(source.data)
        .mark_line(color=COLORS["main"], point=True)
        .encode(
            alt.X("cost:Q", title=_("cost of ratings and labels (USD)")),
            alt.Y(
                "half_width:Q",
                title=_("half-width of the 95% interval"),
                scale=alt.Scale(zero=True),
            ),
        )
    )
    rule = (
        alt.Chart(ChartSource.from_rows([{"goal": goal}]).data)
        .mark_rule(color=COLORS["second"], strokeDash=DASHES)
        .encode(alt.Y("goal:Q"))
    )
    return finish_chart(fit_page(layer_charts(curve, rule)), source)
