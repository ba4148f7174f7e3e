"""The spending cap holds, and nothing is paid twice, whatever interrupts a run and what changes."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.teacher_batches import finish_batches
from tests.teacher_corpus import make_corpus, make_params, point_at, post, shorten_pauses
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.paths import Paths
from postbias.teacher import batch_client
from postbias.teacher.annotate import fill_reply_store
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.store_writer import StoreWriter

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    monkeypatch.setattr(batch_client, "_FIRST_PAUSE_S", 0.02)


class Interrupt(BaseException):
    """Ends a run at once, like a crash."""


def interrupt_after(monkeypatch: pytest.MonkeyPatch, n_calls: int, *, is_after: bool) -> None:
    """Interrupt the run at its n-th durable write or request about batches, before or after it."""
    calls = 0

    def wrap(method: Any) -> Any:
        async def wrapped(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == n_calls and not is_after:
                raise Interrupt
            result = await method(*args)
            if calls == n_calls and is_after:
                raise Interrupt
            return result

        return wrapped

    monkeypatch.setattr(StoreWriter, "write", wrap(StoreWriter.write))
    for name in ("submit", "retrieve", "download", "delete_file"):
        method = getattr(batch_client.BatchClient, name)
        monkeypatch.setattr(batch_client.BatchClient, name, wrap(method))


def in_flight(paths: Paths) -> int:
    """Count requests of which an interrupted run did not know the outcome."""
    if not paths.replies.exists():
        return 0
    with ReplyStore.open(paths.replies) as store:
        return int(store.rows("SELECT count(*) FROM sent")[0][0])


def wait_until_idle(server: TeacherServer) -> None:
    while server.stats.in_flight:
        time.sleep(0.005)


def n_paid_twice(server: TeacherServer) -> int:
    """Count usable answers to posts that had one already."""
    probe = server.teacher.question(server.stats.bodies[0])
    posts = [faults for key, faults in server.stats.sent.items() if key != probe]
    return sum(max(0, faults.count("ok") - 1) for faults in posts)


@pytest.mark.parametrize("seed", range(8))
def test_the_cap_holds_and_nothing_is_paid_twice_whatever_interrupts_and_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    paths = make_corpus(tmp_path, [post(i) for i in range(30)])
    cap = float(rng.uniform(0.04, 0.1))
    faults = ("500", "reset", "wrong_json", "error_200", "prose", "refusal", "429")
    config: dict[str, Any] = {"fault_rate": 0.25, "faults": faults, "bills_failures": True}
    n_lost = 0
    with TeacherServer(**config, batch_fail_share=0.2, batch_polls=3) as server:
        point_at(monkeypatch, server)
        for _ in range(12):
            params = make_params(
                mode=str(rng.choice(["live", "batch"])),
                max_tokens=int(rng.choice([300, 500])),
                batch={"poll_s": 0.01, "max_requests": int(rng.choice([4, 50]))},
                limits={"concurrency": int(rng.choice([1, 8]))},
                cost={**PRICES, "max_cost_usd": cap * float(rng.choice([0.8, 1.0]))},
            )
            with monkeypatch.context() as patch:
                interrupt_after(patch, int(rng.integers(1, 60)), is_after=bool(rng.random() < 0.5))
                with suppress(TeacherError, Interrupt):
                    fill_reply_store(paths, params)
            wait_until_idle(server)
            n_lost += in_flight(paths)
            assert server.stats.cost_usd <= cap
        finish_batches(server.teacher)
        assert server.stats.cost_usd <= cap, "outstanding batches count as well"
        assert n_paid_twice(server) <= n_lost
        last = make_params(cost={**PRICES, "max_cost_usd": 10.0}, batch={"poll_s": 0.01})
        fill_reply_store(paths, last)
        wait_until_idle(server)
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") >= server.stats.cost_usd - 1e-9
            assert store.rows("SELECT count(*) FROM batches") == [(0,)]
        assert n_paid_twice(server) <= n_lost


def leave_batch(paths: Paths, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Send a batch and interrupt the run before it is collected."""

    async def interrupt(*_: object) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch_client.BatchClient, "retrieve", interrupt)
        with pytest.raises(Interrupt):
            fill_reply_store(paths, make_params(mode="batch", cost=PRICES, **changes))


@pytest.mark.parametrize("changes", [{}, {"max_tokens": 400}])
def test_live_mode_sends_no_request_that_an_outstanding_batch_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(30)])
    with TeacherServer(batch_polls=3, batch_fail_share=0.3) as server:
        point_at(monkeypatch, server)
        leave_batch(paths, monkeypatch)
        assert server.stats.requests == 1, "only the probe is sent live"
        live = make_params(cost=PRICES, batch={"poll_s": 0.01}, **changes)
        assert fill_reply_store(paths, live) == "30 of 30 posts are labelled"
        finish_batches(server.teacher)
        assert n_paid_twice(server) == 0
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") == pytest.approx(server.stats.cost_usd)


def test_an_outstanding_batch_of_another_model_counts_against_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(30)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        leave_batch(paths, monkeypatch)
        with ReplyStore.open(paths.replies) as store:
            ((worst_usd,),) = store.rows("SELECT worst_usd FROM batches")
        n_before = server.stats.requests
        cap = {**PRICES, "max_cost_usd": worst_usd}
        with pytest.raises(TeacherError, match="reserved for outstanding batches"):
            fill_reply_store(paths, make_params(model="test-vl-2", cost=cap))
        assert server.stats.requests == n_before


def test_a_batch_that_the_endpoint_no_longer_has_counts_as_spent_and_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(30)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        leave_batch(paths, monkeypatch)
        with ReplyStore.open(paths.replies) as store:
            ((worst_usd,),) = store.rows("SELECT worst_usd FROM batches")
        server.teacher.batches.clear()
        assert fill_reply_store(paths, make_params(cost=PRICES)) == "30 of 30 posts are labelled"
        assert "the endpoint no longer has a batch of 30 requests" in caplog.text
        with ReplyStore.open(paths.replies) as store:
            spent_usd = store.total("spent_usd")
        assert spent_usd == pytest.approx(server.stats.cost_usd + worst_usd)


def test_output_beyond_max_tokens_is_counted_and_raises_the_bound_of_later_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])
    params = make_params(max_tokens=64, cost={**PRICES, "max_cost_usd": 0.06})
    with TeacherServer(output_factor=20) as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match="max_cost_usd"):
            fill_reply_store(paths, params)
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") == pytest.approx(server.stats.cost_usd)
        n_before, spent_usd = server.stats.requests, server.stats.cost_usd
        # Enough for a request within `max_tokens`, but not for one with so much more output.
        cost = {**PRICES, "max_cost_usd": spent_usd + 0.003}
        with pytest.raises(TeacherError, match="max_cost_usd"):
            fill_reply_store(paths, make_params(max_tokens=64, cost=cost))
        assert server.stats.requests == n_before, "the raised bound holds from the first request"


def test_a_server_error_may_be_billed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(40)])
    config: dict[str, Any] = {"fault_rate": 0.4, "faults": ("500",), "bills_failures": True}
    with TeacherServer(**config) as server:
        point_at(monkeypatch, server)
        fill_reply_store(paths, make_params(cost=PRICES))
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") >= server.stats.cost_usd
