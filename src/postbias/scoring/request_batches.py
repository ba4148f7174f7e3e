"""Score the posts of concurrent requests together.

A request that comes while the scorer is busy waits, and is then scored in one batch with others
that wait. A request that comes while it is idle is scored at once.
"""

# Ships inside the registered model: standard library only.

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

from postbias.scoring.post_scores import PostInput, PostScore
from postbias.scoring.scorer import Scorer

#: Posts of one batch at most.
MAX_POSTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """Posts, and their results; None instead asks the thread that waits to score the next batch."""

    posts: Sequence[PostInput]
    answer: Future[list[PostScore] | None] = field(default_factory=Future)


class RequestBatcher:
    """Scores requests from many threads, together where they meet."""

    def __init__(self, scorer: Scorer, max_batches: int) -> None:
        """Use a scorer.

        Args:
            scorer: The loaded student; a post's score does not depend on its batch.
            max_batches: Batches that are scored at the same time.
        """
        self._scorer = scorer
        self._max_batches = max_batches
        self._lock = Lock()
        self._waiting: deque[_Request] = deque()
        self._n_running = 0

    def score(self, posts: Sequence[PostInput]) -> list[PostScore]:
        """Score the posts of one request; called from many threads.

        Args:
            posts: Posts; more than `MAX_POSTS` are a batch of their own.

        Returns:
            One result per post, in order.
        """
        own = _Request(posts)
        with self._lock:
            must_wait = self._n_running == self._max_batches
            if must_wait:
                self._waiting.append(own)
            else:
                self._n_running += 1
        if must_wait and (results := own.answer.result()) is not None:
            return results
        try:
            return self._score_batch([own, *self._take_waiting(len(posts))])
        finally:
            self._hand_over()

    def _take_waiting(self, n_posts: int) -> list[_Request]:
        """Take requests from the queue, the oldest first, as long as a batch has room."""
        taken = []
        with self._lock:
            while self._waiting and n_posts + len(self._waiting[0].posts) <= MAX_POSTS:
                taken.append(self._waiting.popleft())
                n_posts += len(taken[-1].posts)
        return taken

    def _hand_over(self) -> None:
        """Let the thread of the oldest request score the next batch."""
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            self._n_running -= following is None
        if following is not None:
            following.answer.set_result(None)

    def _score_batch(self, requests: list[_Request]) -> list[PostScore]:
        """Score requests; return the results of the first, and answer the others."""
        own, *others = requests
        try:
            results = self._scorer.score([post for one in requests for post in one.posts])
        except Exception:
            if not others:
                raise
            for other in others:  # one of them may be the cause
                self._score_singly(other)
            return self._scorer.score(own.posts)
        start = len(own.posts)
        for other in others:
            other.answer.set_result(results[start : start + len(other.posts)])
            start += len(other.posts)
        return results[: len(own.posts)]

    def _score_singly(self, request: _Request) -> None:
        try:
            request.answer.set_result(self._scorer.score(request.posts))
        except Exception as error:
            request.answer.set_exception(error)
