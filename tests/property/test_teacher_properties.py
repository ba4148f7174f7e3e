"""Properties of reply validation, recorded labels, the budget and masking."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.teacher_corpus import ROOT, make_params

from postbias.teacher.budget import Budget
from postbias.teacher.prompts import mask_mentions
from postbias.teacher.recorded_labels import read_recorded_labels
from postbias.teacher.reply_validation import parse_reply
from postbias.teacher.rubric import load_rubric
from postbias.teacher.token_probabilities import expected_score

RUBRIC = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
ONE_AXIS = load_rubric(ROOT / "rubrics" / "one_axis.yaml")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
keys = st.sampled_from(["choices", "message", "content", "refusal", "model", "bias", "error"])
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(
    content=st.text(max_size=80)
    | st.fixed_dictionaries(
        {"reason": st.just("A plain image of bread.") | anything, "bias": anything},
        optional={"orientation": st.integers(0, 10) | anything},
    ).map(json.dumps),
    extra=st.dictionaries(st.sampled_from(["logprobs", "finish_reason"]), anything, max_size=2),
)
@settings(deadline=None)
def test_any_content_gives_either_scores_in_range_or_one_fault(
    content: str, extra: dict[str, Any]
) -> None:
    body = {"choices": [{"message": {"content": content}, **extra}]}
    verdict = parse_reply(body, RUBRIC, frozenset({"m"}))
    if verdict.fault is None:
        assert len(verdict.scores) == 2
        assert all(0 <= score <= 10 for score in (*verdict.scores, *verdict.modes))
        assert verdict.reason
    else:
        assert verdict.scores == ()
        assert verdict.detail


@given(body=st.dictionaries(keys, anything, max_size=4))
@example(body={"choices": [{}, None]})
@settings(deadline=None)
def test_any_body_is_validated_without_an_exception(body: dict[str, Any]) -> None:
    assert parse_reply(body, RUBRIC, frozenset({"m"})).fault is not None or body


@given(
    written=st.integers(0, 10),
    shares=st.dictionaries(
        st.sampled_from([*map(str, range(10)), "10", "high", " ", "}", "7."]),
        st.floats(0.001, 1),
        min_size=1,
        max_size=8,
    ),
)
def test_an_expected_score_is_on_the_scale_and_matches_the_token_probabilities(
    written: int, shares: dict[str, float]
) -> None:
    shares = {**shares, str(written): shares.get(str(written), 1.0)}
    total = sum(shares.values())
    top = [{"token": t, "logprob": math.log(p / total)} for t, p in shares.items()]
    own = next(token for token in top if token["token"] == str(written))
    tokens = [{"token": '{"bias": ', "logprob": 0.0}, {**own, "top_logprobs": top}]
    score = expected_score([*tokens, {"token": "}", "logprob": 0.0}], RUBRIC.axes[0], written)
    if score is None:
        return
    assert 0 <= score <= 10
    if all(token.isdigit() for token in shares) and "1" not in shares:
        mean = sum(int(token) * p for token, p in shares.items()) / total
        assert math.isclose(score, mean, abs_tol=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(0.001, 0.4), st.floats(0, 1), st.booleans()), min_size=1, max_size=40
    )
)
def test_the_cap_holds_for_any_order_of_requests(steps: list[tuple[float, float, bool]]) -> None:
    prices = {"usd_per_million_input": 1.0, "usd_per_million_output": 1.0, "max_cost_usd": 1.0}
    budget = Budget(COST.model_copy(update=prices), 0.0)

    async def main() -> None:
        in_flight: list[tuple[float, float]] = []
        for worst, share, settles in steps:
            if budget.fits(worst):
                assert await budget.reserve(worst)
                in_flight.append((worst, worst * share))
            if settles and in_flight:
                budget.settle(*in_flight.pop(0))
            assert budget.spent_usd + sum(worst for worst, _ in in_flight) <= 1 + 1e-6
        for reserved in in_flight:
            budget.settle(*reserved)
        assert budget.spent_usd <= 1 + 1e-6

    asyncio.run(main())


COST = make_params().annotate.endpoint.cost


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", "x", ""]),
            st.sampled_from(["1", "0", "10", "11", "nan", "", "8/10", "2.5"]),
        ),
        max_size=15,
    )
)
@settings(deadline=None)
def test_every_row_of_labels_is_used_rejected_or_outside_the_sample(
    rows: list[tuple[str, str]],
) -> None:
    sampled, corpus = frozenset("abc"), frozenset("abcd")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_text("post_id,bias\n" + "".join(f'"{i}","{v}"\n' for i, v in rows))
        found = read_recorded_labels(path, ONE_AXIS, sampled, corpus)
    assert Counter(label.post_id for label in found.labels) == Counter(sampled)
    n_ok = sum(label.status == "ok" for label in found.labels)
    of_rows = [reject for reject in found.rejects if ":" in reject.source]
    assert len(rows) == n_ok + found.n_outside_sample + len(of_rows)
    good = {i for i, v in rows if v in {"1", "0", "10", "2.5"}}
    assert {label.post_id for label in found.labels if label.status == "ok"} == good & sampled


@given(st.text())
def test_masking_is_idempotent(caption: str) -> None:
    assert mask_mentions(mask_mentions(caption)) == mask_mentions(caption)
