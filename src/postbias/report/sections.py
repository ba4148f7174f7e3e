"""Layout of the report's sections: table rows with interval bars, and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from postbias.axes import BAND_NAMES
from postbias.charts.chart_rendering import render_svg
from postbias.charts.chart_theme import ChartSource
from postbias.charts.corpus_charts import chart_over_time
from postbias.charts.student_charts import chart_one_calibration
from postbias.evaluation.results_table import MODEL_NAMES
from postbias.localisation.messages import gettext as _
from postbias.localisation.number_formats import format_period
from postbias.population.scored_corpus import ScoredCorpus
from postbias.report.distributions import lay_out_distributions
from postbias.report.interval_bars import BarScale, draw_interval_bar, draw_ticks, fit_scale
from postbias.report.languages_section import lay_out_languages
from postbias.report.people_section import lay_out_opinions
from postbias.report.wording import band_title, describe_noise_source, to_percentage_points
from postbias.stats.label_design import HELD_OUT
from postbias.stats.metrics import calibration_curve
from postbias.stats.pooling import MIN_GROUPS
from postbias.stats.ppi import MIN_AUTHORS, MIN_LABELS

Json = dict[str, Any]

_MIN_PERIODS = 3
_KEYS = ("value", "lo", "hi")
_SHARE_BOUNDS = (0.0, 1.0)


def lay_out_sections(
    corpus: ScoredCorpus, population: Json, brands: Json, reports: Mapping[str, Json]
) -> Json:
    """Lay out every section with tables or charts.

    Args:
        corpus: All scored posts.
        population: The content of `reports/population.json`.
        brands: The content of `reports/brands.json`.
        reports: The contents of the reports of other stages by name.

    Returns:
        Variables of the page's template.
    """
    main = corpus.axes[0]
    bounds = (main.low, main.high)
    tables = {k: v for k, v in population["groups"].items() if k not in {"half", "time"}}
    return {
        "minimums": {"labels": MIN_LABELS, "authors": MIN_AUTHORS, "brands": MIN_GROUPS},
        **lay_out_opinions(population, reports["people"], main.name, bounds),
        "models": _lay_out_models(reports["evaluate"], main.name)
        | {"noise_source": describe_noise_source(reports["labels"]["teacher"])},
        "calibration": _lay_out_calibration(corpus),
        "learning": _lay_out_learning_curve(reports["learning_curve"], main.name),
        "coverage": _lay_out_coverage(reports["evaluate"], main.name),
        "slices": _lay_out_slices(reports["evaluate"]),
        "languages": lay_out_languages(reports["evaluate"]),
        "distributions": lay_out_distributions(corpus),
        "bands": _lay_out_bands(population),
        "time": _lay_out_time(population, main.name),
        "groups": {
            kind: _lay_out_groups(members, main.name, bounds) for kind, members in tables.items()
        },
        "differences": _lay_out_differences(population, main.name),
        "brand_rows": _lay_out_brands(brands, bounds),
    }


def _interval(estimate: Json) -> Json:
    return {key: estimate[key] for key in _KEYS}


def _lay_out_models(evaluate: Json, axis: str) -> Json:
    models = evaluate["students"] | evaluate["baselines"]
    names = [name for name in MODEL_NAMES if name in models]
    maes = {name: models[name]["test"][axis]["mae"] for name in names}
    noise = (evaluate.get("retest") or {}).get(axis)
    scale = fit_scale([0.0, *(mae[key] for mae in maes.values() for key in _KEYS)])
    champion = (evaluate["champion"] or {}).get("modality")
    rows = [
        {
            "name": name,
            "is_champion": name == champion,
            "mae": maes[name],
            "r2": models[name]["test"][axis]["r2"],
            "spearman": models[name]["test"][axis]["spearman"],
            "ceiling": evaluate["ceiling"].get(name, {}).get(axis, {}).get("r2", {}).get("value"),
            "bar": draw_interval_bar(
                _interval(maes[name]),
                scale,
                style="main" if name in evaluate["students"] else "second",
            ),
        }
        for name in names
    ]
    floor = noise["floor"] if noise else None
    return {"ticks": draw_ticks(scale), "rows": rows, "floor": floor, "noise": noise}


def _lay_out_learning_curve(curve: Json, axis: str) -> Json:
    maes = [point[axis]["mae"] for point in curve["points"]]
    scale = fit_scale([0.0, *(mae[key] for mae in maes for key in _KEYS)])
    rows = [
        {
            **{key: point[key] for key in ("labels", "share")},
            **{key: point[axis][key] for key in ("mae", "r2")},
            "bar": draw_interval_bar(_interval(mae), scale),
        }
        for point, mae in zip(curve["points"], maes, strict=True)
    ]
    return {
        "modality": curve["modality"],
        "ticks": draw_ticks(scale),
        "rows": rows,
        "step": (step := curve["last_step"]) and step | {"mae": step[axis]["mae"]},
    }


def _lay_out_calibration(corpus: ScoredCorpus) -> Json:
    main = corpus.axes[0]
    is_held_out = corpus.design.roles == HELD_OUT
    labels = corpus.labels[main.name][is_held_out]
    scores = corpus.held_out_scores(main.name)[is_held_out]
    points = [
        dict(zip(("score", "label", "n"), p, strict=True))
        for p in calibration_curve(labels, scores)
    ]
    x_title = _("mean score of {axis} (points)").format(axis=main.name)
    y_title = _("mean label (points)")
    rows = ChartSource.from_rows(points)
    chart = chart_one_calibration(rows, main.low, main.high, (x_title, y_title))
    label = _("{y} by {x}").format(y=y_title, x=x_title)
    return {
        "n": int(is_held_out.sum()),
        "slope": float(np.polyfit(labels, scores, 1)[0]) if len(np.unique(labels)) > 1 else None,
        "chart": render_svg(chart, label, "calibration"),
    }


def _lay_out_coverage(evaluate: Json, axis: str) -> list[Json]:
    """List the coverage of the champion's intervals by input used."""
    champion = evaluate["chosen"]
    by_group = (evaluate.get("coverage") or {}).get(champion, {}).get(axis, {})
    if not by_group:  # evaluate.json of an older version
        metrics = evaluate["students"][champion]["test"][axis]
        name = next(key for key in sorted(metrics) if key.startswith("coverage_"))
        width = metrics[name.replace("coverage", "width")]
        n = evaluate["students"][champion]["n"]["test"]
        return [{"group": "all", "n": n, "coverage": metrics[name], "width": width}]
    return [{"group": group, **coverage} for group, coverage in by_group.items()]


def _lay_out_slices(evaluate: Json) -> Json:
    by_dimension = (evaluate.get("slices") or {}).get(evaluate["chosen"], {})
    errors = [
        one["metrics"]["error"] for values in by_dimension.values() for one in values.values()
    ]
    scale = fit_scale([0.0, *(error[key] for error in errors for key in _KEYS)])
    rows = {
        dimension: [
            {
                "name": value,
                **one,
                "bar": draw_interval_bar(
                    _interval(one["metrics"]["error"]),
                    scale,
                    zero=0.0,
                    style="muted" if one["tiny"] else "main",
                ),
            }
            for value, one in sorted(values.items(), key=lambda item: -item[1]["n"])
        ]
        for dimension, values in by_dimension.items()
        if len(values) > 1
    }
    return {"ticks": draw_ticks(scale, 0.0), "rows": rows}


def _lay_out_bands(population: Json) -> Json:
    shares = {band: population["all"][f"share_{band}"] for band in BAND_NAMES}
    numbers = [share[key] for share in shares.values() for key in (*_KEYS, "uncorrected")]
    scale = fit_scale([0.0, *numbers], is_share=True, bounds=_SHARE_BOUNDS)
    rows = [
        {
            "name": band_title(band),
            "estimate": share,
            "bar": draw_interval_bar(_interval(share), scale, other=share["uncorrected"]),
        }
        for band, share in shares.items()
    ]
    return {"ticks": draw_ticks(scale), "rows": rows}


def _lay_out_time(population: Json, axis: str) -> Json | None:
    periods = population["groups"].get("time", {})
    known = {name: one for name, one in periods.items() if one[axis]["value"] is not None}
    if len(known) < _MIN_PERIODS:
        return None

    def rows(estimand: str) -> ChartSource:
        keys = (*_KEYS, "uncorrected")
        return ChartSource.from_rows(
            {"period": format_period(period)} | {key: one[estimand][key] for key in keys}
            for period, one in known.items()
        )

    y_title = _("mean {axis} (points)").format(axis=axis)
    share_title = _("share of posts in the high band")
    over_time = _("{quantity} over time")
    mean_chart = chart_over_time(rows(axis), y_title)
    share_chart = chart_over_time(rows("share_high"), share_title, is_share=True)
    return {
        "chart": render_svg(mean_chart, over_time.format(quantity=y_title), "time-mean"),
        "share_chart": render_svg(
            share_chart, over_time.format(quantity=share_title), "time-share"
        ),
        "skipped": len(periods) - len(known),
    }


def _lay_out_groups(members: Json, axis: str, bounds: tuple[float, float]) -> Json:
    scales: dict[str, BarScale] = {}
    for name, limits in ((axis, bounds), ("share_high", _SHARE_BOUNDS)):
        numbers = [one[name][key] for one in members.values() for key in (*_KEYS, "uncorrected")]
        scales[name] = fit_scale(numbers, is_share=name == "share_high", bounds=limits)
    rows = [
        {
            "name": name,
            "counts": one,
            "mean": one[axis],
            "share": one["share_high"],
            "bars": [
                draw_interval_bar(_interval(one[column]), scale, other=one[column]["uncorrected"])
                for column, scale in scales.items()
            ],
        }
        for name, one in members.items()
    ]
    return {"ticks": [draw_ticks(scale) for scale in scales.values()], "rows": rows}


def _lay_out_differences(population: Json, axis: str) -> Json:
    known = [d for d in population["differences"] if d[axis]["value"] is not None]
    scale = fit_scale([0.0, *(d[axis][key] for d in known for key in _KEYS)])
    rows = [
        {
            **d,
            "mean": d[axis],
            "share": to_percentage_points(d["share_high"]),
            "bar": draw_interval_bar(_interval(d[axis]), scale, zero=0.0),
        }
        for d in known
    ]
    return {"ticks": draw_ticks(scale, 0.0), "rows": rows}


def _lay_out_brands(brands: Json, bounds: tuple[float, float]) -> Json:
    rows, axis = brands["brands"], brands["axis"]
    numbers = [row["pooled"][key] for row in rows for key in _KEYS]
    scale = fit_scale([*numbers, *(row[axis]["value"] for row in rows)], bounds=bounds)
    return {
        "ticks": draw_ticks(scale),
        "rows": [
            {
                **row,
                "own": row[axis],
                "bar": draw_interval_bar(
                    row["pooled"],
                    scale,
                    other=row[axis]["value"],
                    zero=brands["mean"],
                    style="muted" if row["is_small"] else "main",
                ),
            }
            for row in rows
        ],
    }
