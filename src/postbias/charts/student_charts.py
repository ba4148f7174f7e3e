"""Charts of students and baselines on labelled posts, from the rows of `reports/plots/*.csv`."""

from __future__ import annotations

import altair as alt

from postbias.charts.chart_theme import (
    COLORS,
    DASHES,
    ChartSource,
    facet_metrics,
    facet_students,
    finish_chart,
    fit_page,
    layer_charts,
    map_label,
    parse_numbers,
    revision_color,
    tooltips,
)
from postbias.evaluation.results_table import MODEL_NAMES, TABLE_METRICS

_PANEL_PX = 220
_ROW_PX = 26
_FREE = alt.Scale(zero=False)


def chart_predictions(source: ChartSource) -> alt.FacetChart:
    """Plot the label of each test post against its score.

    Args:
        source: `modality`, `axis`, `post_id`, `score`, `label`.
    """
    points = (
        alt.Chart()
        .mark_point(filled=True, size=18, opacity=0.4)
        .encode(
            alt.X("score:Q", title="score"),
            alt.Y("label:Q", title="label"),
            revision_color(source),
            tooltip=tooltips(source, "post_id:N", "score:Q", "label:Q"),
        )
    )
    return _facet_over_equality(source, points, "score", "label")


def chart_calibration(source: ChartSource) -> alt.FacetChart:
    """Plot the mean label against the mean score, for groups of posts with similar scores.

    Args:
        source: `modality`, `axis`, `score`, `label`, `n`.
    """
    return _facet_over_equality(source, _calibration_curve(source), "score", "label", "n")


def chart_one_calibration(
    source: ChartSource, low: float, high: float, titles: tuple[str, str]
) -> alt.LayerChart:
    """Plot the calibration curve of one student and axis.

    Args:
        source: `score`, `label`, `n`.
        low: Lower end of the axis.
        high: Upper end of the axis.
        titles: Titles of the x and y axes of the chart.
    """
    scale = alt.Scale(domain=[low, high], nice=False)
    equality = (
        alt.Chart(alt.InlineData(values=[{"score": low, "label": low, "x2": high, "y2": high}]))
        .mark_rule(color=COLORS["soft"], strokeDash=DASHES)
        .encode(
            alt.X("score:Q", title=titles[0], scale=scale),
            alt.Y("label:Q", title=titles[1], scale=scale),
            x2="x2",
            y2="y2",
        )
    )
    chart = layer_charts(
        equality, _calibration_curve(source, titles, has_legend=False), data=source.data
    )
    return finish_chart(fit_page(parse_numbers(chart, "score", "label", "n")), source)


def chart_residuals(source: ChartSource) -> alt.FacetChart:
    """Plot score minus label against the label, with the mean for each unit of the label.

    Args:
        source: `modality`, `axis`, `post_id`, `score`, `label`.
    """
    zero = (
        alt.Chart()
        .mark_rule(color=COLORS["soft"], strokeDash=DASHES)
        .encode(y=alt.YDatum(0, title="score minus label"))
    )
    points = (
        alt.Chart()
        .mark_point(filled=True, size=16, opacity=0.35)
        .encode(
            alt.X("label:Q", title="label"),
            alt.Y("residual:Q", title="score minus label"),
            revision_color(source),
            tooltip=tooltips(source, "post_id:N", "score:Q", "label:Q", "residual:Q"),
        )
    )
    means = (
        alt.Chart()
        .mark_line(point=alt.OverlayMarkDef(size=40), strokeWidth=1.5)
        .encode(
            alt.X("label:Q", bin=alt.Bin(step=1), title="label", axis=alt.Axis(grid=False)),
            alt.Y("mean(residual):Q", title="score minus label", axis=alt.Axis(grid=True)),
            detail=["rev:N"] if source.has_revisions else [],
            color=alt.ColorValue(COLORS["ink"]),
        )
    )
    chart = facet_students(
        layer_charts(zero, points, means, data=source.data).properties(width=_PANEL_PX, height=180)
    )
    chart = parse_numbers(chart, "score", "label")
    chart = chart.transform_filter("isValid(datum.score) && isValid(datum.label)")
    chart = chart.transform_calculate(residual="datum.score - datum.label")
    return finish_chart(chart, source)


def chart_comparison(source: ChartSource) -> alt.FacetChart:
    """Plot each metric of students and baselines with its interval.

    Args:
        source: `model`, `axis`, `metric`, `value`, `lo`, `hi`.
    """
    title = "value and 95% interval"
    order, names = list(MODEL_NAMES), map_label(MODEL_NAMES)
    base = alt.Chart().encode(
        alt.Y("model:N", title=None, sort=order, axis=alt.Axis(labelExpr=names, grid=False)),
        color=revision_color(source),
    )
    if source.has_revisions:
        base = base.encode(yOffset=alt.YOffset("rev:N"))
    intervals = base.mark_rule(strokeWidth=2).encode(
        alt.X("lo:Q", title=title, scale=_FREE), x2="hi"
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        alt.X("value:Q", title=title, scale=_FREE),
        tooltip=tooltips(source, "model:N", "value:Q", "lo:Q", "hi:Q"),
    )
    panels = layer_charts(intervals, points, data=source.data).properties(
        width=_PANEL_PX, height=alt.Step(_ROW_PX)
    )
    chart = facet_metrics(panels).resolve_scale(x="independent")
    chart = chart.transform_filter(f"indexof({list(TABLE_METRICS)}, datum.metric) >= 0")
    chart = parse_numbers(chart, "value", "lo", "hi")
    chart = chart.transform_filter("isValid(datum.value)")
    finished: alt.FacetChart = finish_chart(chart, source)
    return finished


def chart_learning_curve(source: ChartSource) -> alt.FacetChart:
    """Plot the error on the test fold against the number of training labels.

    Args:
        source: `axis`, `labels`, `metric`, `value`, `lo`, `hi`.
    """
    title = "mean absolute error (points), 95% interval"
    base = alt.Chart().encode(
        alt.X(
            "labels:Q",
            title="training labels",
            scale=alt.Scale(type="log", base=2, nice=False, padding=12),
            axis=alt.Axis(tickCount=4, format=",d"),
        ),
        color=revision_color(source),
    )
    intervals = base.mark_rule().encode(alt.Y("lo:Q", title=title, scale=_FREE), y2="hi")
    lines = base.mark_line(point=True).encode(
        y="value:Q", tooltip=tooltips(source, "axis:N", "labels:Q", "value:Q", "lo:Q", "hi:Q")
    )
    panels = layer_charts(intervals, lines, data=source.data).properties(width=320, height=240)
    chart = parse_numbers(
        panels.facet(column=alt.Column("axis:N", title=None)), "labels", "value", "lo", "hi"
    )
    return finish_chart(
        chart.transform_filter("datum.metric == 'mae' && isValid(datum.value)"), source
    )


def chart_training(source: ChartSource) -> alt.Chart:
    """Plot training and validation loss against the epoch.

    Args:
        source: `epoch`, `train_loss`, `valid_loss`.
    """
    chart = (
        alt.Chart(source.data)
        .transform_fold(["train_loss", "valid_loss"], as_=["column", "loss"])
        .mark_line(point=True)
        .encode(
            alt.X(
                "epoch:Q",  # a fraction if there are several evaluations per epoch
                axis=alt.Axis(format="d", tickMinStep=1, grid=True),
                scale=alt.Scale(zero=False, nice=False, padding=12),
            ),
            alt.Y("loss:Q", title="training loss", scale=_FREE),
            alt.Color(
                "fold:N",
                scale=alt.Scale(
                    domain=["train", "valid"], range=[COLORS["main"], COLORS["second"]]
                ),
            ),
            tooltip=tooltips(source, "fold:N", "epoch:Q", "loss:Q"),
        )
        .properties(width=420, height=260)
    )
    if source.has_revisions:
        chart = chart.encode(strokeDash=alt.StrokeDash("rev:N", title="revision"))
    chart = parse_numbers(chart, "epoch", "loss")
    fold = "datum.column == 'train_loss' ? 'train' : 'valid'"
    chart = chart.transform_calculate(fold=fold)
    finished: alt.Chart = finish_chart(chart, source)
    return finished


def _calibration_curve(
    source: ChartSource,
    titles: tuple[str, str] = ("mean score", "mean label"),
    *,
    has_legend: bool = True,
) -> alt.LayerChart:
    legend = alt.Legend(tickCount=3) if has_legend else None
    base = alt.Chart().encode(
        alt.X("score:Q", title=titles[0]),
        alt.Y("label:Q", title=titles[1]),
        revision_color(source),
    )
    points = base.mark_point(filled=True, opacity=1).encode(
        alt.Size("n:Q", title="posts", scale=alt.Scale(range=[20, 160]), legend=legend),
        tooltip=tooltips(source, "score:Q", "label:Q", "n:Q"),
    )
    return layer_charts(base.mark_line(), points)


def _facet_over_equality(
    source: ChartSource, layer: alt.Chart | alt.LayerChart, *numbers: str
) -> alt.FacetChart:
    """Draw a layer over the line of equal score and label, in one panel per axis and student."""
    equality = (
        alt.Chart()
        .transform_aggregate(
            s0="min(score)",
            s1="max(score)",
            l0="min(label)",
            l1="max(label)",
            groupby=["axis", "modality"],
        )
        .transform_calculate(lo="max(datum.s0, datum.l0)", hi="min(datum.s1, datum.l1)")
        .mark_rule(color=COLORS["soft"], strokeDash=DASHES)
        .encode(alt.X("lo:Q"), alt.Y("lo:Q"), x2="hi", y2="hi")
    )
    panels = layer_charts(equality, layer, data=source.data)
    panels = panels.properties(width=_PANEL_PX, height=_PANEL_PX)
    return finish_chart(parse_numbers(facet_students(panels), *numbers), source)
