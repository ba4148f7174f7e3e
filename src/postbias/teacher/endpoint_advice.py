"""What to change when an endpoint gives no usable replies."""

from __future__ import annotations

from postbias.posts.reasons import RejectReason

_ADVICE = {
    RejectReason.CUT_OFF: "raise annotate.endpoint.max_tokens (thinking models need thousands)",
    RejectReason.EMPTY_REPLY: "look at the server's log, and at its chat template for this model",
    RejectReason.REFUSED: "use a model that does not refuse these posts",
    RejectReason.FILTERED: "turn the endpoint's content filter off, or use another endpoint",
    RejectReason.OTHER_LANGUAGE: "use another model, or set the rubric's `reply.language` to null",
    RejectReason.WRONG_MODEL: "set annotate.endpoint.model to the model that answers",
    RejectReason.BAD_REQUEST: "check annotate.endpoint.model and annotate.endpoint.images",
    RejectReason.TIMEOUT: "raise annotate.endpoint.limits.timeout_s, or lower concurrency",
    RejectReason.SERVER_ERROR: "look at the server's log",
    RejectReason.DAMAGED_REPLY: "check OPENAI_BASE_URL, and any proxy in between",
}
_DEFAULT = "look at `postbias replies show`; a larger model or a server with JSON schemas may help"


def advise(reason: RejectReason, misplaced_field: str | None) -> str:
    """Return what to change at the server or in params.yaml, as an imperative.

    Args:
        reason: The most frequent reject reason.
        misplaced_field: The field that holds text in replies without content, if any.

    Returns:
        A clause without a full stop.
    """
    if misplaced_field:
        return (
            f"the server puts the model's output into `{misplaced_field}` and leaves the content "
            "empty: start it without a reasoning parser, turn the model's thinking off, or raise "
            "annotate.endpoint.max_tokens"
        )
    return _ADVICE.get(reason, _DEFAULT)
