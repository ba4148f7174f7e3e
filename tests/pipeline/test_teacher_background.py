"""Whatever fails in a background thread or task ends the run with one line, and never hangs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.teacher_corpus import (
    make_corpus,
    make_params,
    point_at,
    post,
    shorten_pauses,
    write_params,
)
from tests.teacher_server import TeacherServer

from postbias.errors import PostbiasError, StorageError
from postbias.teacher import label_scheduler
from postbias.teacher.annotate import fill_reply_store
from postbias.teacher.reply_store import ReplyStore

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def rewrite_some(old: str, new: str) -> Any:
    """Rewrite the text of every fourth response."""
    n = 0

    def rewrite(response: dict[str, Any]) -> bytes:
        nonlocal n
        n += 1
        text = json.dumps(response)
        assert old in text
        return (text.replace(old, new) if n % 4 == 0 else text).encode()

    return rewrite


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nobody at all", "nobody \\\\ud83d at all"),
        ('"model": "test-vl"', '"model": "test-vl-\\ud83d"'),
        ('"finish_reason": "stop"', '"finish_reason": "\\udc00"'),
        ('"prompt_tokens": ', f'"prompt_tokens": {10**30}'),
        ('"completion_tokens": ', '"completion_tokens": -'),
        ('"completion_tokens": ', '"completion_tokens": 1e400, "x": '),
    ],
)
def test_values_that_cannot_be_stored_are_repaired_and_no_post_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])
    with TeacherServer(rewrite=rewrite_some(old, new)) as server:
        point_at(monkeypatch, server)
        summary = fill_reply_store(paths, make_params(cost=PRICES))
        n_requests = server.stats.requests
        assert fill_reply_store(paths, make_params(cost=PRICES)) == summary
        assert server.stats.requests == n_requests, "all replies are kept"
        with ReplyStore.open(paths.replies) as store:
            assert store.rows("SELECT count(DISTINCT key) FROM replies") == [(40,)]
            assert store.total("spent_usd") >= server.stats.cost_usd - 1e-9


@pytest.mark.parametrize("error", [ValueError("boom"), MemoryError(), StorageError("disk full")])
def test_an_error_in_the_store_writer_ends_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])
    transact, n_calls = ReplyStore.transact, 0

    def fail_later(self: ReplyStore, statements: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 8:
            raise error
        transact(self, statements)

    with TeacherServer() as server:
        point_at(monkeypatch, server)
        with monkeypatch.context() as patch:
            patch.setattr(ReplyStore, "transact", fail_later)
            with pytest.raises(StorageError) as caught:
                fill_reply_store(paths, make_params())
        assert "\n" not in str(caught.value)
        assert fill_reply_store(paths, make_params()) == "40 of 40 posts are labelled"


def test_an_error_of_an_encoder_thread_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])

    def fail(*_: object) -> None:
        raise MemoryError

    with TeacherServer() as server:
        point_at(monkeypatch, server)
        monkeypatch.setattr(label_scheduler, "encode_images", fail)
        with pytest.raises(MemoryError):
            fill_reply_store(paths, make_params())


def test_an_error_of_the_thread_that_reads_posts_is_not_wrapped_in_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        for shard in paths.posts.glob("*.parquet"):
            shard.unlink()
        with pytest.raises(PostbiasError):
            fill_reply_store(paths, make_params())


_DEAD_WRITER = """
resolve, n_writes = StoreWriter._resolve, 0

def resolve_first(*args):
    global n_writes
    n_writes += 1
    if n_writes == 1:
        resolve(*args)

StoreWriter._resolve = resolve_first
"""


@pytest.mark.parametrize(("patch", "fault"), [("", "hang"), (_DEAD_WRITER, None)])
def test_sigterm_ends_a_run_whatever_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: str, fault: str | None
) -> None:
    make_corpus(tmp_path, [post(i) for i in range(60)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, cost=PRICES, limits={"timeout_s": 10_000.0})
    code = f"""
from postbias.cli import main
from postbias.teacher import stop_signals
from postbias.teacher.store_writer import StoreWriter
stop_signals._SIGTERM_GRACE_S = 0.5
{patch}
main(["annotate"])
"""
    with TeacherServer(always=fault) as server:
        point_at(monkeypatch, server)
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        while not server.stats.requests:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert "cancelled and count as spent" in output
