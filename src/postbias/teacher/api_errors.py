"""What can go wrong between us and an endpoint, sorted by what to do next.

A fault never carries what the endpoint said to us about a post: its messages quote captions, and
some quote keys. Status, error code and our own words are enough to act on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto

import httpx2
import openai

from postbias.posts.reasons import Reason

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
#: The account, not the moment: waiting does not help.
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "Arrearage"})
_MOMENTARY = frozenset({408, 409, 425})


class Next(Enum):
    """What to do after a fault."""

    AGAIN = auto()  #: send the same request again, after a pause
    SLOW_DOWN = auto()  #: everybody waits, then sends again
    DOUBT = auto()  #: this request is not wanted: find out whether it is the post or the endpoint
    STOP = auto()  #: nobody sends anything any more


@dataclass(frozen=True, slots=True)
class Fault:
    """A request that brought no reply.

    Attributes:
        next: What to do.
        reason: What the post becomes if this is final.
        detail: In words, without anything that the endpoint quoted.
        may_be_billed: Whether the endpoint may have done the work and charge for it.
        retry_after_s: How long it asked to wait.
        hint: Its own message, for requests that carry no post; never log it otherwise.
    """

    next: Next
    reason: Reason
    detail: str
    may_be_billed: bool = False
    retry_after_s: float | None = None
    hint: str = ""


class RequestError(Exception):
    """A request that brought no reply.

    Attributes:
        fault: Why, and what to do.
    """

    def __init__(self, fault: Fault) -> None:
        """Carry the fault.

        Args:
            fault: Why, and what to do.
        """
        super().__init__(fault.detail)
        self.fault = fault


class StoppedError(Exception):
    """Nothing more is to be sent; what is in flight is being finished."""


class RejectError(Exception):
    """A request that will bring no reply, while others do.

    Attributes:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        """Carry the fault.

        Args:
            fault: Why.
        """
        super().__init__(fault.detail)
        self.fault = fault


def fault_of(error: Exception, now_s: float) -> Fault:
    """Sort an error of the client.

    Args:
        error: What the client raised.
        now_s: The time since the epoch, to read dates by which to come back.

    Returns:
        The fault.

    Raises:
        Exception: The same error, if it is none of the network or the endpoint.
    """
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, now_s)
    if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError)):
        return Fault(Next.AGAIN, Reason.TIMEOUT, "no complete answer in time", may_be_billed=True)
    if isinstance(error, httpx2.DecodingError):
        return Fault(Next.AGAIN, Reason.DAMAGED_REPLY, "the answer is damaged", may_be_billed=True)
    if isinstance(error, (openai.APIConnectionError, httpx2.TransportError)):
        cause = error.__cause__ or error
        was_sent = not isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout))
        detail = "the connection broke off" if was_sent else "no connection"
        return Fault(Next.AGAIN, Reason.DISCONNECTED, detail, may_be_billed=was_sent)
    raise error


def fault_of_body(error: object) -> Fault:
    """Sort an error that came as the body of a 200, as some gateways send it.

    Args:
        error: The value of `error` in the body.

    Returns:
        The fault.
    """
    code = error.get("code") if isinstance(error, dict) else None
    if code in {429, "429", "rate_limit_exceeded"}:
        return Fault(Next.SLOW_DOWN, Reason.RATE_LIMITED, "the gateway limits the rate")
    return Fault(
        Next.AGAIN,
        Reason.SERVER_ERROR,
        f"the gateway answered with an error{_named(code)}",
        may_be_billed=True,
    )


def _of_status(error: openai.APIStatusError, now_s: float) -> Fault:
    status, code = error.status_code, error.code
    detail = f"HTTP {status}{_named(code)}"
    hint = str(error.message)
    if status in {401, 402} or code in _NO_MONEY:
        return Fault(Next.STOP, Reason.BAD_REQUEST, detail, hint=hint)
    if status == 429:
        wait = _retry_after(error.response.headers, now_s)
        return Fault(Next.SLOW_DOWN, Reason.RATE_LIMITED, detail, retry_after_s=wait)
    if status in _MOMENTARY or status >= 500:
        wait = _retry_after(error.response.headers, now_s)
        return Fault(Next.AGAIN, Reason.SERVER_ERROR, detail, retry_after_s=wait, hint=hint)
    is_filter = code in {"content_filter", "content_policy_violation", "data_inspection_failed"}
    reason = Reason.FILTERED if is_filter or status == 403 else Reason.BAD_REQUEST
    return Fault(Next.DOUBT, reason, detail, hint=hint)


def _named(code: object) -> str:
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _retry_after(headers: httpx2.Headers, now_s: float) -> float | None:
    """Read `Retry-After`, in seconds or as a date, and the finer header that OpenAI sends."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now_s)
    except (KeyError, ValueError):
        return None
