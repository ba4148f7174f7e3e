"""Failed requests, classified by what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto

import httpx2
import openai

from postbias.posts.reasons import RejectReason

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
#: The account is out of credit: waiting does not help.
_NO_CREDIT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "Arrearage"})
_TRANSIENT_STATUSES = frozenset({408, 409, 425})


class NextStep(Enum):
    """What to do after a failed request."""

    RETRY = auto()  #: send the same request again after a pause
    SLOW_DOWN = auto()  #: pause all requests, then send this one again
    CHECK_ENDPOINT = auto()  #: refused: find out whether the post or the endpoint is the cause
    ABORT = auto()  #: stop the run


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A request that returned no reply.

    Attributes:
        next_step: What to do.
        reason: The reject reason of the post if the failure is final.
        detail: A description free of the endpoint's own words, which quote captions and keys.
        may_be_billed: Whether the endpoint may have processed the request and charge for it.
        retry_after_s: The delay that the endpoint asked for.
        hint: The endpoint's own message. Show it only for requests that contain no post, and
            redacted; never log it otherwise.
    """

    next_step: NextStep
    reason: RejectReason
    detail: str
    may_be_billed: bool = False
    retry_after_s: float | None = None
    hint: str = ""


class RequestFailedError(Exception):
    """One attempt to send a request failed.

    Attributes:
        failure: Why, and what to do next.
    """

    def __init__(self, failure: RequestFailure) -> None:
        """Wrap a failure."""
        super().__init__(failure.detail)
        self.failure = failure


class RequestRejectedError(Exception):
    """A request failed for good while the endpoint answers others.

    Attributes:
        failure: The last failure.
    """

    def __init__(self, failure: RequestFailure) -> None:
        """Wrap the last failure."""
        super().__init__(failure.detail)
        self.failure = failure


class RunStoppedError(Exception):
    """The run is stopping: no further request is sent, those in flight are completed."""


def failure_from_exception(error: Exception, now_s: float) -> RequestFailure:
    """Classify an exception raised by the HTTP client.

    Args:
        error: The exception.
        now_s: Seconds since the epoch, to convert a `Retry-After` date to a delay.

    Raises:
        Exception: The same exception if neither the network nor the endpoint caused it.
    """
    if isinstance(error, openai.APIStatusError):
        return _failure_from_status(error, now_s)
    if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError)):
        return RequestFailure(
            NextStep.RETRY, RejectReason.TIMEOUT, "no complete answer in time", may_be_billed=True
        )
    if isinstance(error, httpx2.DecodingError):
        return RequestFailure(
            NextStep.RETRY, RejectReason.DAMAGED_REPLY, "the answer is damaged", may_be_billed=True
        )
    if isinstance(error, (openai.APIConnectionError, httpx2.TransportError)):
        cause = error.__cause__ or error
        was_sent = not isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout))
        detail = "the connection broke off" if was_sent else "no connection"
        return RequestFailure(
            NextStep.RETRY, RejectReason.DISCONNECTED, detail, may_be_billed=was_sent
        )
    raise error


def failure_from_error_body(error: object) -> RequestFailure:
    """Classify the `error` value of a response body with status 200, as some gateways send it."""
    code = error.get("code") if isinstance(error, dict) else None
    if code in {429, "429", "rate_limit_exceeded"}:
        return RequestFailure(
            NextStep.SLOW_DOWN, RejectReason.RATE_LIMITED, "the gateway limits the rate"
        )
    return RequestFailure(
        NextStep.RETRY,
        RejectReason.SERVER_ERROR,
        f"the gateway answered with an error{_format_code(code)}",
        may_be_billed=True,
    )


def _failure_from_status(error: openai.APIStatusError, now_s: float) -> RequestFailure:
    status, code = error.status_code, error.code
    detail = f"HTTP {status}{_format_code(code)}"
    hint = str(error.message)
    if status in {401, 402} or code in _NO_CREDIT_CODES:
        return RequestFailure(NextStep.ABORT, RejectReason.BAD_REQUEST, detail, hint=hint)
    if status == 429:
        wait = _retry_after_s(error.response.headers, now_s)
        return RequestFailure(
            NextStep.SLOW_DOWN, RejectReason.RATE_LIMITED, detail, retry_after_s=wait
        )
    if status in _TRANSIENT_STATUSES or status >= 500:
        wait = _retry_after_s(error.response.headers, now_s)
        return RequestFailure(
            NextStep.RETRY, RejectReason.SERVER_ERROR, detail, retry_after_s=wait, hint=hint
        )
    is_filter = code in {"content_filter", "content_policy_violation", "data_inspection_failed"}
    reason = RejectReason.FILTERED if is_filter or status == 403 else RejectReason.BAD_REQUEST
    return RequestFailure(NextStep.CHECK_ENDPOINT, reason, detail, hint=hint)


def _format_code(code: object) -> str:
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _retry_after_s(headers: httpx2.Headers, now_s: float) -> float | None:
    """Parse `Retry-After` (seconds or a date) or `retry-after-ms`, which OpenAI sends."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now_s)
    except (KeyError, ValueError):
        return None
