"""Timeouts that adapt to the latencies of a run, and slots that overdue requests give up."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from tests.teacher_corpus import make_params

from postbias.teacher import request_timeouts
from postbias.teacher.rate_limits import RequestThrottle
from postbias.teacher.request_timeouts import AdaptiveTimeouts


def learned(latencies: list[float], timeout_s: float = 120.0) -> AdaptiveTimeouts:
    timeouts = AdaptiveTimeouts(timeout_s)
    for latency_s in latencies:
        timeouts.learn(latency_s)
    return timeouts


def test_without_latencies_only_the_timeout_holds() -> None:
    timeouts = learned([])
    assert timeouts.limit_s(0, is_last_try=False) == 120.0


def test_limits_follow_the_latencies_grow_with_each_timeout_and_never_exceed_timeout_s() -> None:
    timeouts = learned([3.0] * 200)
    limits = [timeouts.limit_s(n, is_last_try=False) for n in range(2000)]
    assert 2 * 3.0 < timeouts.overdue_s < limits[0] < 10 * 3.0
    assert limits == sorted(limits)
    assert limits[1] > limits[0]
    assert limits[-1] == timeouts.limit_s(0, is_last_try=True) == 120.0


def test_few_latencies_are_trusted_less_and_outliers_do_not_count() -> None:
    assert learned([1.0]).overdue_s > 2 * learned([1.0] * 100).overdue_s
    assert learned([1.0] * 100 + [90.0]).overdue_s < 5.0
    assert learned([1.0] * 50 + [20.0] * 50).overdue_s > 20.0, "slow requests are not outliers"


def test_a_hung_request_is_first_overdue_and_then_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_timeouts, "_MIN_OVERDUE_S", 0.05)
    monkeypatch.setattr(request_timeouts, "_TICK_S", 0.01)
    events: list[str] = []

    async def main() -> None:
        timeouts = learned([0.001] * 100)
        with pytest.raises(TimeoutError):
            async with timeouts.watch(
                0, is_last_try=False, on_overdue=lambda: events.append("late")
            ):
                await asyncio.Event().wait()
        events.append("cancelled")

    asyncio.run(main())
    assert events == ["late", "cancelled"]


def test_a_request_is_not_late_because_this_process_was_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_timeouts, "_MIN_OVERDUE_S", 0.3)

    async def main() -> None:
        timeouts = learned([0.001] * 100)
        async with timeouts.watch(0, is_last_try=False, on_overdue=pytest.fail):
            await asyncio.sleep(0)
            time.sleep(0.8)
            await asyncio.sleep(0)

    asyncio.run(main())


def test_an_overdue_request_gives_up_its_slot_but_only_so_many_do() -> None:
    async def main() -> None:
        limits = make_params(limits={"concurrency": 2}).annotate.endpoint.limits
        throttle = RequestThrottle(limits, asyncio.sleep, np.random.default_rng(0))
        hung = [throttle.slot(1) for _ in range(4)]
        slots = []
        for context in hung:
            slot = await asyncio.wait_for(context.__aenter__(), 5)
            slots.append(slot)
            slot.give_up()
            slot.give_up()
        assert (throttle.n_overdue, throttle.n_active) == (2, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(throttle.slot(1).__aenter__(), 0.05)
        for context in hung:
            await context.__aexit__(None, None, None)
        assert (throttle.n_overdue, throttle.n_active) == (0, 0)

    asyncio.run(main())
