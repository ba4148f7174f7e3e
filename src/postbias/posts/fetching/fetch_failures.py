"""Failures of downloads, and the limits that downloads keep."""

from __future__ import annotations

from dataclasses import dataclass

from postbias.posts.images import MAX_BYTES
from postbias.posts.reasons import RejectReason


class FetchError(Exception):
    """An image could not be downloaded; the run turns this into a reject.

    Attributes:
        reason: The reject's reason.
        detail: One line for people.
        is_temporary: Whether another attempt may succeed.
        retry_after_s: For how long the server asks to send no request; None if it does not say.
        host: The host that failed; "" if no request was sent.
    """

    def __init__(
        self,
        reason: RejectReason,
        detail: str,
        *,
        is_temporary: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        """Compose the message from reason and detail."""
        self.reason = reason
        self.detail = detail
        self.is_temporary = is_temporary
        self.retry_after_s = retry_after_s
        self.host = ""
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What downloads may do.

    Attributes:
        concurrency: Requests in flight.
        per_host: Requests in flight to one host.
        timeout_s: Time to connect, and the longest pause while data is received.
        deadline_s: Time for one attempt, redirects included.
        n_retries: Further attempts after a temporary failure.
        backoff_s: Wait before the first retry; doubled for each further one.
        max_wait_s: If a server asks for a longer wait, its other images fail in this run.
        max_bytes: Size of an image.
        max_video_bytes: Size of a video.
        ports: Allowed ports.
        allows_private: Whether private and loopback addresses are allowed.
        user_agent: Sent with each request.
    """

    concurrency: int = 8
    per_host: int = 2
    timeout_s: float = 30.0
    deadline_s: float = 300.0
    n_retries: int = 3
    backoff_s: float = 1.0
    max_wait_s: float = 120.0
    max_bytes: int = MAX_BYTES
    max_video_bytes: int = 2**28
    ports: frozenset[int] = frozenset({80, 443})
    allows_private: bool = False
    user_agent: str = "postbias"
