"""What the report says in words: numbers with their intervals, in sentences anybody can read.

Takes what `reports/*.json` say and gives text. Computes nothing but the rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postbias.evaluation.results_table import MODELS

Json = Mapping[str, Any]

#: As typesetters write "none" and "minus".
DASH, MINUS = "\u2013", "\u2212"

#: Why posts were rejected, in words.
_REASONS = {
    "broken_file": "a file that cannot be read",
    "broken_row": "a row that cannot be read",
    "duplicate_id": "a post id that occurs twice",
    "missing_id": "no post id",
    "missing_file": "a file that is not there",
    "bad_encoding": "text that is not Unicode",
    "no_label": "sampled, but the teacher gave no label",
    "out_of_range": "a label outside the scale",
    "not_a_number": "a label that is no number",
    "unknown_post": "a label for an unknown post",
    "refused": "the teacher refused",
    "filtered": "a content filter stopped the teacher",
    "no_content": "nothing that the champion can look at",
    "unreadable": "no caption, and no picture that can be read",
}

_KINDS = {
    "sponsored": "Paid for or not",
    "time": "Over time",
    "half": "Earlier and later",
    "language": "Language of the caption",
}
_SLICES = {
    "sponsored": "Sponsored",
    "language": "Language",
    "media_type": "Kind of post",
    "caption_length": "Caption length",
    "n_images": "Pictures",
    "modalities": "What was looked at",
}
_LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian",
    "fr": "French", "hi": "Hindi", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
_LOOKED_AT = {
    "all": "all posts",
    "image+text": "picture and caption",
    "image": "picture only",
    "text": "caption only",
}


def points(number: float | None, digits: int = 2) -> str:
    """Write a number of points.

    Args:
        number: The number, or None.
        digits: Decimals.

    Returns:
        `3.54`, or a dash where there is none.
    """
    # The sum turns -0.0 into 0.0.
    return (
        DASH if number is None else f"{round(number, digits) + 0.0:.{digits}f}".replace("-", MINUS)
    )


def percent(share: float | None) -> str:
    """Write a share as a percentage.

    Args:
        share: The share, or None.

    Returns:
        `17%`, `1.2%` below ten, or a dash where there is none.
    """
    if share is None:
        return DASH
    return f"{100 * share:.1f}%" if abs(share) < 0.0995 else f"{100 * share:.0f}%"


def between(estimate: Json, *, is_share: bool = False) -> str:
    """Write an interval.

    Args:
        estimate: `lo` and `hi`.
        is_share: Whether they are shares.

    Returns:
        `3.42 to 3.66`; a dash where there is none.
    """
    if estimate["lo"] is None:
        return DASH
    write = percent if is_share else points
    return f"{write(estimate['lo'])} to {write(estimate['hi'])}"


def answer(population: Json, axis: str, ends: tuple[float, float]) -> list[str]:
    """Give the answer in three sentences, each with its interval.

    Args:
        population: What `reports/population.json` says.
        axis: The main axis.
        ends: Its range.

    Returns:
        How much, for whom, and whether it is rising.
    """
    everything = population["all"]
    mean, high = everything[axis], everything["share_high"]
    if mean["value"] is None:
        return ["There are too few labels to say anything about all posts."]
    sentences = [
        f"On average the posts score {points(mean['value'])} on {axis}, on a scale from "
        f"{ends[0]:g} to {ends[1]:g} (95% interval {between(mean)}), and {percent(high['value'])} "
        f"of them ({between(high, is_share=True)}) are in the high band; the student's scores "
        f"taken at face value would have said {percent(high['uncorrected'])}, "
        f"{_face_value(high)}."
    ]
    by_kind = {d["kind"]: d[axis] for d in population["differences"] if d["kind"] != "language"}
    sentences.append(_compare(by_kind.get("sponsored"), "Sponsored posts", "organic ones", axis))
    later = by_kind.get("half")
    said = _compare(later, "Posts of the later half of the period", "those of the earlier", axis)
    return [*sentences, f"{_trend(later, axis)}{said}"]


def points_between(estimate: Json, digits: int = 2) -> str:
    """Write a difference in points with its interval, for a sentence.

    Args:
        estimate: `value`, `lo` and `hi`.
        digits: Decimals.

    Returns:
        `+0.51 (0.37 to 0.65)`; a dash where there is none.
    """
    value, lo, hi = (estimate[key] for key in ("value", "lo", "hi"))
    if value is None:
        return DASH
    sign = "+" if value > 0 else ""
    return f"{sign}{points(value, digits)} ({points(lo, digits)} to {points(hi, digits)})"


def as_points(share: Json) -> Json:
    """Turn a share with its interval into percentage points.

    Args:
        share: `value`, `lo` and `hi`; None where there is none.

    Returns:
        The same times 100.
    """
    return {key: x if (x := share[key]) is None else 100 * x for key in ("value", "lo", "hi")}


def reason_words(reason: str) -> str:
    """Say in words why posts were rejected.

    Args:
        reason: A `Reason`.

    Returns:
        The words.
    """
    return _REASONS.get(reason, reason.replace("_", " "))


def group_name(kind: str, name: str) -> str:
    """Name a group of posts.

    Args:
        kind: Kind of group.
        name: The group.

    Returns:
        Languages by their English name, modalities in words, everything else as it is.
    """
    words = {"language": _LANGUAGES, "modalities": _LOOKED_AT}
    return words.get(kind, {}).get(name, name)


def kind_title(kind: str) -> str:
    """Give the heading of a kind of group.

    Args:
        kind: Kind of group or slice.

    Returns:
        The heading.
    """
    return _KINDS.get(kind, kind.replace("_", " "))


def slice_title(dimension: str) -> str:
    """Give the heading of a kind of slice.

    Args:
        dimension: As in `evaluate.json`.

    Returns:
        The heading.
    """
    return _SLICES.get(dimension, dimension.replace("_", " "))


def model_name(name: str) -> str:
    """Name a student or a baseline.

    Args:
        name: As in `evaluate.json`.

    Returns:
        The name.
    """
    return MODELS.get(name, name)


def _face_value(share: Json) -> str:
    """Say how far off the uncorrected share is."""
    error = as_points(share["uncorrected_error"])
    if error["value"] is None or error["lo"] <= 0 <= error["hi"]:
        return "which these labels cannot tell from that"
    ends = sorted(abs(error[key]) for key in ("lo", "hi"))
    side = "low" if error["value"] < 0 else "high"
    return (
        f"{points(abs(error['value']), 1)} percentage points too {side} "
        f"({points(ends[0], 1)} to {points(ends[1], 1)})"
    )


def _trend(later: Json | None, axis: str) -> str:
    """Say whether it is rising, where the interval shows it."""
    if later is None or later["value"] is None or later["lo"] <= 0 <= later["hi"]:
        return ""
    return f"{axis.capitalize()} is {'rising' if later['value'] > 0 else 'falling'}. "


def _compare(difference: Json | None, one: str, two: str, axis: str) -> str:
    if difference is None or difference["value"] is None:
        return f"{one} cannot be compared with {two}: too few labels, or nothing is known of it."
    value, said = difference["value"], between(difference)
    if difference["lo"] <= 0 <= difference["hi"]:
        return (
            f"{one} and {two} could not be told apart: the difference in {axis} is "
            f"{points(value)} points (95% interval {said})."
        )
    word = "higher" if value > 0 else "lower"
    ends = sorted(abs(difference[end]) for end in ("lo", "hi"))
    return (
        f"{one} score {points(abs(value))} points {word} on {axis} than {two} "
        f"(95% interval {points(ends[0])} to {points(ends[1])})."
    )
