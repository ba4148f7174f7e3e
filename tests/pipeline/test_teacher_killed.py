"""Killed at any moment and started again: the same labels, and hardly a request more."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.teacher_corpus import ROOT, fill, make_corpus, make_params, post, write_params

from postbias.paths import Paths
from postbias.teacher.annotate import annotate
from postbias.teacher.replies import ReplyStore

CONCURRENCY = 8
KILLS = 20
N = 500


@contextmanager
def server_process(folder: Path, **config: Any) -> Iterator[str]:
    """A server of its own process, as a real one is."""
    url_file = folder / "url.txt"
    command = [sys.executable, "-m", "tests.teacher_server", str(url_file), json.dumps(config)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        while not url_file.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield url_file.read_text()
    finally:
        process.kill()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.replace("/v1", "/stats")) as response:  # noqa: S310 - loopback
        found: dict[str, Any] = json.load(response)
    return found


def open_requests(paths: Paths) -> int:
    """Requests of which a killed process did not know whether they were answered."""
    if not paths.replies.exists():
        return 0
    with ReplyStore.open(paths.replies) as store:
        return int(store.rows("SELECT count(*) FROM sent")[0][0])


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    posts = [post(i) for i in range(N)]
    changes: dict[str, Any] = {
        "limits": {"concurrency": CONCURRENCY},
        "attempts": 4,
        "repeats": 2,
        "repeat_share": 0.1,
    }
    config = {
        "latency_s": 0.4,
        "has_logprobs": True,
        "fault_rate": 0.15,
        "is_deterministic": True,
        "faults": ["nan", "refusal", "prose", "out_of_range", "cut_off"],
    }
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (make_corpus(tmp_path / name, posts) for name in ("whole", "killed"))
    write_params(tmp_path / "killed", **changes)
    with server_process(tmp_path / "whole", **{**config, "latency_s": 0.0}) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        annotate(whole, make_params(**changes))
        expected = stats(url)["requests"]
    rng = np.random.default_rng(7)
    # Forked from a process that has all imported: twenty starts in a second, not in a minute.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["postbias.teacher.annotate", "postbias.teacher.endpoint"])
    with server_process(tmp_path / "killed", **config) as url:
        in_flight = []
        for _ in range(KILLS):
            before = stats(url)["requests"]
            process = context.Process(target=fill, args=(tmp_path / "killed", url))
            process.start()
            is_asking = rng.random() < 0.9  # else it is killed while it starts
            while is_asking and stats(url)["requests"] == before:
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0, 1.2)))
            assert process.is_alive(), "the run ended too early to be killed so often"
            process.kill()
            process.join()
            in_flight.append(open_requests(killed))
            while stats(url)["in_flight"]:
                time.sleep(0.02)
        assert max(in_flight) <= CONCURRENCY
        assert sum(in_flight) > KILLS
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        annotate(killed, make_params(**changes))
        extra = stats(url)["requests"] - expected
    assert killed.labels.read_bytes() == whole.labels.read_bytes()
    assert 0 <= extra <= sum(in_flight)
