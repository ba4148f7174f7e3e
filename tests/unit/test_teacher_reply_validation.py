"""Validation of replies, model names and expected scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from postbias.teacher.model_names import is_same_model
from postbias.teacher.reply_validation import ParsedReply, parse_reply
from postbias.teacher.rubric import Rubric, load_rubric
from postbias.teacher.token_probabilities import expected_score

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"reason": "The caption is plain and names nobody.", "bias": 3, "orientation": 5}


@pytest.fixture(scope="module")
def rubric() -> Rubric:
    return load_rubric(ROOT / "rubrics" / "gender_bias.yaml")


def reply(content: str | None, **changes: Any) -> dict[str, Any]:
    choice = {"message": {"content": content}, "finish_reason": "stop", **changes}
    return {"model": "m", "choices": [choice]}


def parsed(content: str | None, rubric: Rubric, **changes: Any) -> ParsedReply:
    return parse_reply(reply(content, **changes), rubric, frozenset({"m"}))


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "Sure! Here it is:\n{}\nAnything else?",
        '<think>perhaps {{"bias": 9}} but no</think>{}',
        'First {{"note": 1}} and then {}',
        "{{{{ {}",
    ],
)
def test_an_answer_is_found_among_surrounding_text(rubric: Rubric, around: str) -> None:
    result = parsed(around.format(json.dumps(GOOD)), rubric)
    assert result.scores == (3.0, 5.0)
    assert result.reason == GOOD["reason"]


@pytest.mark.parametrize(
    ("changed", "fault", "detail"),
    [
        ({"bias": 11}, "out_of_range", "`bias` is not within 0 to 10"),
        ({"bias": -0.5}, "out_of_range", "`bias` is not within"),
        ({"bias": "8/10"}, "not_a_number", "`bias` is not a plain number"),
        ({"bias": True}, "not_a_number", "`bias`"),
        ({"bias": None}, "not_a_number", "`bias`"),
        ({"bias": [3]}, "not_a_number", "`bias`"),
        ({"bias": float("nan")}, "not_a_number", "finite"),
        ({"orientation": float("inf")}, "not_a_number", "finite"),
        ({"reason": "  "}, "invalid_reply", "`reason` is missing"),
        ({"reason": 5}, "invalid_reply", "`reason` is missing"),
        ({"reason": "Le texte ne parle que de pain et de farine."}, "other_language", "`en`"),
        ({"reason": "帖子内容中没有明显的性别倾向元素"}, "other_language", "`en`"),
    ],
)
def test_each_fault_has_its_own_reject_reason(
    rubric: Rubric, changed: dict[str, Any], fault: str, detail: str
) -> None:
    result = parsed(json.dumps({**GOOD, **changed}), rubric)
    assert result.fault == fault
    assert detail in result.detail
    assert result.scores == ()


@pytest.mark.parametrize(
    ("content", "changes", "fault"),
    [
        ("", {}, "empty_reply"),
        (None, {}, "empty_reply"),
        ("I'm sorry, but I can't assist with that.", {}, "refused"),
        ("I cannot judge people.", {}, "refused"),
        (None, {"message": {"content": None, "refusal": "No."}}, "refused"),
        ("About seven.", {}, "invalid_reply"),
        ('{"reason": "abc", "bi', {"finish_reason": "length"}, "cut_off"),
        ("", {"finish_reason": "content_filter"}, "filtered"),
        ("[" * 100_000, {}, "invalid_reply"),
    ],
)
def test_replies_without_an_answer_are_distinguished(
    rubric: Rubric, content: str | None, changes: dict[str, Any], fault: str
) -> None:
    assert parsed(content, rubric, **changes).fault == fault


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [None]}, {"choices": "x"}])
def test_a_body_without_choices_is_an_empty_reply(rubric: Rubric, body: dict[str, Any]) -> None:
    assert parse_reply(body, rubric, frozenset({"m"})).fault == "empty_reply"


def test_a_number_in_quotes_is_accepted(rubric: Rubric) -> None:
    assert parsed(json.dumps({**GOOD, "bias": "7.5"}), rubric).scores == (7.5, 5.0)


@pytest.mark.parametrize(
    "reason",
    [
        "No gender cues.",
        "Mentions 'mamma mia' and a pizzeria; neutral towards anybody.",
        "The caption '私はパンが好きです' is about bread and nothing else.",
        "Neutral.",
    ],
)
def test_a_short_or_quoting_reason_passes_the_language_check(rubric: Rubric, reason: str) -> None:
    assert parsed(json.dumps({**GOOD, "reason": reason}), rubric).fault is None


@pytest.mark.parametrize(
    ("requested", "returned", "is_same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("qwen/qwen2.5-vl-72b-instruct", "qwen2.5-vl-72b-instruct:free", True),
        ("/models/Qwen2.5-VL-7B", "qwen2.5-vl-7b", True),
        ("gpt-4", "gpt-4o", False),
        ("qwen2", "qwen2.5-vl", False),
        ("gpt-4o-mini", "gpt-4o", False),
    ],
)
def test_a_model_name_may_differ_by_vendor_and_suffix(
    requested: str, returned: str, *, is_same: bool
) -> None:
    assert is_same_model(requested, returned) is is_same


def tokens(*pieces: str | tuple[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Build `logprobs.content`; a tuple gives a token with the probabilities of all candidates."""
    content = []
    for piece in pieces:
        token, probabilities = piece if isinstance(piece, tuple) else (piece, {piece: 1.0})
        top = [{"token": t, "logprob": math.log(p)} for t, p in probabilities.items()]
        content.append(
            {"token": token, "logprob": math.log(probabilities[token]), "top_logprobs": top}
        )
    return content


def expected(rubric: Rubric, written: float, *pieces: Any) -> float | None:
    return expected_score(tokens(*pieces), rubric.axes[0], written)


def test_the_expected_score_weights_all_scores_by_probability(rubric: Rubric) -> None:
    probabilities = {"7": 0.5, "8": 0.3, "6": 0.2}
    score = expected(rubric, 7, '{"', 'bias":', " ", ("7", probabilities), "}")
    assert score == pytest.approx(7 * 0.5 + 8 * 0.3 + 6 * 0.2)


def test_both_tokens_of_a_two_token_number_count(rubric: Rubric) -> None:
    # 1 was written, then 0; the alternative to 0 was to stop at 1.
    first = {"1": 0.8, "9": 0.2}
    second = {"0": 0.75, "}": 0.25}
    score = expected(rubric, 10, '{"bias": ', ("1", first), ("0", second), "}")
    assert score == pytest.approx(0.8 * 0.75 * 10 + 0.8 * 0.25 * 1 + 0.2 * 9)


def test_the_token_after_a_number_counts(rubric: Rubric) -> None:
    score = expected(
        rubric, 1, '{"bias": ', ("1", {"1": 0.9, "0": 0.1}), ("}", {"}": 0.6, "0": 0.4})
    )
    assert score == pytest.approx(0.9 * 0.6 * 1 + 0.9 * 0.4 * 10 + 0.1 * 0)


def test_an_ambiguous_alternative_counts_as_the_nearest_score(rubric: Rubric) -> None:
    score = expected(rubric, 8, '{"bias": ', ("8", {"8": 0.6, "1": 0.4}), "}")
    assert score == pytest.approx(0.6 * 8 + 0.4 * 10)


def test_tokens_with_more_than_the_number_are_handled(rubric: Rubric) -> None:
    score = expected(rubric, 7, '{"bias"', (": 7,", {": 7,": 0.5, ": 8,": 0.5}), '"x": 1}')
    assert score == pytest.approx(7.5)


def test_a_score_between_the_steps_is_kept_as_written(rubric: Rubric) -> None:
    score = expected(rubric, 7.5, '{"bias": ', "7", ".", "5", "}")
    assert score == pytest.approx(7.5)


@pytest.mark.parametrize(
    "pieces",
    [
        ('{"other": ', "7", "}"),
        ('{"bias": ', ("7", {"7": 0.2, "high": 0.8}), "}"),
        ('{"bias": ', ("7", {"7": 1.0}), "5}"),
    ],
)
def test_probabilities_mostly_outside_the_scores_are_ignored(
    rubric: Rubric, pieces: tuple[Any, ...]
) -> None:
    assert expected(rubric, 7, *pieces) is None


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": []}, {"content": [{}]}, {"content": [{"token": 1}]}, "x"]
)
def test_malformed_probabilities_keep_the_score_as_written(
    rubric: Rubric, logprobs: object
) -> None:
    assert parsed(json.dumps(GOOD), rubric, logprobs=logprobs).scores == (3.0, 5.0)
