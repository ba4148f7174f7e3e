"""The report's first paragraphs: level, sponsorship and change over time, in sentences."""

from __future__ import annotations

from postbias.report.wording import (
    Json,
    format_interval,
    format_percent,
    format_points,
    to_percentage_points,
)


def summarize_answer(population: Json, axis: str, bounds: tuple[float, float]) -> list[str]:
    """Summarize the estimates in three paragraphs: level, sponsorship and change over time.

    Args:
        population: The content of `reports/population.json`.
        axis: The main axis.
        bounds: Its range.
    """
    mean, high = population["all"][axis], population["all"]["share_high"]
    if mean["value"] is None:
        return ["There are too few labels for an estimate."]
    level = (
        f"The mean {axis} of the posts is {format_points(mean['value'])} on a scale from "
        f"{bounds[0]:g} to {bounds[1]:g} (95% interval {format_interval(mean)}), and "
        f"{format_percent(high['value'])} of them ({format_interval(high, is_share=True)}) are in "
        f"the high band. The plug-in estimate, which counts the student's scores without "
        f"correction, is {format_percent(high['uncorrected'])}: {_plug_in_error(high)}."
    )
    by_kind = {d["kind"]: d[axis] for d in population["differences"] if d["kind"] != "language"}
    by_sponsorship, by_half = by_kind.get("sponsored"), by_kind.get("half")
    return [
        level,
        _compare(by_sponsorship, "Sponsored posts", "organic posts", axis),
        _trend(by_half, axis)
        + _compare(by_half, "Posts from the later half of the period", "the earlier half", axis),
    ]


def _plug_in_error(share: Json) -> str:
    error = to_percentage_points(share["uncorrected_error"])
    if error["value"] is None or error["lo"] <= 0 <= error["hi"]:
        return "not significantly different"
    limits = sorted(abs(error[key]) for key in ("lo", "hi"))
    side = "low" if error["value"] < 0 else "high"
    return (
        f"{format_points(abs(error['value']), 1)} percentage points too {side} "
        f"(95% interval {format_points(limits[0], 1)} to {format_points(limits[1], 1)})"
    )


def _trend(later: Json | None, axis: str) -> str:
    """State the direction of a significant change over time."""
    if later is None or later["value"] is None or later["lo"] <= 0 <= later["hi"]:
        return ""
    return f"{axis.capitalize()} {'increased' if later['value'] > 0 else 'decreased'} over time. "


def _compare(difference: Json | None, first: str, second: str, axis: str) -> str:
    if difference is None or difference["value"] is None:
        return (
            f"{first} cannot be compared with {second}: too few labels, or the posts do not say "
            "which are which."
        )
    value = difference["value"]
    if difference["lo"] <= 0 <= difference["hi"]:
        return (
            f"{first} do not differ significantly from {second}: the difference in {axis} is "
            f"{format_points(value)} points (95% interval {format_interval(difference)})."
        )
    direction = "higher" if value > 0 else "lower"
    limits = sorted(abs(difference[key]) for key in ("lo", "hi"))
    return (
        f"{first} score {format_points(abs(value))} points {direction} on {axis} than {second} "
        f"(95% interval {format_points(limits[0])} to {format_points(limits[1])})."
    )
