"""The endpoint teacher keeps its cap, its pace and its secrets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.teacher_corpus import (
    label_rows as rows,
)
from tests.teacher_corpus import (
    make_corpus,
    make_params,
    post,
    quicken,
)
from tests.teacher_corpus import (
    point_at as serve,
)
from tests.teacher_model import CONTENT, RATE, TRANSPORT
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


def test_the_cap_is_never_passed_and_the_run_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(200)])
    cap = 0.12
    params = make_params(cost={**PRICES, "max_cost_usd": cap}, limits={"concurrency": 32})
    with TeacherServer(latency_s=0.02) as server:
        serve(monkeypatch, server)
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


def test_the_cap_holds_when_requests_fail_after_they_were_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(150)])
    cap = 0.15
    faults = ("reset", "wrong_json", "gzip", "drip", "error_200", "nan", "500", "429")
    with TeacherServer(fault_rate=0.5, faults=faults) as server:
        serve(monkeypatch, server)
        quick_limits = {"timeout_s": 0.3, "concurrency": 32}
        params = make_params(cost={**PRICES, "max_cost_usd": cap}, limits=quick_limits)
        with pytest.raises(TeacherError, match="max_cost_usd"):
            annotate(paths, params)
        assert server.stats.cost_usd <= cap


def test_too_many_requests_slow_everybody_down_and_are_won_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(150)])
    with TeacherServer(latency_s=0.02, max_in_flight=6) as server:
        serve(monkeypatch, server)
        assert annotate(paths, make_params(limits={"concurrency": 48})).n_labelled == 150
        refused = sum("429" in sent for sent in server.stats.sent.values())
        assert server.stats.requests < 150 + 150, f"{refused} posts met a 429"


def test_requests_per_minute_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        serve(monkeypatch, server)
        annotate(paths, make_params(limits={"requests_per_minute": 1200}))
        times = server.stats.times
    # 20 a second, with a burst of one second.
    assert max(sum(t <= u < t + 1 for u in times) for t in times) <= 42
    assert times[-1] - times[0] > 1.5


def test_no_usage_means_that_the_worst_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_usage=False) as server:
        serve(monkeypatch, server)
        annotate(paths, make_params(cost=PRICES))
        with ReplyStore.open(paths.replies) as store:
            assert store.total("spent_usd") >= server.stats.cost_usd > 0


def test_no_key_caption_or_address_is_in_any_log_or_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = (*TRANSPORT, *CONTENT, *RATE, "400", "403")
    paths = make_corpus(tmp_path, [post(i) for i in range(100)])
    with TeacherServer(fault_rate=0.3, faults=faults, echo=True) as server:
        serve(monkeypatch, server, key="sk-very-secret-key")
        quick_limits = {"concurrency": 32, "timeout_s": 0.5}
        annotate(paths, make_params(limits=quick_limits, cost=PRICES))
        server.config.always = "400"
        with pytest.raises(TeacherError) as caught:
            annotate(paths, make_params(limits=quick_limits, model="test-vl-2"))
        said = [caplog.text, str(caught.value), (paths.reports / "labels.json").read_text()]
        said += [str(row["reason"]) for row in rows(paths)]
        port = server.url.split(":")[-1].split("/")[0]
    for text in said:
        assert "very-secret" not in text
        assert "caption number" not in text
        assert f":{port}" not in text
    store = b"".join(p.read_bytes() for p in paths.store.rglob("*") if p.is_file())
    assert b"very-secret" not in store
