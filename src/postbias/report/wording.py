"""Wording of the report: numbers with units and intervals, names for people, the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postbias.evaluation.results_table import MODEL_NAMES

Json = Mapping[str, Any]

#: Typographic signs for a missing value and for negative numbers.
DASH, MINUS = "\u2013", "\u2212"

_REASONS = {
    "broken_file": "file cannot be read",
    "broken_row": "row cannot be read",
    "duplicate_id": "post id occurs twice",
    "missing_id": "post id is missing",
    "missing_file": "file does not exist",
    "bad_encoding": "text is not valid Unicode",
    "no_label": "sampled, but not labelled",
    "out_of_range": "label is outside the scale",
    "not_a_number": "label is not a number",
    "unknown_post": "label of a post that is not in the sample",
    "refused": "the teacher refused",
    "filtered": "blocked by the teacher's content filter",
    "cut_off": "the teacher's reply was cut off",
    "no_content": "no caption or image that the champion can use",
    "unreadable": "no caption, and no readable image",
}
_GROUP_KINDS = {
    "sponsored": "Sponsorship",
    "time": "Over time",
    "half": "Earlier and later half of the period",
    "language": "Language of the caption",
}
_SLICES = {
    "sponsored": "Sponsored",
    "language": "Language",
    "media_type": "Media type",
    "caption_length": "Caption length",
    "n_images": "Number of images",
    "image_text": "Text in images",
    "modalities": "Input used",
}
_LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian",
    "fr": "French", "hi": "Hindi", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
_MODALITIES = {
    "all": "all posts",
    "image+text": "image and caption",
    "image": "image only",
    "text": "caption only",
}
_GATE_LINES = {
    "beats_constant": "better than the best constant (p-value)",
    "beats_tfidf_ridge": "better than TF-IDF + ridge (p-value)",
    "spread": "spread of scores relative to the spread of labels",
    "int8_loss": "loss of the main metric from int8 quantization",
    "no_leakage": "authors and near-duplicates in more than one fold",
    "odd_captions": "edge-case captions that are handled incorrectly",
    "repeat_change": "change of the score when a caption is repeated",
    "swap_change": "change of the score when gendered words are swapped",
    "swap_direction": "orientation follows the swapped words (p-value)",
}
# Gate lines with a share as their value, and gate lines with a minimum as their limit.
_SHARE_LINES = ("coverage_", "int8_loss", "repeat_change", "swap_change")
_MINIMUM_LINES = ("coverage_", "spread")


def format_points(number: float | None, digits: int = 2) -> str:
    """Format a number of points, such as `3.54`; a missing one as a dash."""
    if number is None:
        return DASH
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def format_percent(share: float | None) -> str:
    """Format a share as `17%`, or as `1.2%` below ten percent; a missing one as a dash."""
    if share is None:
        return DASH
    return f"{100 * share:.1f}%" if abs(share) < 0.0995 else f"{100 * share:.0f}%"


def format_interval(estimate: Json, *, is_share: bool = False) -> str:
    """Format the limits of an interval, such as `3.42 to 3.66`; a missing one as a dash.

    Args:
        estimate: `lo` and `hi`.
        is_share: Whether they are shares.

    Returns:
        The interval in words.
    """
    if estimate["lo"] is None:
        return DASH
    write = format_percent if is_share else format_points
    return f"{write(estimate['lo'])} to {write(estimate['hi'])}"


def format_difference(estimate: Json, digits: int = 2) -> str:
    """Format a difference with its interval, such as `+0.51 (0.37 to 0.65)`.

    Args:
        estimate: `value`, `lo` and `hi`; without a value the result is a dash.
        digits: Number of decimals.

    Returns:
        The difference in words.
    """
    value, lo, hi = (estimate[key] for key in ("value", "lo", "hi"))
    if value is None:
        return DASH
    sign = "+" if value > 0 else ""
    write = format_points
    return f"{sign}{write(value, digits)} ({write(lo, digits)} to {write(hi, digits)})"


def to_percentage_points(share: Json) -> Json:
    """Convert a share and its interval, `value`, `lo` and `hi`, to percentage points."""
    return {key: x if (x := share[key]) is None else 100 * x for key in ("value", "lo", "hi")}


def describe_reason(reason: str) -> str:
    """Describe a reject reason in words."""
    return _REASONS.get(reason, reason.replace("_", " "))


def group_name(kind: str, name: str) -> str:
    """Name a group of posts; languages and modalities have names of their own."""
    names = {"language": _LANGUAGES, "modalities": _MODALITIES}
    return names.get(kind, {}).get(name, name)


def group_title(kind: str) -> str:
    """Return the heading of a kind of group."""
    return _GROUP_KINDS.get(kind, kind.replace("_", " "))


def slice_title(dimension: str) -> str:
    """Return the heading of a dimension of slices."""
    return _SLICES.get(dimension, dimension.replace("_", " "))


def model_title(name: str) -> str:
    """Return the title of a student or baseline in `evaluate.json`."""
    return MODEL_NAMES.get(name, name)


def describe_gate_line(name: str) -> str:
    """Describe a line of the gate in words."""
    if name in _GATE_LINES:
        return _GATE_LINES[name]
    kind, _, rest = name.partition("_")
    if kind == "coverage":
        return f"share of {rest} labels within their intervals"
    if kind == "uses":
        return f"uses the {rest} (p-value)"
    return name.replace("_", " ")


def format_gate_value(name: str, value: float | None) -> str:
    """Format the value of a gate line as a percentage, p-value or number, as the line requires."""
    if value is None:
        return DASH
    if name.startswith(_SHARE_LINES):
        return f"{100 * value:.1f}%".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)


def format_gate_limit(name: str, limit: float | None) -> str:
    """Format the limit of a gate line, including whether it is a minimum or a maximum."""
    if limit is None:
        return DASH
    if describe_gate_line(name).endswith("(p-value)"):
        side = "below"
    else:
        side = "at least" if name.startswith(_MINIMUM_LINES) else "at most"
    return f"{side} {format_gate_value(name, limit)}"


def summarize_answer(population: Json, axis: str, bounds: tuple[float, float]) -> list[str]:
    """Summarize the estimates in three paragraphs: level, sponsorship and change over time.

    Args:
        population: The content of `reports/population.json`.
        axis: The main axis.
        bounds: Its range.

    Returns:
        The sentences.
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
