"""The report's first paragraphs: level, sponsorship and change over time, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import translatable as _t
from postbias.report.wording import (
    Json,
    format_interval,
    format_percent,
    format_points,
    to_percentage_points,
)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The sentences about the difference between two kinds of posts."""

    unknown: str
    equal: str
    higher: str
    lower: str


_SPONSORSHIP = _Comparison(
    unknown=_t(
        "Sponsored posts cannot be compared with organic posts: too few labels, or the posts do "
        "not say which are which."
    ),
    equal=_t(
        "Sponsored posts do not differ significantly from organic posts: the difference in {axis} "
        "is {value} points (95% interval {interval})."
    ),
    higher=_t(
        "Sponsored posts score {value} points higher on {axis} than organic posts (95% interval "
        "{lo} to {hi})."
    ),
    lower=_t(
        "Sponsored posts score {value} points lower on {axis} than organic posts (95% interval "
        "{lo} to {hi})."
    ),
)
_HALVES = _Comparison(
    unknown=_t(
        "Posts from the later half of the period cannot be compared with the earlier half: too "
        "few labels, or the posts do not say which are which."
    ),
    equal=_t(
        "Posts from the later half of the period do not differ significantly from the earlier "
        "half: the difference in {axis} is {value} points (95% interval {interval})."
    ),
    higher=_t(
        "{Axis} increased over time. Posts from the later half of the period score {value} points "
        "higher on {axis} than the earlier half (95% interval {lo} to {hi})."
    ),
    lower=_t(
        "{Axis} decreased over time. Posts from the later half of the period score {value} points "
        "lower on {axis} than the earlier half (95% interval {lo} to {hi})."
    ),
)


def summarize_answer(population: Json, axis: str, bounds: tuple[float, float]) -> list[str]:
    """Summarize the estimates in three paragraphs: level, sponsorship and change over time.

    Args:
        population: The content of `reports/population.json`.
        axis: The main axis.
        bounds: Its range.
    """
    if population["all"][axis]["value"] is None:
        return [_("There are too few labels for an estimate.")]
    by_kind = {d["kind"]: d[axis] for d in population["differences"] if d["kind"] != "language"}
    return [
        describe_level(population, axis, bounds),
        _compare(by_kind.get("sponsored"), _SPONSORSHIP, axis),
        _compare(by_kind.get("half"), _HALVES, axis),
    ]


def describe_level(population: Json, axis: str, bounds: tuple[float, float]) -> str:
    """Describe the mean, the share of high posts and the error of the plug-in estimate.

    Args:
        population: The content of `reports/population.json`, with an estimate of the mean.
        axis: The main axis.
        bounds: Its range.
    """
    mean, high = population["all"][axis], population["all"]["share_high"]
    error = to_percentage_points(high["uncorrected_error"])
    values = {
        "axis": axis,
        "mean": format_points(mean["value"]),
        "low": f"{bounds[0]:g}",
        "high": f"{bounds[1]:g}",
        "interval": format_interval(mean),
        "share": format_percent(high["value"]),
        "share_interval": format_interval(high, is_share=True),
        "plug_in": format_percent(high["uncorrected"]),
    }
    if error["value"] is None or error["lo"] <= 0 <= error["hi"]:
        return _(
            "The mean {axis} of the posts is {mean} on a scale from {low} to {high} (95% interval "
            "{interval}), and {share} of them ({share_interval}) are in the high band. The plug-in "
            "estimate, which counts the student's scores without correction, is {plug_in}: not "
            "significantly different."
        ).format(**values)
    limits = sorted(abs(error[key]) for key in ("lo", "hi"))
    values |= {
        "error": format_points(abs(error["value"]), 1),
        "error_lo": format_points(limits[0], 1),
        "error_hi": format_points(limits[1], 1),
    }
    if error["value"] < 0:
        return _(
            "The mean {axis} of the posts is {mean} on a scale from {low} to {high} (95% interval "
            "{interval}), and {share} of them ({share_interval}) are in the high band. The plug-in "
            "estimate, which counts the student's scores without correction, is {plug_in}: {error} "
            "percentage points too low (95% interval {error_lo} to {error_hi})."
        ).format(**values)
    return _(
        "The mean {axis} of the posts is {mean} on a scale from {low} to {high} (95% interval "
        "{interval}), and {share} of them ({share_interval}) are in the high band. The plug-in "
        "estimate, which counts the student's scores without correction, is {plug_in}: {error} "
        "percentage points too high (95% interval {error_lo} to {error_hi})."
    ).format(**values)


def _compare(difference: Json | None, sentences: _Comparison, axis: str) -> str:
    if difference is None or difference["value"] is None:
        return _(sentences.unknown)
    value = difference["value"]
    if difference["lo"] <= 0 <= difference["hi"]:
        return _(sentences.equal).format(
            axis=axis, value=format_points(value), interval=format_interval(difference)
        )
    limits = sorted(abs(difference[key]) for key in ("lo", "hi"))
    return _(sentences.higher if value > 0 else sentences.lower).format(
        axis=axis,
        Axis=axis.capitalize(),
        value=format_points(abs(value)),
        lo=format_points(limits[0]),
        hi=format_points(limits[1]),
    )
