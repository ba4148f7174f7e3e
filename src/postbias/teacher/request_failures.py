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
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "data_inspection_failed"})
#: Client errors that pass by themselves, and those among them that were not processed.
_TRANSIENT_STATUSES = frozenset({408, 409, 425})
_UNPROCESSED_STATUSES = frozenset({409, 425})
#: Error codes and types of gateways that send every response with status 200.
_STATUS_OF_CODE = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests"), 429),
    **dict.fromkeys(("RESOURCE_EXHAUSTED", "Throttling", "Throttling.RateQuota"), 429),
    **dict.fromkeys(("invalid_api_key", "authentication_error", *_NO_CREDIT_CODES), 401),
    **dict.fromkeys(("invalid_request_error", "BadRequestError", *_FILTER_CODES), 400),
    **dict.fromkeys(("context_length_exceeded", "not_found_error", "NotFoundError"), 400),
    "overloaded_error": 529,
}


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
    """Classify an error that a gateway sent with status 200.

    Args:
        error: The `error` value of the body or of its choice, or a whole body that is an error.
    """
    fields = error if isinstance(error, dict) else {}
    names = ("code", "status", "status_code", "statusCode", "type")
    codes = [code for name in names if (code := _as_code(fields.get(name))) is not None]
    status = next((code for code in codes if isinstance(code, int) and 400 <= code < 600), None)
    words = [code for code in codes if isinstance(code, str)]
    known = next((word for word in words if word in _STATUS_OF_CODE), words[0] if words else None)
    if status is None:
        status = _STATUS_OF_CODE.get(known or "", 500)
    shown = known if known in _STATUS_OF_CODE or not codes else codes[0]
    detail = f"the gateway answered with an error{_format_code(shown)}"
    if status == 429 and known not in _NO_CREDIT_CODES:
        return RequestFailure(
            NextStep.SLOW_DOWN, RejectReason.RATE_LIMITED, "the gateway limits the rate"
        )
    hint = str(fields.get("message") or fields.get("msg") or "") or str(error)[:200]
    return _classify(status, known, detail, hint)


def _failure_from_status(error: openai.APIStatusError, now_s: float) -> RequestFailure:
    detail = f"HTTP {error.status_code}{_format_code(error.code)}"
    wait_s = _retry_after_s(error.response.headers, now_s)
    return _classify(error.status_code, error.code, detail, str(error.message), wait_s)


def _classify(
    status: int, code: str | None, detail: str, hint: str, retry_after_s: float | None = None
) -> RequestFailure:
    if status in {401, 402} or code in _NO_CREDIT_CODES:
        return RequestFailure(NextStep.ABORT, RejectReason.BAD_REQUEST, detail, hint=hint)
    if status == 429:
        return RequestFailure(
            NextStep.SLOW_DOWN, RejectReason.RATE_LIMITED, detail, retry_after_s=retry_after_s
        )
    if status in _TRANSIENT_STATUSES or status >= 500:
        return RequestFailure(
            NextStep.RETRY,
            RejectReason.SERVER_ERROR,
            detail,
            # The model may have run before the server, or a proxy in front of it, failed.
            may_be_billed=status not in _UNPROCESSED_STATUSES,
            retry_after_s=retry_after_s,
            hint=hint,
        )
    is_filter = code in _FILTER_CODES or status == 403
    reason = RejectReason.FILTERED if is_filter else RejectReason.BAD_REQUEST
    return RequestFailure(NextStep.CHECK_ENDPOINT, reason, detail, hint=hint)


def _as_code(value: object) -> int | str | None:
    """Return a number, also where it is written as text, or a word; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 5:
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _format_code(code: object) -> str:
    if isinstance(code, int) or (isinstance(code, str) and _CODE.fullmatch(code)):
        return f" ({code})"
    return ""


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
