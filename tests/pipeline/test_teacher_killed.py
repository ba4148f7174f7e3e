"""A run killed at random moments and resumed gives the same labels, at few extra requests."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.teacher_corpus import (
    label_in_process,
    make_corpus,
    make_params,
    point_at,
    post,
    write_params,
)
from tests.teacher_server import TeacherServer

from postbias.paths import Paths
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore

CONCURRENCY = 8
KILLS = 20
N = 500


def open_requests(paths: Paths) -> int:
    """Count requests of which a killed process did not know the outcome."""
    if not paths.replies.exists():
        return 0
    with ReplyStore.open(paths.replies) as store:
        return int(store.rows("SELECT count(*) FROM sent")[0][0])


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_gives_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(N)]
    changes: dict[str, Any] = {
        "limits": {"concurrency": CONCURRENCY},
        "attempts": 4,
        "repeats": 2,
        "repeat_share": 0.1,
    }
    config = {
        "latency_s": 0.25,
        "has_logprobs": True,
        "fault_rate": 0.15,
        "is_deterministic": True,
        "faults": ["nan", "refusal", "prose", "out_of_range", "cut_off"],
    }
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (make_corpus(tmp_path / name, posts) for name in ("whole", "killed"))
    write_params(tmp_path / "killed", **changes)
    with TeacherServer(**{**config, "latency_s": 0.0}) as server:
        point_at(monkeypatch, server)
        annotate(whole, make_params(**changes))
        expected = server.stats.requests
    rng = np.random.default_rng(7)
    # Fork from a process with all imports: twenty starts take a second, not a minute.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["postbias.teacher.annotate", "postbias.teacher.labelling_run"])
    with TeacherServer(**config) as server:
        in_flight = []
        for _ in range(KILLS):
            before = server.stats.requests
            process = context.Process(
                target=label_in_process, args=(tmp_path / "killed", server.url)
            )
            process.start()
            waits_for_request = rng.random() < 0.9  # otherwise it is killed during start-up
            while waits_for_request and server.stats.requests == before:
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0, 0.7)))
            assert process.is_alive(), "the run ended before it could be killed"
            process.kill()
            process.join()
            in_flight.append(open_requests(killed))
            while server.stats.in_flight:
                time.sleep(0.02)
        assert max(in_flight) <= CONCURRENCY
        assert sum(in_flight) > KILLS
        point_at(monkeypatch, server)
        annotate(killed, make_params(**changes))
        extra = server.stats.requests - expected
    assert killed.labels.read_bytes() == whole.labels.read_bytes()
    assert 0 <= extra <= sum(in_flight)
