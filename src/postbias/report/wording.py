"""Wording of the report: numbers with units and intervals, readable names."""

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
    "other_layout": "file of another layout",
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
    "platform": "Platform",
    "caption_length": "Caption length",
    "n_images": "Number of images",
    "video": "Frames of a video",
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
_CONCLUSIONS = {
    "higher": "significantly higher",
    "lower": "significantly lower",
    "none": "no significant difference",
}
_GATE_LINES = {
    "beats_constant": "better than the best constant (p-value)",
    "beats_tfidf_ridge": "better than TF-IDF + ridge (p-value)",
    "spread": "spread of scores relative to the spread of labels",
    "int8_loss": "loss of the main metric from int8 quantization",
    "image_pairs_change": "change of the score when the person in paired images is swapped",
    "image_swap_change": "change of the score when the person in an image is swapped",
    "image_swap_direction": "orientation follows the swapped person (p-value)",
    "no_leakage": "authors and near-duplicates in more than one fold",
    "odd_captions": "edge-case captions that are handled incorrectly",
    "repeat_change": "change of the score when a caption is repeated",
    "swap_change": "change of the score when gendered words are swapped",
    "swap_direction": "orientation follows the swapped words (p-value)",
}
_NOISE_SOURCES = {
    "sampling": "Both come from the same prompt: the difference is the randomness of the model.",
    "rewording": "Their prompts have the same content in other words: the difference is the"
    " sensitivity of the model to the wording.",
}
# Gate lines with a share as their value, and gate lines with a minimum as their limit.
_SHARE_LINES = (
    "coverage_", "image_pairs_change", "image_swap_change", "int8_loss", "repeat_change",
    "swap_change",
)  # fmt: skip
_MINIMUM_LINES = ("coverage_", "spread", "language_")


def format_points(number: float | None, digits: int = 2) -> str:
    """Format a number of points, such as `3.54`; a missing one as a dash."""
    if number is None:
        return DASH
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def format_signed(number: float, digits: int = 1) -> str:
    """Format points that are added or taken away, with their sign."""
    text = format_points(number, digits)
    return text if text.startswith(MINUS) else f"+{text}"


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
        estimate: `value`, `lo` and `hi`; the result is a dash without a value, and the value alone
            without an interval.
        digits: Number of decimals.

    Returns:
        The difference in words.
    """
    value, lo, hi = (estimate[key] for key in ("value", "lo", "hi"))
    if value is None:
        return DASH
    text = f"{'+' if value > 0 else ''}{format_points(value, digits)}"
    if lo is None:
        return text
    return f"{text} ({format_points(lo, digits)} to {format_points(hi, digits)})"


def to_percentage_points(share: Json) -> Json:
    """Convert a share and its interval, `value`, `lo` and `hi`, to percentage points."""
    return {key: x if (x := share[key]) is None else 100 * x for key in ("value", "lo", "hi")}


def describe_noise_source(teacher: Json) -> str:
    """Say in what two replies about the same post differ; nothing if it is not known.

    Args:
        teacher: `teacher` of `reports/labels.json`.

    Returns:
        A sentence.
    """
    return _NOISE_SOURCES.get(teacher.get("retest_measures", ""), "")


def describe_dominant_authors(strata: Json) -> str:
    """Name the authors that are strata of their own, with their shares of the posts; may be empty.

    Args:
        strata: `strata` of `reports/population.json`.

    Returns:
        The sentences.
    """

    def names(*, is_stratum: bool) -> str:
        return ", ".join(
            f"{one['author']} ({format_percent(one['share'])})"
            for one in strata["dominant_authors"]
            if one["is_stratum"] == is_stratum
        )

    limit = format_percent(strata["dominant_share"])
    sentences = []
    if own := names(is_stratum=True):
        sentences.append(
            f"Authors with more than {limit} of the posts are strata of their own, each estimated "
            f"from its own labels and weighted by its share of the posts: {own}."
        )
    if merged := names(is_stratum=False):
        sentences.append(
            f"Authors with more than {limit} of the posts whose labels do not suffice for a "
            f"stratum of their own count as authors like the others: {merged}."
        )
    if n := strata["never_held_out"]["authors"]:
        sentences.append(
            f"{n:,} author{' is' if n == 1 else 's are'} linked to more posts than a held-out fold "
            f"has, and form{'s' if n == 1 else ''} a stratum that is estimated from labels alone."
        )
    return " ".join(sentences)


def describe_conclusion(conclusion: str) -> str:
    """Describe a conclusion about a difference or a band in words."""
    return _CONCLUSIONS.get(conclusion, conclusion)


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
    if kind == "language":
        return f"not below TF-IDF trained on {group_name(kind, rest)} alone (p of being worse)"
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
