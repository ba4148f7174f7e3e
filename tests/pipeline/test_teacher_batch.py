"""Batch mode: sent once, found again after a crash, split, and asked live where a line failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.teacher_corpus import make_corpus, make_params, post
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.params import Params
from postbias.teacher import batch as batch_module
from postbias.teacher import batch_client as courier
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr(courier, "_FIRST_PAUSE_S", 0.02)


def params(**changes: object) -> Params:
    base = {"mode": "batch", "batch": {"poll_s": 0.05}, "cost": PRICES}
    return make_params(**{**base, **changes})


def test_a_batch_gives_the_same_labels_as_live_requests_at_half_the_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(60)]
    (tmp_path / "live").mkdir()
    (tmp_path / "batch").mkdir()
    live, batched = (make_corpus(tmp_path / name, posts) for name in ("live", "batch"))
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        annotate(live, make_params(cost=PRICES))
        paid_live = server.stats.cost_usd
        annotate(batched, params())
        paid_batched = server.stats.cost_usd - paid_live
        assert server.stats.requests == 61 + 1, "the second run sends its probe live"
        assert live.labels.read_bytes() == batched.labels.read_bytes()
        assert paid_batched == pytest.approx(paid_live / 2, rel=0.02)
        assert server.teacher.files == {}, "files hold captions: none is left there"
        with ReplyStore.open(batched.replies) as store:
            assert store.total("spent_usd") == pytest.approx(paid_batched)
            assert store.rows("SELECT count(*) FROM batches") == [(0,)]


def test_lines_that_failed_or_were_unusable_are_asked_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    config = {"batch_fail_share": 0.3, "fault_rate": 0.2, "faults": ("nan", "refusal", "prose")}
    with TeacherServer(**config) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        summary = annotate(paths, params(attempts=5))
    assert summary.n_labelled == 80
    with ReplyStore.open(paths.replies) as store:
        by_source = dict(store.rows("SELECT source, count(*) FROM replies GROUP BY 1"))
    assert by_source["live"] > 20
    assert by_source["batch"] > 40


def test_batches_are_split_by_number_and_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    posts = [post(i) for i in range(60)]
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        annotate(
            make_corpus(tmp_path / "a", posts), params(batch={"max_requests": 25, "poll_s": 0.05})
        )
        assert len(server.teacher.batches) == 3
        annotate(make_corpus(tmp_path / "b", posts), params(batch={"max_mb": 0.2, "poll_s": 0.05}))
        assert len(server.teacher.batches) > 3 + 1
        assert server.stats.requests == 2, "probes only"


@pytest.mark.parametrize(
    "moment", ["before it was sent", "before its id was kept", "while waiting"]
)
def test_a_batch_is_looked_up_after_a_crash_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])

    class Crash(BaseException):
        pass

    async def crash(*_: object) -> str:
        raise Crash

    async def send_then_crash(self: courier.Courier, path: Path, tag: str) -> str:
        await send(self, path, tag)
        raise Crash

    send = courier.Courier.send
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            if moment == "before it was sent":
                patch.setattr(courier.Courier, "send", crash)
            elif moment == "before its id was kept":
                patch.setattr(courier.Courier, "send", send_then_crash)
            else:
                patch.setattr(courier.Courier, "state", crash)
            with pytest.raises(Crash):
                annotate(paths, params())
        assert annotate(paths, params()).n_labelled == 60
        assert len(server.teacher.batches) == 1
        assert sum(server.stats.by_question.values()) == 61
    assert not list((paths.store / "batches").iterdir())


def test_a_crash_while_replies_are_kept_loses_none_and_keeps_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    monkeypatch.setattr(batch_module, "_KEPT_AT_ONCE", 30)
    seen = 0
    write = batch_module.Batches._write

    async def write_twice(self: batch_module.Batches, statements: list[object]) -> None:
        nonlocal seen
        seen += 1
        if seen == 4:
            raise KeyboardInterrupt
        await write(self, statements)  # type: ignore[arg-type]

    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            patch.setattr(batch_module.Batches, "_write", write_twice)
            with pytest.raises(KeyboardInterrupt):
                annotate(paths, params())
        assert annotate(paths, params()).n_labelled == 60
        with ReplyStore.open(paths.replies) as store:
            assert store.rows("SELECT count(*) FROM replies") == [(60,)]
            assert store.total("spent_usd") == pytest.approx(server.stats.cost_usd)


def test_the_cap_holds_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(200)])
    cap = 0.08
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(TeacherError, match="max_cost_usd"):
            annotate(paths, params(cost={**PRICES, "max_cost_usd": cap}))
        assert 0.7 * cap < server.stats.cost_usd <= cap
        assert len(server.teacher.batches) > 1, "room that is left is used by a further batch"


@pytest.mark.parametrize("state", ["failed", ""])
def test_an_endpoint_without_batches_or_that_rejects_one_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(batch_state=state) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(TeacherError, match="mode: live"):
            annotate(paths, params())


def test_a_batch_of_another_rubric_is_left_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])

    async def crash(*_: object) -> str:
        raise KeyboardInterrupt

    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            patch.setattr(courier.Courier, "state", crash)
            with pytest.raises(KeyboardInterrupt):
                annotate(paths, params())
        annotate(paths, params(model="test-vl-2"))
        assert "asked in another way" in caplog.text
        assert annotate(paths, params()).n_labelled == 60
        assert len(server.teacher.batches) == 2
