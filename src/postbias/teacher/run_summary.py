"""Summary of an endpoint's replies: cost, tokens, models, test-retest error and drift."""

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
from postbias.teacher.stored_replies import LabellingConfig, repeat_count

#: Fewer repeated posts give no usable estimate of the test-retest error.
MIN_RETESTED_POSTS = 30
#: Limits of the warnings: correlation of two replies, and drift as a share of the scale.
MIN_RETEST_R = 0.5
MAX_DRIFT_SHARE = 0.02
_DRIFT_PARTS = 10
#: Mean absolute difference of two replies over the mean absolute error of one, for normal errors.
_PAIR_TO_SINGLE = float(np.sqrt(2))


@dataclass(slots=True)
class _StoredScores:
    """Scores and totals of the replies; raw replies would not fit into memory.

    Attributes:
        firsts: Time and scores of the first valid reply to each request.
        pairs: Scores of the first two valid replies to each repeated request.
        unusable: Unusable replies by reason.
        models: Valid replies by model name.
        n_valid: Valid replies.
        tokens_in: Input tokens of all replies.
        tokens_out: Output tokens of all replies.
        cost_usd: Price of all replies.
    """

    firsts: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    n_valid: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


def summarise_run(
    store: ReplyStore, config: LabellingConfig, keys: Mapping[str, str], budget: Budget
) -> dict[str, Any]:
    """Summarise the replies that a set of labels is computed from.

    Args:
        store: The replies.
        config: Rubric, params and endpoint of the run.
        keys: Request key by post.
        budget: The total spent so far.

    Returns:
        Cost and tokens, model names, faults, test-retest error and drift per axis, warnings.
        `retest_measures` says what differs between two replies: `sampling`, the randomness of the
        model, or `rewording`, the wording of the prompt at temperature 0.
    """
    stored = _collect(store, config, sorted(set(keys.values())))
    axes = list(enumerate(config.rubric.axes))
    retest = {axis.name: _retest(stored, i) for i, axis in axes}
    drift = {axis.name: _drift(stored, i) for i, axis in axes}
    spent = {"these_labels": stored.cost_usd, "ever": budget.spent_usd}
    return {
        "name": f"openai:{config.params.model}",
        "format": config.profile.capabilities.format,
        "expected_scores": config.profile.capabilities.has_logprobs,
        "models": dict(sorted(stored.models.items())),
        "replies": {"valid": stored.n_valid, "unusable": dict(sorted(stored.unusable.items()))},
        "tokens": {"in": stored.tokens_in, "out": stored.tokens_out},
        "cost_usd": spent if budget.has_prices else None,
        "retest_measures": "rewording" if config.is_reworded else "sampling",
        "retest": retest,
        "drift": drift,
        "warnings": list(_warnings(stored, retest, drift, config)),
    }


def _collect(store: ReplyStore, config: LabellingConfig, keys: Sequence[str]) -> _StoredScores:
    stored = _StoredScores()
    for key in keys:
        valid: list[Reply] = []
        for repeat in range(repeat_count(key, config.params)):
            replies = store.replies(config.reply_key(key, repeat), repeat)
            for reply in replies:
                stored.unusable[reply.status] += reply.status != OK
                stored.tokens_in += reply.tokens_in or 0
                stored.tokens_out += reply.tokens_out or 0
                stored.cost_usd += reply.cost_usd or 0.0
            valid += [reply for reply in replies if reply.status == OK][:1]
        stored.n_valid += len(valid)
        stored.models.update(reply.model for reply in valid)
        if valid:
            stored.firsts.append((valid[0].asked_at, valid[0].scores))
        if len(valid) > 1:
            stored.pairs.append((valid[0].scores, valid[1].scores))
    stored.firsts.sort()
    stored.unusable = +stored.unusable
    return stored


def _retest(stored: _StoredScores, axis: int) -> dict[str, float | int | None]:
    """Compare two replies to the same request: an upper bound on any student's accuracy."""
    first, second = (np.array([pair[k][axis] for pair in stored.pairs]) for k in (0, 1))
    if len(first) < 2:
        return {"n": len(first), "mae": None, "error": None, "sd": None, "r": None}
    difference = np.abs(second - first)
    varies = first.std() > 0 and second.std() > 0
    return {
        "n": len(first),
        "mae": float(difference.mean()),
        "error": float(difference.mean()) / _PAIR_TO_SINGLE,
        "sd": float(np.sqrt(np.mean(difference**2) / 2)),
        "r": float(np.corrcoef(first, second)[0, 1]) if varies else None,
    }


def _drift(stored: _StoredScores, axis: int) -> dict[str, Any]:
    """Compare later with earlier replies: to the same requests, and over the whole run."""
    change = np.array([second[axis] - first[axis] for first, second in stored.pairs])
    scores = np.array([scores[axis] for _, scores in stored.firsts])
    parts = [part for part in np.array_split(scores, _DRIFT_PARTS) if len(part)]
    has_se = len(change) > 1
    return {
        "change": float(change.mean()) if len(change) else None,
        "change_se": float(change.std(ddof=1) / np.sqrt(len(change))) if has_se else None,
        "means_over_run": [float(part.mean()) for part in parts],
    }


def _warnings(
    stored: _StoredScores, retest: dict[str, Any], drift: dict[str, Any], config: LabellingConfig
) -> Iterator[str]:
    if len(stored.models) > 1:
        yield f"replies came from {len(stored.models)} models: {', '.join(sorted(stored.models))}"
    if len(stored.pairs) < MIN_RETESTED_POSTS:
        yield (
            f"only {len(stored.pairs)} posts have two replies: the teacher's own error is unknown; "
            "raise annotate.endpoint.repeat_share"
        )
        return
    later = "later replies to the same posts"
    replies = "replies to a reworded prompt" if config.is_reworded else later
    for axis in config.rubric.axes:
        r, change, se = (
            retest[axis.name]["r"],
            drift[axis.name]["change"],
            drift[axis.name]["change_se"],
        )
        if r is not None and r < MIN_RETEST_R:
            cause = " when the prompt is reworded" if config.is_reworded else ""
            yield f"{axis.name}: the teacher hardly agrees with itself{cause} (r = {r:.2f})"
        if abs(change) > 3 * se and abs(change) > MAX_DRIFT_SHARE * (axis.high - axis.low):
            yield f"{axis.name}: {replies} differ by {change:+.2f} on average"
