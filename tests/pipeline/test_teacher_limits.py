"""The endpoint teacher keeps its spending cap, its rate limits and its secrets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.teacher_corpus import (
    label_rows,
    make_corpus,
    make_params,
    point_at,
    post,
    shorten_pauses,
)
from tests.teacher_model import CONTENT, RATE, TRANSPORT
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RunStoppedError
from postbias.teacher.stop_signals import StopSignal

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def test_the_cap_is_never_exceeded_and_the_run_reports_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(200)])
    cap = 0.12
    params = make_params(cost={**PRICES, "max_cost_usd": cap}, limits={"concurrency": 32})
    with TeacherServer(latency_s=0.02) as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match="max_cost_usd") as caught:
            annotate(paths, params)
        assert 0.8 * cap < server.stats.cost_usd <= cap
        spent = server.stats.cost_usd
        with pytest.raises(TeacherError, match="max_cost_usd"):
            annotate(paths, params)
        assert server.stats.cost_usd - spent <= cap - spent
        message = str(caught.value)
        assert "of 200 posts are labelled" in message
        assert "would cost about $" in message
        assert "nothing is lost" in message
        assert not paths.labels.exists()
        summary = annotate(paths, make_params(cost={**PRICES, "max_cost_usd": 1.0}))
        assert summary.n_labelled == 200
        assert server.stats.requests == 201


def test_the_cap_holds_when_billed_requests_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(150)])
    cap = 0.15
    faults = ("reset", "wrong_json", "gzip", "drip", "error_200", "nan", "500", "429")
    with TeacherServer(fault_rate=0.5, faults=faults) as server:
        point_at(monkeypatch, server)
        quick_limits = {"timeout_s": 0.3, "concurrency": 32}
        params = make_params(cost={**PRICES, "max_cost_usd": cap}, limits=quick_limits)
        with pytest.raises(TeacherError, match="max_cost_usd"):
            annotate(paths, params)
        assert server.stats.cost_usd <= cap


def test_a_429_reduces_concurrency_and_no_post_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(150)])
    with TeacherServer(latency_s=0.02, max_in_flight=6) as server:
        point_at(monkeypatch, server)
        assert annotate(paths, make_params(limits={"concurrency": 48})).n_labelled == 150
        n_refused = sum("429" in sent for sent in server.stats.sent.values())
        assert server.stats.requests < 150 + 150, f"{n_refused} posts met a 429"


def test_the_second_request_of_a_minute_waits_where_one_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    waits: list[float] = []

    async def stop_instead(self: StopSignal, seconds: float) -> None:
        waits.append(seconds)
        self.set("it had to wait")
        raise RunStoppedError

    monkeypatch.setattr(StopSignal, "sleep", stop_instead)
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match="it had to wait"):
            annotate(paths, make_params(limits={"requests_per_minute": 1}))
        assert server.stats.requests == 1, "the probe"
    assert waits[0] > 0


def test_without_usage_the_maximum_cost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_usage=False) as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params(cost=PRICES))
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") >= server.stats.cost_usd > 0


def test_no_log_or_error_contains_a_key_caption_or_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = (*TRANSPORT, *CONTENT, *RATE, "400", "403")
    paths = make_corpus(tmp_path, [post(i) for i in range(100)])
    with TeacherServer(fault_rate=0.3, faults=faults, echo=True) as server:
        point_at(monkeypatch, server, key="sk-very-secret-key")
        quick_limits = {"concurrency": 32, "timeout_s": 0.5}
        annotate(paths, make_params(limits=quick_limits, cost=PRICES))
        server.config.always = "400"
        with pytest.raises(TeacherError) as caught:
            annotate(paths, make_params(limits=quick_limits, model="test-vl-2"))
        texts = [caplog.text, str(caught.value), (paths.reports / "labels.json").read_text()]
        texts += [str(row["reason"]) for row in label_rows(paths)]
        port = server.url.split(":")[-1].split("/")[0]
    for text in texts:
        assert "very-secret" not in text
        assert "caption number" not in text
        assert f":{port}" not in text
    store = b"".join(p.read_bytes() for p in paths.store.rglob("*") if p.is_file())
    assert b"very-secret" not in store
