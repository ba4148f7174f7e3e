"""Layout of the report's table of languages: the champion beside a baseline of each language."""

from __future__ import annotations

from typing import Any

from postbias.report.interval_bars import BarScale, draw_interval_bar, draw_ticks, fit_scale

Json = dict[str, Any]

_KEYS = ("value", "lo", "hi")
_TITLES = {"mae": "MAE", "rmse": "RMSE", "spearman": "Spearman"}


def lay_out_languages(evaluate: Json) -> Json:
    """Lay out the results by language.

    Args:
        evaluate: Content of `reports/evaluate.json`.

    Returns:
        `rows`, one per language with test posts that the chosen student can score, most labels
        first, `absent`, the languages without one, `cut`, those that lose many tokens,
        `calibrated`, those with separate intervals, and `ticks` of the bars; no rows if there
        is one language only.
    """
    found = (evaluate.get("languages") or {}).get(evaluate["chosen"], {})
    metric = evaluate["main"]["metric"]
    measured = {code: one for code, one in found.items() if one["metrics"]}
    ends = [one["advantage"][key] for one in measured.values() if one["advantage"] for key in _KEYS]
    scale = fit_scale([0.0, *ends])
    is_named = [code for code in measured if code not in {"unknown", "other"}]
    rows = [_lay_out_row(code, one, scale, metric) for code, one in measured.items()]
    return {
        "metric": _TITLES[metric],
        "rows": sorted(rows, key=lambda row: -row["n_learned"]) if len(is_named) > 1 else [],
        "ticks": draw_ticks(scale, 0.0),
        "absent": sorted(set(found) - set(measured)),
        "calibrated": sorted(
            {
                each["group"]
                for one in found.values()
                for each in one.get("intervals", {}).values()
                if each["group"] is not None
            },
            key=lambda code: (code == "other", code),
        ),
        "cut": [
            {"code": code, **one["tokens"]}
            for code, one in found.items()
            if one["tokens"] and one["tokens"]["much"]
        ],
    }


def _lay_out_row(code: str, one: Json, scale: BarScale, metric: str) -> Json:
    metrics, advantage = one["metrics"], one["advantage"]
    coverage = next((metrics[name] for name in metrics if name.startswith("coverage_")), None)
    bar = None
    if advantage is not None:
        interval = {key: advantage[key] for key in _KEYS}
        style = "main" if one["judged"] else "muted"
        bar = draw_interval_bar(interval, scale, zero=0.0, style=style)
    return {
        **one,
        "code": code,
        "student": metrics[metric],
        "coverage": coverage,
        "error": metrics["error"],
        "slope": metrics.get("slope"),  # an older version had none
        "bar": bar,
    }
