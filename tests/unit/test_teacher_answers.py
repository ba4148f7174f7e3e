"""Which object of a reply becomes the label: reasoning, drafts, parts, repairs, disagreement."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.teacher_corpus import ROOT

from postbias.teacher.chat_responses import decode_response
from postbias.teacher.model_names import is_same_model, is_sibling_model
from postbias.teacher.reply_validation import ParsedReply, parse_reply
from postbias.teacher.rubric import load_rubric

RUBRIC = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
ANSWER = {"reason": "The caption is plain and names nobody.", "bias": 3, "orientation": 5}
J = json.dumps(ANSWER)
D = json.dumps({"reason": "A first guess about the caption.", "bias": 9, "orientation": 9})


def parse(message: object, finish: str = "stop", **choice: Any) -> ParsedReply:
    message = {"content": message} if isinstance(message, str) else message
    body = {"choices": [{"message": message, "finish_reason": finish, **choice}]}
    return parse_reply(body, RUBRIC, frozenset({"m"}))


@pytest.mark.parametrize(
    "text",
    [
        f"<think>maybe {D} no</think>\n{J}",
        f"Maybe {D} but the caption is mild.\n</think>\n\n{J}",
        f"<think>a <think>{D}</think> b {D}</think>{J}",
        f"<think>a <think>b {D}</think>{J}",
        f"<THINK>{D}</THINK>{J}",
        f"<think >{D}< /think >{J}",
        f"&lt;think&gt;{D}&lt;/think&gt;{J}",
        f"<thinking>{D}</thinking>{J}",
        f"<thought>{D}</thought>{J}",
        f"<reasoning>{D}</reasoning>{J}",
        f"<reflection>{D}</reflection>{J}",
        f"<scratchpad>{D}</scratchpad>{J}",
        f"<inner_monologue>{D}</inner_monologue>{J}",
        f"<antThinking>{D}</antThinking>{J}",
        f"<seed:think>{D}</seed:think>{J}",
        f'<details type="reasoning" done="true"><summary>Thought</summary>{D}</details>{J}',
        f"<think>{D}</think><answer>{J}</answer>",
        f"<reasoning>{D}<answer>{J}</answer>",
        f"[THINK]{D}[/THINK]{J}",
        f"[reasoning]{D}[/reasoning]\n{J}",
        f"\u25c1think\u25b7{D}\u25c1/think\u25b7{J}",
        f"<|begin_of_thought|>{D}<|end_of_thought|><|begin_of_solution|>{J}<|end_of_solution|>",
        f"<|START_THINKING|>{D}<|END_THINKING|><|START_RESPONSE|>{J}<|END_RESPONSE|>",
        f"<\uff5cbegin\u2581of\u2581thinking\uff5c>{D}<\uff5cend\u2581of\u2581thinking\uff5c>{J}",
        f"<|thinking|>{D}<|/thinking|>{J}",
        f"<|channel|>analysis<|message|>maybe {D}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{J}<|return|>",
        f"<|channel|>analysis<|message|>{D}<|end|><|channel|>commentary<|message|>{D}<|end|>"
        f"<|channel|>final <|constrain|>json<|message|>{J}",
        f"analysisWe might say {D}.assistantfinal{J}",
        f"<|channel>thought\n{D}<channel|>{J}",
        f"<unused94>thought\n{D}<unused95>{J}",
        f"Here is my thought process:\n{D}\nHere is my response:\n{J}",
        f"<think/>{J}",
        json.dumps(
            {**ANSWER, "reason": "The caption says </think> and <think> aloud, in English."}
        ),
    ],
)
def test_a_draft_inside_reasoning_is_never_the_label(text: str) -> None:
    assert parse(text).scores == (3.0, 5.0)


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        (f"<think>maybe {D}", "stop"),
        (f"<think>maybe {D}", "length"),
        (f"<|channel|>analysis<|message|>maybe {D}", "stop"),
        (f"[THINK]maybe {D} or", "length"),
        (f"{J}<think>or rather {D}", "stop"),
        (f"maybe {D} but", "length"),
        (f"Let me see: {D}", "length"),
        (f'{{"draft": {D}, "final": {{"bias": 3, "orien', "length"),
        (f"<ponder>{D}</ponder>", "stop"),
    ],
)
def test_reasoning_without_an_answer_is_a_fault(text: str, finish: str) -> None:
    result = parse(text, finish)
    assert result.scores == ()
    assert result.fault in {"empty_reply", "cut_off"}


@pytest.mark.parametrize(
    "text",
    [
        f"Draft:\n{D}\nFinal answer:\n{J}",
        f"{D}\n\nOn reflection:\n{J}",
        f"**Reasoning**\n{D}\n**Answer**\n{J}",
        f"```json\n{D}\n```\n```json\n{J}\n```",
        f"<muse-7>{D}</muse-7>{J}",
        f"[{D}, {J}]",
        json.dumps({"first": json.loads(D), "final": ANSWER}),
        '{"reason": "An example, to be filled in.", "bias": 0, "orientation": 5}\n' + J,
        '{"bias": 9}\n' + J,
        f"{D} Final: {J[:-3]}",
        f"{J[:-3]} Final: {D}",
        f"{D} Final: {{bias: 3, orientation}}",
        D[:-1] + ",}" + J,
        f"{D}\nWait, the bias should be 3.",
        f"{D}\nFinal: bias = 3, orientation = 5",
        f"{D}\n| Bias | 3 |",
        '{"bias": 9, "bias": 3, "orientation": 5, "reason": "The caption is plain."}',
        '{"bias": 9, "Bias": 3, "orientation": 5, "reason": "The caption is plain."}',
        f'{{"bias": 9, "orientation": 9, "reason": "The caption." // {J}\n}}',
    ],
)
def test_answers_that_disagree_are_asked_again_and_never_chosen_among(text: str) -> None:
    result = parse(text)
    assert (result.scores, result.fault) == ((), "invalid_reply"), result
    assert "JSON" in result.detail or "disagree" in result.detail


@pytest.mark.parametrize(
    "text",
    [
        f"{J}\n{J}",
        f"I will use this form:\n{json.dumps(RUBRIC.reply_schema())}\n{J}",
        '{"reason": "...", "bias": "<0-10>", "orientation": "<0-10>"}\n' + J,
        J + "\nI gave a bias of 3 because the caption is plain.",
        J + "\nBias on a scale of 0 to 10, orientation (0-10): 5.",
        'The set {"note": 1}, then ' + J,
        "{{{{ " + J,
        "\\boxed{" + J + "}",
        f"<|begin_of_box|>{J}<|end_of_box|>",
        "```json\n" + J + "\n```",
    ],
)
def test_one_answer_with_text_around_it_is_accepted(text: str) -> None:
    assert parse(text).scores == (3.0, 5.0)


@pytest.mark.parametrize(
    "text",
    [
        J[:-1] + ",}",
        J[:-1] + ",\n}",
        str(ANSWER),
        "{'reason': 'It\\'s plain and names nobody.', 'bias': 3, 'orientation': 5}",
        J.replace('"bias": 3,', '"bias": 3, // mild\n'),
        J.replace('"bias": 3,', '"bias": /* mild */ 3,'),
        '{reason: "The caption is plain.", bias: 3, orientation: 5}',
        '{"reason": "The caption\nis plain.", "bias": 3, "orientation": 5}',
        f"[{J}]",
        json.dumps({"answer": ANSWER}),
        json.dumps({"result": [ANSWER]}),
        json.dumps({"reason": ANSWER["reason"], "scores": {"bias": 3, "orientation": 5}}),
        json.dumps({"name": "answer", "arguments": J}),
        json.dumps(J),
        json.dumps({key.title(): value for key, value in ANSWER.items()}),
        json.dumps({**ANSWER, "bias": "3", "orientation": {"score": 5}}),
    ],
)
def test_unambiguous_faults_of_form_are_repaired(text: str) -> None:
    assert parse(text).scores == (3.0, 5.0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"reason": "The caption is plain.", "orientation": 5, "bias": 1', "invalid_reply"),
        ('{"reason": "The caption is plain.", "bias": , "orientation": 5}', "invalid_reply"),
        ('{"reason": "The caption is plain.", "bias": 1 0, "orientation": 5}', "invalid_reply"),
        ('{"reason": "The caption is plain.", "bias": 3/10, "orientation": 5}', "invalid_reply"),
        ('{"reason": "The caption is plain.", "bias": 3-4, "orientation": 5}', "invalid_reply"),
        ('{"reason": "The caption is plain.", "bias": "1_0", "orientation": 5}', "not_a_number"),
        ('{"reason": "The caption is plain.", "bias": "\u0667", "orientation": 5}', "not_a_number"),
        ('{"reason": "The caption is plain.", "bias": "1e1", "orientation": 5}', "not_a_number"),
        (json.dumps({"draft": json.loads(D)}), "invalid_reply"),
        (json.dumps({**ANSWER, "bias": {"score": 3, "out_of": 5}}), "not_a_number"),
        (json.dumps({**ANSWER, "bias": {"value": 3, "Scale": "1-5"}}), "not_a_number"),
        (json.dumps({**ANSWER, "bias": {"rating": 3, "max_score": 4}}), "not_a_number"),
    ],
)
def test_what_would_need_a_guess_is_asked_again(text: str, fault: str) -> None:
    result = parse(text)
    assert (result.scores, result.fault) == ((), fault)


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "text", "text": J}]},
        {"content": [{"type": "thinking", "thinking": D}, {"type": "text", "text": J}]},
        {"content": [{"type": "reasoning", "text": D}, {"type": "output_text", "text": J}]},
        {"content": [{"text": D, "thought": True}, {"text": J}]},
        {"content": [{"type": "text", "text": J[:20]}, {"type": "text", "text": J[20:]}]},
        {"content": [{"type": "text", "text": {"value": J}}]},
        {"content": [J]},
        {"content": {"type": "text", "text": J}},
        {"content": ANSWER},
        {"content": [ANSWER]},
        {"content": {"answer": ANSWER}},
        {"content": J, "reasoning_content": D},
        {"content": None, "reasoning_content": J},
        {"content": "", "reasoning": f"\n{J}\n"},
        {"content": None, "reasoning_details": [{"type": "reasoning.text", "text": J}]},
        {"content": None, "tool_calls": [{"function": {"name": "answer", "arguments": J}}]},
        {"content": None, "tool_calls": [{"function": {"name": "answer", "arguments": ANSWER}}]},
        {"content": None, "function_call": {"name": "answer", "arguments": J}},
    ],
)
def test_content_is_read_by_type(message: dict[str, Any]) -> None:
    result = parse(message)
    assert (result.scores, result.reason) == ((3.0, 5.0), ANSWER["reason"])


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "thinking", "thinking": D}]},
        {"content": None, "reasoning_content": f"maybe {D} or so"},
        {"content": None, "reasoning_content": f"{D}{J}"},
        {"content": [{"type": "image_url", "image_url": {"url": D}}]},
        True,
        5,
        [],
    ],
)
def test_reasoning_alone_is_no_answer(message: object) -> None:
    assert parse(message).fault == "empty_reply"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("finish", ["length", "MAX_TOKENS", "model_length"])
def test_an_object_in_reasoning_that_was_cut_off_is_a_draft(field: str, finish: str) -> None:
    assert parse({"content": None, field: D}, finish).fault == "cut_off"
    assert parse({"content": None, field: J}).scores == (3.0, 5.0)


@pytest.mark.parametrize(
    ("finish", "fault"),
    [
        *((finish, "filtered") for finish in ("content_filter", "SAFETY", "sensitive")),
        *((finish, "filtered") for finish in ("guardrail_intervened", "PROHIBITED_CONTENT")),
        ("refusal", "refused"),
    ],
)
def test_an_answer_that_a_filter_or_refusal_ended_is_not_used(finish: str, fault: str) -> None:
    assert parse(J, finish).fault == fault


def test_of_several_choices_the_first_by_index_is_the_answer() -> None:
    draft, answer = {"message": {"content": D}}, {"message": {"content": J}}

    def result(*choices: dict[str, Any]) -> ParsedReply:
        body = decode_response(json.dumps({"choices": choices}).encode())
        return parse_reply(body, RUBRIC, frozenset({"m"}))

    assert result({"index": 1, **draft}, {"index": 0, **answer}).scores == (3.0, 5.0)
    assert result({"index": 0, **answer}, {"index": 1, **draft}).scores == (3.0, 5.0)
    assert result(answer, answer).scores == (3.0, 5.0)
    for choices in ((draft, answer), ({"index": 0, **draft}, {"index": 0, **answer})):
        assert result(*choices).fault == "invalid_reply"
    assert result({"index": 0, **draft}, answer).fault == "invalid_reply"


def test_a_message_that_is_text_and_a_text_completion_are_read() -> None:
    for choice in ({"message": J}, {"text": J}, {"delta": {"content": J}}):
        assert parse_reply({"choices": [choice]}, RUBRIC, frozenset({"m"})).scores == (3.0, 5.0)
    refusal = {"content": [{"type": "refusal", "refusal": "No."}]}
    assert parse(refusal).fault == "refused"


def test_long_and_deep_replies_are_faults() -> None:
    n = 100_000
    for text in ('{"a":' * n, "<think>" * n, "x" * 10 * n, "{'a':" * n, '{"a' * n):
        assert parse(text + D).scores == ()
    assert parse('{"a": ' * 2_000 + J).fault == "invalid_reply"


fragments = st.sampled_from(
    [D, D[:-1], D[:40], J[:30], "{", "}", "[", "]", '"', "'", "{'bias': 9,", '{"bias": 9, "x": "',
     '{"bias": 9, "orientation": 9, "reason": "a" // ', "\\", "\n", "maybe ", "<think>", "</think>",
     "<|channel|>analysis<|message|>", "bias: 9 ", "```json\n", D.replace('"', "'"), "/* ", " */"]
)  # fmt: skip
closings = st.sampled_from(["</think>", "</thought>", "[/THINK]", "<|channel|>final<|message|>"])
chat = st.sampled_from([D, D[:-1], *"}{]\"'", "\n```", " Bias: 9.", "That is all.", "*/"])


@given(
    scores=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    prefix=st.lists(fragments, max_size=6),
    closing=st.none() | closings,
    suffix=st.lists(chat, max_size=3),
    renderer=st.sampled_from([json.dumps, str, lambda a: json.dumps(a, indent=1)]),
)
@settings(deadline=None, max_examples=300)
def test_an_answer_in_any_reasoning_gives_its_own_scores_or_a_fault(
    scores: tuple[int, int],
    prefix: list[str],
    closing: str | None,
    suffix: list[str],
    renderer: Any,
) -> None:
    answer = {"reason": "It is plain, isn't it?", "bias": scores[0], "orientation": scores[1]}
    text = "".join([*prefix, closing or "", renderer(answer), *suffix])
    result = parse(text)
    assert result.scores in {(), tuple(map(float, scores))}, text


@pytest.mark.parametrize(
    ("requested", "returned", "is_same"),
    [
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4o", "gpt-4o-audio-preview", False),
        ("gpt-4", "gpt-4-turbo", False),
        ("gpt-4", "gpt-4-0613", True),
        ("gpt-4", "gpt-4.1", False),
        ("o1", "o1-preview", False),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13", False),
        ("gpt-4o-2024-08-06", "gpt-4o", True),
        ("gpt-4o", "azure/gpt-4o-eastus2", True),
        ("gpt-4o", "openai:gpt-4o", True),
        ("gpt-4o", "gpt-4o-us-east-1", True),
        ("claude-3-5-sonnet", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", True),
        ("claude-3", "claude-3-5-sonnet-20241022", False),
        ("claude-sonnet-4", "claude-sonnet-4@20250514", True),
        ("claude-sonnet-4", "claude-sonnet-4-5-20250929", False),
        ("gemini-1.5-pro", "gemini-1.5-pro-002", True),
        ("gemini-1.5-pro-001", "gemini-1.5-pro-002", False),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash-preview-05-20", True),
        ("qwen-vl-max", "qwen-vl-max-latest", True),
        ("qwen-vl", "qwen-vl-max", False),
        ("qwen2.5vl:7b", "qwen2.5vl:72b", False),
        ("qwen2.5vl:7b", "qwen2.5vl:7b-q4_K_M", True),
        ("llava", "llava:latest", True),
        ("llava", "llava:34b", False),
        ("qwen2.5-vl-7b-instruct", "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", True),
        ("qwen2.5-vl-7b", "qwen2.5-vl-7b-instruct", False),
        ("qwen3-vl-8b-instruct", "qwen3-vl-8b-thinking", False),
        ("mistral-small", "mistral-small-2503", True),
        ("command-r", "command-r-08-2024", True),
        ("command-r", "command-r-plus", False),
        ("kimi-k2", "kimi-k2-thinking", False),
        ("odd-vl", "vendor/odd-vl:free", True),
        ("models/tiny", "models/tiny@main", True),
        ("odd-vl", "vendor/other-7b", False),
    ],
)  # fmt: skip
def test_a_date_region_or_host_is_the_same_model_and_another_product_is_not(
    requested: str, returned: str, *, is_same: bool
) -> None:
    assert is_same_model(requested, returned) is is_same


def test_products_of_one_family_are_distinguished_from_an_alias() -> None:
    assert is_sibling_model("gpt-4o", "openai/gpt-4o-mini-2024-07-18")
    assert not is_sibling_model("my-deployment", "gpt-4o-2024-08-06")
    assert not is_sibling_model("gpt-4o", "gpt-4o-2024-08-06")
