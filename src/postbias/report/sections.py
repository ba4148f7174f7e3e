"""Lays the numbers of the report out as rows with drawings, section by section.

Takes what the reports say and gives the template plain rows and charts; writes no HTML but charts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from postbias.axes import BAND_EDGES
from postbias.evaluation.results_table import MODELS
from postbias.population.corpus_estimates import BAND_NAMES
from postbias.population.scored_corpus import ScoredCorpus
from postbias.report.chart_scales import Scale, fit_scale
from postbias.report.charts import (
    axis_row,
    histogram,
    interval_bar,
    scatter_line,
    time_line,
)
from postbias.report.wording import answer, as_points
from postbias.stats.metrics import calibration
from postbias.stats.ppi import UNLABELLED

Json = dict[str, Any]

_BINS = 20
_ENDS = ("value", "lo", "hi")


def lay_out(population: ScoredCorpus, said: Json, brands: Json, reports: Mapping[str, Json]) -> Json:
    """Lay out every section that has drawings.

    Args:
        population: All posts.
        said: Content of `reports/population.json`.
        brands: Content of `reports/brands.json`.
        reports: What `evaluate.json` and the others say.

    Returns:
        What the template shows, by name.
    """
    main = population.axes[0]
    ends = (main.low, main.high)
    kinds = {kind: found for kind, found in said["groups"].items() if kind not in {"half", "time"}}
    return {
        "answer": answer(said, main.name, ends),
        "models": _models(reports["evaluate"], main.name),
        "calibration": _calibration(population),
        "learning": _learning(reports["learning_curve"], main.name),
        "coverage": _coverage(reports["evaluate"], main.name),
        "slices": _slices(reports["evaluate"]),
        "distributions": _distributions(population),
        "bands": _bands(said),
        "time": _time(said, main.name, ends),
        "groups": {
            kind: _groups(found, main.name, (ends, (0.0, 1.0))) for kind, found in kinds.items()
        },
        "differences": _differences(said, main.name),
        "brand_rows": _brands(brands, ends),
    }


def _plain(estimate: Json) -> Json:
    return {key: estimate[key] for key in _ENDS}


def _models(evaluate: Json, axis: str) -> Json:
    """Lay students and baselines out by mean absolute error."""
    found = evaluate["students"] | evaluate["baselines"]
    names = [name for name in MODELS if name in found]
    maes = {name: found[name]["test"][axis]["mae"] for name in names}
    noise = (evaluate.get("retest") or {}).get(axis)
    floor = noise["floor"] if noise else None
    scale = fit_scale([0.0, *(mae[end] for mae in maes.values() for end in _ENDS)])
    champion = (evaluate["champion"] or {}).get("modality")
    rows = [
        {
            "name": name,
            "is_champion": name == champion,
            "mae": maes[name],
            "r2": found[name]["test"][axis]["r2"],
            "spearman": found[name]["test"][axis]["spearman"],
            "ceiling": evaluate["ceiling"].get(name, {}).get(axis, {}).get("r2", {}).get("value"),
            "bar": interval_bar(
                _plain(maes[name]),
                scale,
                style="main" if name in evaluate["students"] else "second",
            ),
        }
        for name in names
    ]
    return {"axis": axis_row(scale), "rows": rows, "floor": floor, "noise": noise}


def _learning(curve: Json, axis: str) -> Json:
    """Lay out the error over how many labels the student learned from."""
    maes = [point[axis]["mae"] for point in curve["points"]]
    scale = fit_scale([0.0, *(mae[end] for mae in maes for end in _ENDS if mae[end] is not None)])
    rows = [
        {
            **{key: point[key] for key in ("labels", "share")},
            **{key: point[axis][key] for key in ("mae", "r2")},
            "bar": interval_bar(_plain(mae), scale, style="main"),
        }
        for point, mae in zip(curve["points"], maes, strict=True)
    ]
    return {
        "modality": curve["modality"],
        "axis": axis_row(scale),
        "rows": rows,
        "step": (step := curve["last_step"]) and step | {"mae": step[axis]["mae"]},
    }


def _calibration(population: ScoredCorpus) -> Json:
    main = population.axes[0]
    held = population.study.side > 1
    labels = population.labels[main.name][held]
    scores = population.scores[main.name][held]
    scale = fit_scale([main.low, main.high], ends=(main.low, main.high))
    curve = calibration(labels, scores)
    slope = float(np.polyfit(labels, scores, 1)[0]) if len(set(labels.tolist())) > 1 else None
    return {
        "n": int(held.sum()),
        "slope": slope,
        "chart": scatter_line(
            curve,
            scale,
            (f"student's score of {main.name} (points)", "teacher's label, mean (points)"),
        ),
    }


def _coverage(evaluate: Json, axis: str) -> list[Json]:
    """Lay out how often labels lie within the champion's intervals."""
    champion = evaluate["chosen"]
    by_group = (evaluate.get("coverage") or {}).get(champion, {}).get(axis, {})
    if not by_group:  # reports of an older pipeline
        metrics = evaluate["students"][champion]["test"][axis]
        name = next(key for key in sorted(metrics) if key.startswith("coverage_"))
        width = metrics[name.replace("coverage", "width")]
        n = evaluate["students"][champion]["n"]["test"]
        return [{"group": "all", "n": n, "coverage": metrics[name], "width": width}]
    return [{"group": group, **found} for group, found in by_group.items()]


def _slices(evaluate: Json) -> Json:
    """Lay out the champion's errors on kinds of posts."""
    found = (evaluate.get("slices") or {}).get(evaluate["chosen"], {})
    errors = [kind["metrics"]["error"] for kinds in found.values() for kind in kinds.values()]
    scale = fit_scale([0.0, *(error[end] for error in errors for end in _ENDS)])
    rows = {
        dimension: [
            {
                "name": name,
                **kind,
                "bar": interval_bar(
                    _plain(kind["metrics"]["error"]),
                    scale,
                    zero=0.0,
                    style="muted" if kind["tiny"] else "main",
                ),
            }
            for name, kind in sorted(kinds.items(), key=lambda item: -item[1]["n"])
        ]
        for dimension, kinds in found.items()
        if len(kinds) > 1
    }
    return {"axis": axis_row(scale, 0.0), "rows": rows}


def _distributions(population: ScoredCorpus) -> list[Json]:
    charts = []
    labelled = population.study.side != UNLABELLED
    weights = population.study.weights[labelled]
    for i, axis in enumerate(population.axes):
        span = axis.high - axis.low
        scale = fit_scale([axis.low, axis.high], ends=(axis.low, axis.high))
        edges = np.linspace(axis.low, axis.high, _BINS + 1)
        scores = np.histogram(population.scores[axis.name], edges)[0] / len(population)
        labels = np.histogram(population.labels[axis.name][labelled], edges, weights=weights)[0]
        cuts = [*(axis.low + share * span for share in BAND_EDGES), axis.high]
        charts.append(
            {
                "axis": axis.name,
                "chart": histogram(
                    scores,
                    labels / max(weights.sum(), 1e-12),
                    scale,
                    list(zip(cuts, BAND_NAMES, strict=True)) if i == 0 else [],
                    (f"{axis.name} (points, {axis.low:g} to {axis.high:g})", "share of posts"),
                ),
            }
        )
    return charts


def _bands(said: Json) -> Json:
    shares = {band: said["all"][f"share_{band}"] for band in BAND_NAMES}
    numbers = [share[key] for share in shares.values() for key in (*_ENDS, "uncorrected")]
    scale = fit_scale([0.0, *numbers], is_share=True, ends=(0.0, 1.0))
    rows = [
        {
            "name": band,
            "estimate": share,
            "bar": interval_bar(_plain(share), scale, other=share["uncorrected"]),
        }
        for band, share in shares.items()
    ]
    return {"axis": axis_row(scale), "rows": rows}


def _time(said: Json, axis: str, ends: tuple[float, float]) -> Json | None:
    periods = said["groups"].get("time", {})
    known = {name: found for name, found in periods.items() if found[axis]["value"] is not None}
    if len(known) < 3:
        return None
    means = [{**_plain(f[axis]), "uncorrected": f[axis]["uncorrected"]} for f in known.values()]
    scale = fit_scale([m[key] for m in means for key in (*_ENDS, "uncorrected")], ends=ends)
    words = ("when posted", f"mean {axis} (points)")
    shares = [
        {**_plain(f["share_high"]), "uncorrected": f["share_high"]["uncorrected"]}
        for f in known.values()
    ]
    share_scale = fit_scale(
        [0.0, *(s[key] for s in shares for key in (*_ENDS, "uncorrected"))],
        is_share=True,
        ends=(0.0, 1.0),
    )
    return {
        "chart": time_line(list(known), means, scale, words),
        "share_chart": time_line(
            list(known), shares, share_scale, ("when posted", "share of posts in the high band")
        ),
        "skipped": len(periods) - len(known),
    }


def _groups(found: Json, axis: str, ends: tuple[tuple[float, float], tuple[float, float]]) -> Json:
    """Lay out the groups of one kind: mean and share of the high band, with intervals."""
    columns = {}
    scales: dict[str, Scale] = {}
    for name, limits in zip((axis, "share_high"), ends, strict=True):
        numbers = [one[name][key] for one in found.values() for key in (*_ENDS, "uncorrected")]
        scales[name] = fit_scale(numbers, is_share=name == "share_high", ends=limits)
        columns[name] = axis_row(scales[name])
    rows = [
        {
            "name": name,
            "found": one,
            "mean": one[axis],
            "share": one["share_high"],
            "bars": [
                interval_bar(_plain(one[column]), scale, other=one[column]["uncorrected"])
                for column, scale in scales.items()
            ],
        }
        for name, one in found.items()
    ]
    return {"axes": list(columns.values()), "rows": rows}


def _differences(said: Json, axis: str) -> Json:
    found = [d for d in said["differences"] if d[axis]["value"] is not None]
    scale = fit_scale([0.0, *(d[axis][end] for d in found for end in _ENDS)])
    return {
        "axis": axis_row(scale, 0.0),
        "rows": [
            {
                **d,
                "found": d[axis],
                "share": as_points(d["share_high"]),
                "bar": interval_bar(_plain(d[axis]), scale, zero=0.0),
            }
            for d in found
        ],
    }


def _brands(brands: Json, ends: tuple[float, float]) -> Json:
    rows = brands["brands"]
    numbers = [row["pooled"][end] for row in rows for end in _ENDS]
    numbers += [row[brands["axis"]]["value"] for row in rows]
    scale = fit_scale(numbers, ends=ends)
    return {
        "axis": axis_row(scale),
        "rows": [
            {
                **row,
                "own": row[brands["axis"]],
                "bar": interval_bar(
                    row["pooled"],
                    scale,
                    other=row[brands["axis"]]["value"],
                    zero=brands["mean"],
                    style="muted" if row["is_small"] else "main",
                ),
            }
            for row in rows
        ],
    }
