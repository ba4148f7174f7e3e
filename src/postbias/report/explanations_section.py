"""The report's section on the faithfulness of explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postbias.evaluation.planted_cues import TOP_WORDS
from postbias.localisation.messages import gettext as _
from postbias.localisation.messages import join_sentences
from postbias.localisation.messages import translatable as _t
from postbias.localisation.number_formats import format_count
from postbias.report.wording import format_interval, format_percent

Json = Mapping[str, Any]

_PARTS = {"words": _t("Words"), "regions": _t("Image regions")}
_CUES = {
    "words": _t("a word of the planted claim among the top {n} words"),
    "objects": _t("a planted object in the region that raises the score most"),
}
# What is said of parts that may not be marked, by the parts in question.
_REFUSED = {
    ("words",): _t(
        "No words are marked: removing them in the order of their contributions changes scores no "
        "faster than in random order."
    ),
    ("regions",): _t(
        "No image regions are marked: removing them in the order of their contributions changes "
        "scores no faster than in random order."
    ),
    ("words", "regions"): _t(
        "No words and image regions are marked: removing them in the order of their contributions "
        "changes scores no faster than in random order."
    ),
}
_UNTESTED = {
    ("words",): _t(
        "For words there were too few posts to test whether they are better than random order."
    ),
    ("regions",): _t(
        "For image regions there were too few posts to test whether they are better than random "
        "order."
    ),
    ("words", "regions"): _t(
        "For words and image regions there were too few posts to test whether they are better than "
        "random order."
    ),
}


def lay_out_explanations(evaluate: Json) -> Json:
    """Lay out how faithful the champion's explanations are.

    Args:
        evaluate: The content of `reports/evaluate.json`.

    Returns:
        `rows` by part, `cues` of the demo and a `cue_sentence` about them, the number `n` of
        explained posts, and a `sentence` for the example posts.
    """
    result = (evaluate.get("explanations") or {}).get(evaluate["chosen"], {})
    parts = {part: result[part] for part in _PARTS if part in result}
    rows = [{"name": _(_PARTS[part]), **measured} for part, measured in parts.items()]
    cues = [
        {"name": _(name).format(n=TOP_WORDS), **result["planted"][cue]}
        for cue, name in _CUES.items()
        if cue in result.get("planted", {})
    ]
    return {
        "n": result.get("n", 0),
        "rows": rows,
        "cues": cues,
        "cue_sentence": _describe_cues(cues),
        "sentence": _describe_outcome({part: one["faithful"] for part, one in parts.items()}),
    }


def _describe_cues(cues: Sequence[Json]) -> str:
    parts = [
        (
            _("{cue} in {found} of {n} posts, against {chance} by chance")
            if cue["found"]["lo"] is None
            else _("{cue} in {found} of {n} posts ({interval}), against {chance} by chance")
        ).format(
            cue=cue["name"],
            found=format_percent(cue["found"]["value"]),
            n=format_count(cue["n"]),
            interval=format_interval(cue["found"], is_share=True),
            chance=format_percent(cue["chance"]),
        )
        for cue in cues
    ]
    return _("The explanation has {cues}.").format(cues=_(", and ").join(parts))


def _describe_outcome(is_faithful: Mapping[str, bool | None]) -> str:
    if not is_faithful:
        return _("Whether they are better than random order was not tested.")
    refused = tuple(part for part, verdict in is_faithful.items() if verdict is False)
    untested = tuple(part for part, verdict in is_faithful.items() if verdict is None)
    sentences = [_(_REFUSED[refused])] if refused else []
    sentences += [_(_UNTESTED[untested])] if untested else []
    return join_sentences(sentences)
