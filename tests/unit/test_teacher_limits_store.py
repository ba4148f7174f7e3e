"""Rate limits, budget, token estimates and reply store of the endpoint teacher, without network."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.teacher_corpus import make_params

from postbias.errors import StorageError
from postbias.params import LimitsParams
from postbias.teacher.budget import Budget
from postbias.teacher.rate_limits import PerMinutePacer, RequestThrottle
from postbias.teacher.reply import Reply, increment_total, insert_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.store_writer import StoreWriter
from postbias.teacher.token_estimates import RequestShape, TokenEstimator


def limits(**changes: Any) -> LimitsParams:
    return make_params().annotate.endpoint.limits.model_copy(update=changes)


# Limits


@given(
    per_minute=st.integers(1, 5000),
    steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 30)), min_size=1, max_size=60),
)
def test_a_pacer_keeps_its_rate_in_any_minute(
    per_minute: int, steps: list[tuple[float, int]]
) -> None:
    now = 1000.0
    sent: list[tuple[float, int]] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def main() -> None:
        nonlocal now
        pacer = PerMinutePacer(per_minute, sleep, lambda: now)
        for pause_s, units in steps:
            now += pause_s
            await pacer.acquire(units)
            sent.append((now, units))

    asyncio.run(main())
    for i, (start, _) in enumerate(sent):
        in_minute = [units for at, units in sent[i:] if at < start + 60]
        # The last one may be larger than what was left: it is sent, and the next waits longer.
        assert sum(in_minute[:-1]) <= per_minute


def test_slots_are_halved_once_per_wave_of_429s_and_regained() -> None:
    async def main() -> None:
        throttle = RequestThrottle(limits(concurrency=16), asyncio.sleep, np.random.default_rng(0))
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
    peak = 0

    async def main() -> None:
        nonlocal peak
        throttle = RequestThrottle(limits(concurrency=3), asyncio.sleep, np.random.default_rng(0))
        active = 0

        async def hold_slot() -> None:
            nonlocal active, peak
            async with throttle.slot(1):
                active += 1
                peak = max(peak, active)
                await asyncio.sleep(0.001)
                active -= 1

        await asyncio.gather(*(hold_slot() for _ in range(30)))

    asyncio.run(main())
    assert peak == 3


# Budget and token estimates


def test_a_request_waits_for_budget_that_others_in_flight_may_free() -> None:
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
        assert not await budget.reserve(0.6), "nothing in flight can free budget"

    asyncio.run(main())


def test_an_estimator_learns_and_raises_a_bound_that_was_exceeded() -> None:
    params = make_params().annotate.endpoint
    estimator = TokenEstimator(params, 500, 2000)
    shape = RequestShape(100, 1)
    bound = estimator.estimate(shape).worst_in
    assert bound >= 500 + 100 + 500
    assert estimator.learn(shape, 700, 50)
    assert estimator.typical_in(shape) == pytest.approx(700)
    assert estimator.typical_out() == 50
    assert not estimator.learn(shape, 5000, 50)
    assert estimator.estimate(shape).worst_in >= 5000
    assert estimator.learn(shape, None, None)


# The store


def reply(key: str, status: str = "ok") -> Reply:
    return Reply(
        key, 0, "d", status, "", (1.5,), (2.0,), "why", "text", b"raw\x00", "r@1", "m", "m-1",
        "stop", "live", 10, 5, 0.1, 0.2, "2026-01-01T00:00:00",
    )  # fmt: skip


def test_a_stored_reply_is_read_back_unchanged(tmp_path: Path) -> None:
    with ReplyStore.open(tmp_path / "store" / "replies.sqlite") as store:
        store.transact(
            [
                insert_reply(reply("k")),
                increment_total("spent_usd", 0.5),
                increment_total("spent_usd", 0.25),
            ]
        )
        assert store.replies("k", 0) == [reply("k")]
        assert store.replies("k", 1) == []
        assert store.total("spent_usd") == 0.75
        assert store.rows("PRAGMA journal_mode") == [("wal",)]
    assert (tmp_path / "store" / "replies.sqlite").stat().st_mode & 0o077 == 0


def test_a_transaction_is_atomic(tmp_path: Path) -> None:
    with ReplyStore.open(tmp_path / "r.sqlite") as store:
        with pytest.raises(StorageError, match="cannot be written"):
            store.transact([insert_reply(reply("k")), ("INSERT INTO nothing VALUES (1)", ())])
        assert store.replies("k", 0) == []


def test_a_damaged_or_newer_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match="do not delete it"):
        ReplyStore.open(tmp_path / "bad.sqlite")
    with ReplyStore.open(tmp_path / "new.sqlite") as store:
        store.transact([("PRAGMA user_version = 99", ())])
    with pytest.raises(StorageError, match="newer postbias"):
        ReplyStore.open(tmp_path / "new.sqlite")


def test_concurrent_writes_are_all_durable(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"

    async def main() -> None:
        writer = StoreWriter(path)
        await asyncio.gather(
            *(writer.write(lambda i=i: [insert_reply(reply(f"k{i}"))]) for i in range(300))  # type: ignore[misc]
        )
        with pytest.raises(StorageError):
            await writer.write(lambda: [("INSERT INTO nothing VALUES (1)", ())])
        await writer.close()

    asyncio.run(main())
    with ReplyStore.open(path) as store:
        assert store.rows("SELECT count(*) FROM replies") == [(300,)]


def test_a_write_that_fails_does_not_fail_the_others_and_values_are_made_storable(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.sqlite"

    def fail() -> list[Any]:
        raise KeyError("boom")

    async def main() -> list[Any]:
        writer = StoreWriter(path)
        odd = replace(reply("k"), reason="lone \ud83d", tokens_in=10**30, raw=b"x")
        writes = [writer.write(lambda: [insert_reply(odd)]) for _ in range(20)]
        outcomes = await asyncio.gather(
            *writes[:10], writer.write(fail), *writes[10:], return_exceptions=True
        )
        await writer.close()
        return outcomes

    outcomes = asyncio.run(main())
    assert [outcome for outcome in outcomes if outcome is not None] == [outcomes[10]]
    assert isinstance(outcomes[10], StorageError)
    assert isinstance(outcomes[10].__cause__, KeyError)
    with ReplyStore.open(path) as store:
        rows = store.rows("SELECT reason, tokens_in FROM replies")
    assert rows == [("lone \ufffd", 2**63 - 1)] * 20
