"""Wording of the report: numbers with units and intervals, readable names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from postbias.evaluation.results_table import MODEL_NAMES
from postbias.localisation import number_formats
from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import translatable as _t
from postbias.localisation.number_formats import MINUS, format_count, name_language

Json = Mapping[str, Any]

#: Typographic sign for a missing value.
DASH = "\u2013"

_REASONS = {
    "broken_file": _t("file cannot be read"),
    "broken_row": _t("row cannot be read"),
    "other_layout": _t("file of another layout"),
    "duplicate_id": _t("post id occurs twice"),
    "missing_id": _t("post id is missing"),
    "missing_file": _t("file does not exist"),
    "bad_encoding": _t("text is not valid Unicode"),
    "no_label": _t("sampled, but not labelled"),
    "out_of_range": _t("label is outside the scale"),
    "not_a_number": _t("label is not a number"),
    "unknown_post": _t("label of a post that is not in the sample"),
    "refused": _t("the teacher refused"),
    "filtered": _t("blocked by the teacher's content filter"),
    "cut_off": _t("the teacher's reply was cut off"),
    "no_content": _t("no caption or image that the champion can use"),
    "unreadable": _t("no caption, and no readable image"),
}
_GROUP_KINDS = {
    "sponsored": _t("Sponsorship"),
    "time": _t("Over time"),
    "half": _t("Earlier and later half of the period"),
    "language": _t("Language of the caption"),
}
_SLICES = {
    "sponsored": _t("Sponsored"),
    "language": _t("Language"),
    "media_type": _t("Media type"),
    "platform": _t("Platform"),
    "caption_length": _t("Caption length"),
    "n_images": _t("Number of images"),
    "video": _t("Frames of a video"),
    "image_text": _t("Text in images"),
    "modalities": _t("Input used"),
}
_MODALITIES = {
    "all": _t("all posts"),
    "image+text": _t("image and caption"),
    "image": _t("image only"),
    "text": _t("caption only"),
}
# Names in reports of other stages, which are in English: the keys are the names.
_NAMES = (
    _t("sponsored"), _t("organic"), _t("not known"), _t("earlier half"), _t("later half"),
    _t("no caption"), _t("other or unclear"), _t("unknown"), _t("other"), _t("yes"), _t("no"),
    _t("none"), _t("1-50 characters"), _t("over 500"), _t("over 4"), _t("image"), _t("carousel"),
    _t("video"), _t("text"), _t("caption"), _t("low"), _t("moderate"), _t("high"),
    _t("moderate or higher"), _t("constant"), _t("fusion"), _t("text-only"), _t("image-only"),
    _t("TF-IDF + ridge"), _t("best constant"), _t("per year"),
    _t("import"), _t("import image"), _t("annotate"), _t("infer"),
)  # fmt: skip
_CONCLUSIONS = {
    "higher": _t("significantly higher"),
    "lower": _t("significantly lower"),
    "none": _t("no significant difference"),
}
_GATE_LINES = {
    "beats_constant": _t("better than the best constant (p-value)"),
    "beats_tfidf_ridge": _t("better than TF-IDF + ridge (p-value)"),
    "spread": _t("spread of scores relative to the spread of labels"),
    "int8_loss": _t("loss of the main metric from int8 quantization"),
    "image_pairs_change": _t("change of the score when the person in paired images is swapped"),
    "image_swap_change": _t("change of the score when the person in an image is swapped"),
    "image_swap_direction": _t("orientation follows the swapped person (p-value)"),
    "no_leakage": _t("authors and near-duplicates in more than one fold"),
    "odd_captions": _t("edge-case captions that are handled incorrectly"),
    "repeat_change": _t("change of the score when a caption is repeated"),
    "swap_change": _t("change of the score when gendered words are swapped"),
    "swap_direction": _t("orientation follows the swapped words (p-value)"),
}
_USES = {"caption": _t("uses the caption (p-value)"), "image": _t("uses the image (p-value)")}
_NOISE_SOURCES = {
    "sampling": _t(
        "Both come from the same prompt: the difference is the randomness of the model."
    ),
    "rewording": _t(
        "Their prompts have the same content in other words: the difference is the"
        " sensitivity of the model to the wording."
    ),
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
    return number_formats.format_fixed(number, digits)


def format_signed(number: float, digits: int = 1) -> str:
    """Format points that are added or taken away, with their sign."""
    text = format_points(number, digits)
    return text if text.startswith(MINUS) else f"+{text}"


def format_percent(share: float | None) -> str:
    """Format a share as `17%`, or as `1.2%` below ten percent; a missing one as a dash."""
    if share is None:
        return DASH
    return number_formats.format_share(share, 1 if abs(share) < 0.0995 else 0)


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
    return _("{lo} to {hi}").format(lo=write(estimate["lo"]), hi=write(estimate["hi"]))


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
    lo_text, hi_text = format_points(lo, digits), format_points(hi, digits)
    return _("{value} ({lo} to {hi})").format(value=text, lo=lo_text, hi=hi_text)


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
    source = _NOISE_SOURCES.get(teacher.get("retest_measures", ""))
    return _(source) if source else ""


def describe_conclusion(conclusion: str) -> str:
    """Describe a conclusion about a difference or a band in words."""
    return _(_CONCLUSIONS.get(conclusion, conclusion))


def describe_reason(reason: str) -> str:
    """Describe a reject reason in words."""
    return _(_REASONS.get(reason, reason.replace("_", " ")))


def group_name(kind: str, name: str) -> str:
    """Name a group of posts; languages, periods and modalities have names of their own."""
    if kind == "language":
        return _(name) if name in _NAMES else name_language(name)
    if kind == "modalities":
        return _(_MODALITIES.get(name, name))
    # Only known names: a platform may be called as a message is.
    return _(name) if name in _NAMES else name


def list_groups(groups: Iterable[str], kind: str) -> str:
    """List groups of posts by name, each with its number of posts if `groups` maps to these."""
    names = {name: group_name(kind, name) for name in groups}
    if isinstance(groups, Mapping):
        return _(", ").join(f"{names[name]} {format_count(n)}" for name, n in groups.items())
    return _(", ").join(names.values())


def group_title(kind: str) -> str:
    """Return the heading of a kind of group."""
    return _(_GROUP_KINDS.get(kind, kind.replace("_", " ")))


def slice_title(dimension: str) -> str:
    """Return the heading of a dimension of slices."""
    return _(_SLICES.get(dimension, dimension.replace("_", " ")))


def model_title(name: str) -> str:
    """Return the title of a student or baseline in `evaluate.json`."""
    return _(MODEL_NAMES.get(name, name))


def band_title(name: str) -> str:
    """Return the name of a band."""
    return _(name)


def describe_gate_line(name: str) -> str:
    """Describe a line of the gate in words."""
    if name in _GATE_LINES:
        return _(_GATE_LINES[name])
    kind, _separator, rest = name.partition("_")
    if kind == "coverage":
        return _("share of {axis} labels within their intervals").format(axis=rest)
    if kind == "language":
        return _("not below TF-IDF trained on {language} alone (p of being worse)").format(
            language=group_name(kind, rest)
        )
    if kind == "uses":
        return _(_USES[rest]) if rest in _USES else name.replace("_", " ")
    return name.replace("_", " ")


def format_gate_value(name: str, value: float | None) -> str:
    """Format the value of a gate line as a percentage, p-value or number, as the line requires."""
    if value is None:
        return DASH
    if name.startswith(_SHARE_LINES):
        return number_formats.format_share(value, 1)
    return number_formats.format_significant(value, 3)


def format_gate_limit(name: str, limit: float | None) -> str:
    """Format the limit of a gate line, including whether it is a minimum or a maximum."""
    if limit is None:
        return DASH
    value = format_gate_value(name, limit)
    if _is_p_value(name):
        return _("below {value}").format(value=value)
    if name.startswith(_MINIMUM_LINES):
        return _("at least {value}").format(value=value)
    return _("at most {value}").format(value=value)


def _is_p_value(name: str) -> bool:
    return name.startswith("uses_") or _GATE_LINES.get(name, "").endswith("(p-value)")
