"""What a run of the endpoint teacher was like: cost, tokens, models, test-retest error, drift.

Reads the reply store and gives plain numbers for `reports/labels.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from postbias.teacher.budget import Budget
from postbias.teacher.labels import OK
from postbias.teacher.reply import Reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.rubric import Rubric
from postbias.teacher.stored_replies import LabellingConfig, repeat_count

#: Fewer repeated posts say nothing of the teacher's error.
MIN_RETESTED = 30
MIN_AGREEMENT = 0.5
MAX_DRIFT_SHARE = 0.02
_DRIFT_PARTS = 10
#: For a normal error: the mean difference of two replies over the mean error of one.
_TWO_REPLIES = float(np.sqrt(2))


@dataclass(slots=True)
class _Found:
    """What was gathered from the store; scores only, for raw replies would fill the memory."""

    firsts: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    n_valid: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


def describe_run(
    store: ReplyStore, setting: LabellingConfig, keys: Mapping[str, str], budget: Budget
) -> dict[str, Any]:
    """Describe the replies behind a set of labels.

    Args:
        store: The replies.
        setting: How they were asked for.
        keys: Question by post.
        budget: What was spent.

    Returns:
        Cost and tokens, model names, faults, test-retest error and drift per axis, warnings.
    """
    found = _gather(store, setting, sorted(set(keys.values())))
    axes = list(enumerate(setting.rubric.axes))
    retest = {axis.name: _retest(found, i) for i, axis in axes}
    drift = {axis.name: _drift(found, i) for i, axis in axes}
    spent = {"these_labels": found.cost_usd, "ever": budget.spent_usd}
    return {
        "name": f"openai:{setting.params.model}",
        "format": setting.profile.capabilities.format,
        "expected_scores": setting.profile.capabilities.has_logprobs,
        "models": dict(sorted(found.models.items())),
        "replies": {"valid": found.n_valid, "unusable": dict(sorted(found.unusable.items()))},
        "tokens": {"in": found.tokens_in, "out": found.tokens_out},
        "cost_usd": spent if budget.has_prices else None,
        "retest": retest,
        "drift": drift,
        "warnings": list(_warnings(found, retest, drift, setting.rubric)),
    }


def _gather(store: ReplyStore, setting: LabellingConfig, questions: Sequence[str]) -> _Found:
    found = _Found()
    for key in questions:
        valid: list[Reply] = []
        for repeat in range(repeat_count(key, setting.params)):
            replies = store.replies(key, repeat)
            for reply in replies:
                found.unusable[reply.status] += reply.status != OK
                found.tokens_in += reply.tokens_in or 0
                found.tokens_out += reply.tokens_out or 0
                found.cost_usd += reply.cost_usd or 0.0
            valid += [reply for reply in replies if reply.status == OK][:1]
        found.n_valid += len(valid)
        found.models.update(reply.model for reply in valid)
        if valid:
            found.firsts.append((valid[0].asked_at, valid[0].scores))
        if len(valid) > 1:
            found.pairs.append((valid[0].scores, valid[1].scores))
    found.firsts.sort()
    found.unusable = +found.unusable
    return found


def _retest(found: _Found, axis: int) -> dict[str, float | int | None]:
    """Compare two replies to the same question: no student can be shown to be better than that."""
    first, second = (np.array([pair[k][axis] for pair in found.pairs]) for k in (0, 1))
    if len(first) < 2:
        return {"n": len(first), "mae": None, "error": None, "sd": None, "r": None}
    apart = np.abs(second - first)
    varies = first.std() > 0 and second.std() > 0
    return {
        "n": len(first),
        "mae": float(apart.mean()),
        "error": float(apart.mean()) / _TWO_REPLIES,
        "sd": float(np.sqrt(np.mean(apart**2) / 2)),
        "r": float(np.corrcoef(first, second)[0, 1]) if varies else None,
    }


def _drift(found: _Found, axis: int) -> dict[str, Any]:
    """Compare later replies with earlier ones: to the same questions, and along the run."""
    change = np.array([second[axis] - first[axis] for first, second in found.pairs])
    scores = np.array([scores[axis] for _, scores in found.firsts])
    parts = [part for part in np.array_split(scores, _DRIFT_PARTS) if len(part)]
    has_se = len(change) > 1
    return {
        "change": float(change.mean()) if len(change) else None,
        "change_se": float(change.std(ddof=1) / np.sqrt(len(change))) if has_se else None,
        "means_over_run": [float(part.mean()) for part in parts],
    }


def _warnings(
    found: _Found, retest: dict[str, Any], drift: dict[str, Any], rubric: Rubric
) -> Iterator[str]:
    if len(found.models) > 1:
        yield f"replies came from {len(found.models)} models: {', '.join(sorted(found.models))}"
    if len(found.pairs) < MIN_RETESTED:
        yield (
            f"only {len(found.pairs)} posts have two replies: the teacher's own error is unknown; "
            "raise annotate.endpoint.repeat_share"
        )
        return
    for axis in rubric.axes:
        r, change, se = (
            retest[axis.name]["r"],
            drift[axis.name]["change"],
            drift[axis.name]["change_se"],
        )
        if r is not None and r < MIN_AGREEMENT:
            yield f"{axis.name}: the teacher hardly agrees with itself (r = {r:.2f})"
        if abs(change) > 3 * se and abs(change) > MAX_DRIFT_SHARE * (axis.high - axis.low):
            yield f"{axis.name}: later replies to the same posts differ by {change:+.2f} on average"
