"""Limits, budget, meter and reply store of the endpoint teacher: no network needed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.teacher_corpus import make_params

from postbias.errors import StorageError
from postbias.params import LimitsParams
from postbias.teacher.budget import Budget
from postbias.teacher.rate_limits import Pace, Throttle
from postbias.teacher.reply import Reply, add_total, keep_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.store_writer import Writer
from postbias.teacher.token_estimates import Meter, Shape


def limits(**changes: Any) -> LimitsParams:
    return make_params().annotate.endpoint.limits.model_copy(update=changes)


# Limits


def test_a_pace_keeps_to_its_rate_in_any_window() -> None:
    waits: list[float] = []

    async def main() -> None:
        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        pace = Pace(600, sleep)
        for _ in range(100):
            await pace.acquire(1)

    asyncio.run(main())
    # 10 a second, the first second's worth at once: the hundredth waits for about nine seconds.
    assert len(waits) == pytest.approx(90, abs=2)
    assert waits[-1] == pytest.approx(9, abs=0.3)


def test_slots_are_halved_once_per_wave_and_won_back() -> None:
    async def main() -> None:
        throttle = Throttle(limits(concurrency=16), asyncio.sleep, np.random.default_rng(0))
        sent_at = time.monotonic()
        for _ in range(10):
            throttle.slow_down(sent_at, 0.0)
        assert throttle.slots == 8
        throttle.slow_down(time.monotonic(), 0.0)
        assert throttle.slots == 4
        for _ in range(200):
            throttle.succeed(time.monotonic())
        assert throttle.slots == 16

    asyncio.run(main())


def test_never_more_requests_are_in_flight_than_there_are_slots() -> None:
    most = 0

    async def main() -> None:
        nonlocal most
        throttle = Throttle(limits(concurrency=3), asyncio.sleep, np.random.default_rng(0))
        active = 0

        async def one() -> None:
            nonlocal active, most
            async with throttle.slot(1):
                active += 1
                most = max(most, active)
                await asyncio.sleep(0.001)
                active -= 1

        await asyncio.gather(*(one() for _ in range(30)))

    asyncio.run(main())
    assert most == 3


# Budget and meter


def test_a_request_waits_for_room_that_others_in_flight_may_leave() -> None:
    cost = make_params(
        cost={"usd_per_million_input": 1.0, "usd_per_million_output": 1.0, "max_cost_usd": 1.0}
    ).annotate.endpoint.cost

    async def main() -> None:
        budget = Budget(cost, 0.0)
        assert await budget.reserve(0.6)
        waiting = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        budget.settle(0.6, 0.2)
        assert await waiting
        budget.settle(0.6, 0.5)
        assert budget.spent_usd == pytest.approx(0.7)
        assert not await budget.reserve(0.6), "nothing in flight can make room"

    asyncio.run(main())


def test_a_meter_learns_and_widens_a_bound_that_was_passed() -> None:
    params = make_params().annotate.endpoint
    meter = Meter(params, 500, 2000)
    shape = Shape(100, 1)
    bound = meter.size(shape).worst_in
    assert bound >= 500 + 100 + 500
    assert meter.learn(shape, 700, 50)
    assert meter.guess_in(shape) == pytest.approx(700)
    assert meter.guess_out() == 50
    assert not meter.learn(shape, 5000, 50)
    assert meter.size(shape).worst_in >= 5000
    assert meter.learn(shape, None, None)


# The store


def reply(key: str, status: str = "ok") -> Reply:
    return Reply(
        key, 0, "d", status, "", (1.5,), (2.0,), "why", "text", b"raw\x00", "r@1", "m", "m-1",
        "stop", "live", 10, 5, 0.1, 0.2, "2026-01-01T00:00:00",
    )  # fmt: skip


def test_a_reply_comes_back_as_it_went_in(tmp_path: Path) -> None:
    with ReplyStore.open(tmp_path / "store" / "replies.sqlite") as store:
        store.transact(
            [keep_reply(reply("k")), add_total("spent_usd", 0.5), add_total("spent_usd", 0.25)]
        )
        assert store.replies("k", 0) == [reply("k")]
        assert store.replies("k", 1) == []
        assert store.total("spent_usd") == 0.75
        assert store.rows("PRAGMA journal_mode") == [("wal",)]
    assert (tmp_path / "store" / "replies.sqlite").stat().st_mode & 0o077 == 0


def test_a_transaction_holds_whole_or_not_at_all(tmp_path: Path) -> None:
    with ReplyStore.open(tmp_path / "r.sqlite") as store:
        with pytest.raises(StorageError, match="cannot be written"):
            store.transact([keep_reply(reply("k")), ("INSERT INTO nothing VALUES (1)", ())])
        assert store.replies("k", 0) == []


def test_a_store_that_is_none_or_of_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match="never delete it"):
        ReplyStore.open(tmp_path / "bad.sqlite")
    with ReplyStore.open(tmp_path / "new.sqlite") as store:
        store.transact([("PRAGMA user_version = 99", ())])
    with pytest.raises(StorageError, match="newer postbias"):
        ReplyStore.open(tmp_path / "new.sqlite")


def test_many_writes_from_a_loop_are_all_durable_in_order(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"

    async def main() -> None:
        writer = Writer(path)
        await asyncio.gather(
            *(writer.write(lambda i=i: [keep_reply(reply(f"k{i}"))]) for i in range(300))  # type: ignore[misc]
        )
        with pytest.raises(StorageError):
            await writer.write(lambda: [("INSERT INTO nothing VALUES (1)", ())])
        await writer.close()

    asyncio.run(main())
    with ReplyStore.open(path) as store:
        assert store.rows("SELECT count(*) FROM replies") == [(300,)]
