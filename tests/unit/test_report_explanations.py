"""Explanations in the report: marked words, framed regions, and the result of their test."""

from __future__ import annotations

from typing import Any

import pytest

from postbias.explanation.explanation_records import Explanation, WordContribution
from postbias.explanation.image_regions import RelativeBox
from postbias.report.explained_examples import CaptionPart, mark_caption, scale_box
from postbias.report.explanations_section import lay_out_explanations
from postbias.report.page import render_template
from postbias.scoring.post_scores import PostScore

Json = dict[str, Any]

SCORE = PostScore("ok", {}, "low", "text", 0, "")


def _explain(text: str, **contributions: float) -> Explanation:
    words = tuple(
        WordContribution(word, text.index(word), text.index(word) + len(word), "caption", value)
        for word, value in contributions.items()
    )
    return Explanation(SCORE, "bias", text=text, words=words)


def test_words_are_marked_by_direction_and_strength() -> None:
    explanation = _explain("we, ladies belong home!", we=0.05, ladies=-0.4, belong=3.0, home=1.5)
    parts = mark_caption(explanation)
    assert "".join(part.text for part in parts) == explanation.text
    assert parts == (
        CaptionPart("we, "),
        CaptionPart("ladies", "down1", -0.4),
        CaptionPart(" "),
        CaptionPart("belong", "up3", 3.0),
        CaptionPart(" "),
        CaptionPart("home", "up2", 1.5),
        CaptionPart("!"),
    )


def test_a_text_without_effect_is_not_marked() -> None:
    assert mark_caption(_explain("tea", tea=0.01)) == (CaptionPart("tea"),)
    assert mark_caption(Explanation(SCORE, "bias")) == ()


def test_boxes_become_pixels() -> None:
    assert scale_box(RelativeBox(0.25, 0.5, 0.75, 1.0), (320, 200)) == (80, 100, 160, 100)


def _result(faithful: bool | None) -> Json:
    estimate = {"value": 0.5, "lo": 0.3, "hi": 0.7, "p": 0.001}
    return {"n": 90, "deletion": estimate, "insertion": estimate, "faithful": faithful}


def _section(**result: Json) -> str:
    evaluate = {"chosen": "fusion", "explanations": {"fusion": {"n": 100, **result}}}
    layout = lay_out_explanations(evaluate)
    return layout["sentence"] + render_template(
        "explanations.html.j2", {"explanations": layout, "estimate": lambda one: one["value"]}
    )


@pytest.mark.parametrize(
    ("faithful", "sentence"),
    [
        (True, "✓ yes"),
        (False, "No words are marked"),
        (None, "too few posts to test"),
    ],
)
def test_the_report_says_whether_words_are_better_than_random_order(
    faithful: bool | None, sentence: str
) -> None:
    text = _section(words=_result(faithful), planted={})
    assert sentence in text
    assert ("not shown</span>" in text) == (faithful is False)


def test_the_report_compares_planted_cues_with_chance() -> None:
    cue = {"n": 64, "found": {"value": 0.95, "lo": 0.9, "hi": 1.0}, "chance": 0.5}
    text = _section(words=_result(True), regions=_result(True), planted={"words": cue})
    assert "in 95% of 64 posts (90% to 100%), against 50% by chance." in text


def test_an_evaluation_without_a_test_of_explanations_says_so() -> None:
    layout = lay_out_explanations({"chosen": "fusion"})
    assert "not tested" in layout["sentence"]
    page = render_template("explanations.html.j2", {"explanations": layout, "estimate": str})
    assert "no test of explanations" in page
