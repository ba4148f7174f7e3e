"""Hung requests, rate limits and unusable replies do not bring labelling to a standstill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.teacher_corpus import make_corpus, make_params, point_at, post, shorten_pauses
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.teacher import request_timeouts
from postbias.teacher.annotate import fill_reply_store
from postbias.teacher.reply_store import ReplyStore

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}
DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    monkeypatch.setattr(request_timeouts, "_MIN_OVERDUE_S", 0.2)


def test_hung_requests_end_long_before_the_timeout_and_count_as_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    limits = {"timeout_s": DAY_S, "outage_s": DAY_S, "concurrency": 4}
    with TeacherServer(fault_rate=0.15, faults=("hang", "hang", "429")) as server:
        point_at(monkeypatch, server)
        fault = server.teacher.fault

        def fault_after_ten(*args: Any) -> str | None:
            return fault(*args) if server.stats.requests > 10 else None

        monkeypatch.setattr(server.teacher, "fault", fault_after_ten)
        summary = fill_reply_store(paths, make_params(limits=limits, cost=PRICES))
        hung = sum(faults.count("hang") for faults in server.stats.sent.values())
        assert summary == "80 of 80 posts are labelled"
        assert hung > 3
        assert server.stats.peak_in_flight <= 2 * 4
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") >= server.stats.cost_usd
            ((kept_usd,),) = store.rows("SELECT total(cost_usd) FROM replies")
            assert store.total("spent_usd") > kept_usd
    sent = [faults for faults in server.stats.sent.values() if "hang" not in faults]
    assert all(faults.count("ok") == 1 for faults in sent), "only cancelled requests are repeated"


def test_an_endpoint_that_becomes_slow_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    limits = {"timeout_s": 60.0, "concurrency": 8}
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        answer = server.teacher.answer

        def slow_down(*args: Any) -> Any:
            if server.stats.requests > 30:
                server.config.latency_s = 0.9
            return answer(*args)

        monkeypatch.setattr(server.teacher, "answer", slow_down)
        assert fill_reply_store(paths, make_params(limits=limits)) == "60 of 60 posts are labelled"


@pytest.mark.parametrize("fault", ["prose", "empty", "cut_off"])
def test_an_endpoint_without_usable_replies_stops_the_run_after_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(always=fault) as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match="the endpoint's replies are not usable"):
            fill_reply_store(paths, make_params())
        assert server.stats.requests <= 8
        with ReplyStore.open(paths.replies) as store:
            assert store.rows("SELECT count(*) FROM facts") == [(0,)], "the next run probes again"


def test_posts_without_a_single_valid_reply_stop_the_run_and_say_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])

    def hide(response: dict[str, Any]) -> dict[str, Any]:
        if server.stats.requests > 1:
            message = response["choices"][0]["message"]
            message |= {"content": None, "reasoning_content": f"Well: {message['content']}"}
        return response

    with TeacherServer(rewrite=hide) as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match=r"none of the first 2\d posts") as caught:
            fill_reply_store(paths, make_params(attempts=2))
        assert "without a reasoning parser" in str(caught.value)
        assert server.stats.requests < 80


def test_an_answer_in_a_reasoning_field_alone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(30)])

    def hide(response: dict[str, Any]) -> dict[str, Any]:
        message = response["choices"][0]["message"]
        message |= {"content": None, "reasoning_content": message["content"]}
        return response

    with TeacherServer(rewrite=hide) as server:
        point_at(monkeypatch, server)
        assert fill_reply_store(paths, make_params()) == "30 of 30 posts are labelled"
        assert server.stats.requests == 31
