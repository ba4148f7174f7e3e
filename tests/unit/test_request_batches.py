"""Requests that meet are scored together, and each gets the results of its own posts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Lock
from typing import Any, cast

import numpy as np
import pytest
from tests.post_shards import random_posts
from tests.tiny_artifact import write_tiny_artifact

from postbias.scoring.post_scores import PostInput, PostScore
from postbias.scoring.request_batches import MAX_POSTS, RequestBatcher
from postbias.scoring.scorer import Scorer


class _Gate:
    """Stands between batcher and scorer: records batches, and holds the first one back."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.sizes: list[int] = []
        self.n_at_once, self.most_at_once = 0, 0
        self.has_started, self.may_go_on = Event(), Event()
        self._lock = Lock()

    def score(self, posts: Sequence[PostInput]) -> list[PostScore]:
        with self._lock:
            self.sizes.append(len(posts))
            self.n_at_once += 1
            self.most_at_once = max(self.most_at_once, self.n_at_once)
        self.has_started.set()
        assert self.may_go_on.wait(60)
        try:
            if any(post.caption == "fails" for post in posts):
                raise ValueError("this post fails")
            return self.scorer.score(posts)
        finally:
            with self._lock:
                self.n_at_once -= 1


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[_Gate]:
    write_tiny_artifact(tmp_path)
    with Scorer.open(tmp_path, threads=2) as scorer:
        yield _Gate(scorer)


def _batcher(gate: _Gate, max_batches: int) -> RequestBatcher:
    return RequestBatcher(cast("Any", gate), max_batches)


def _score_while_busy(
    gate: _Gate, batcher: RequestBatcher, requests: Sequence[Sequence[PostInput]]
) -> list[Any]:
    """Send one request, and the others while it is scored; return results or errors."""
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = [pool.submit(batcher.score, requests[0])]
        assert gate.has_started.wait(60)
        answers += [pool.submit(batcher.score, posts) for posts in requests[1:]]
        while len(batcher._waiting) < len(requests) - 1:
            assert not any(answer.done() for answer in answers)
        gate.may_go_on.set()
        return [answer.exception() or answer.result() for answer in answers]


def test_waiting_requests_are_one_batch_and_get_their_own_results(gate: _Gate) -> None:
    posts = [PostInput(c, tuple(i)) for c, i in random_posts(np.random.default_rng(0), 12)]
    requests = [posts[:1], posts[1:4], [], posts[4:5], posts[5:12]]
    answers = _score_while_busy(gate, _batcher(gate, 1), requests)
    assert gate.sizes == [1, 11]
    assert answers == [gate.scorer.score(own) for own in requests]


def test_a_batch_has_limited_size_and_larger_requests_are_batches_of_their_own(
    gate: _Gate,
) -> None:
    requests = [[PostInput(f"post {n}")] * size for n, size in enumerate((1, 40, 40, 100, 2))]
    answers = _score_while_busy(gate, _batcher(gate, 1), requests)
    assert sorted(gate.sizes) == [1, 2, 40, 40, 100] or sorted(gate.sizes) == [1, 40, 42, 100]
    assert max(size for size in gate.sizes if size != 100) <= MAX_POSTS
    assert answers == [gate.scorer.score(own) for own in requests]


def test_a_request_that_fails_fails_alone(gate: _Gate) -> None:
    requests = [[PostInput("one")], [PostInput("two")], [PostInput("fails")], [PostInput("three")]]
    batcher = _batcher(gate, 1)
    answers = _score_while_busy(gate, batcher, requests)
    assert isinstance(answers[2], ValueError)
    for number in (0, 1, 3):
        assert answers[number] == gate.scorer.score(requests[number])
    assert batcher.score([PostInput("next")])[0].status == "ok"


@pytest.mark.parametrize("max_batches", [1, 2, 3])
def test_many_threads_get_the_same_scores_as_one(gate: _Gate, max_batches: int) -> None:
    gate.may_go_on.set()
    posts = [PostInput(c, tuple(i)) for c, i in random_posts(np.random.default_rng(1), 40)]
    expected = [gate.scorer.score([post])[0] for post in posts]
    batcher, start = _batcher(gate, max_batches), Barrier(8)

    def run_client(number: int) -> None:
        start.wait(60)
        for turn in range(40):
            at = (number * 7 + turn * 3) % len(posts)
            assert batcher.score([posts[at]]) == [expected[at]]

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run_client, number) for number in range(8)]:
            done.result(timeout=120)
    assert gate.most_at_once <= max_batches
    assert sum(gate.sizes) == 8 * 40
    assert batcher._n_running == 0
