"""Batch mode: batches are sent once, resumed after a crash and split; failed lines go live."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.teacher_corpus import make_corpus, make_params, post
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.params import Params
from postbias.teacher import batch_client, batch_mode
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def batch_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr(batch_client, "_FIRST_PAUSE_S", 0.02)


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
        assert server.stats.requests == 61 + 1, "the probe of the second run is sent live"
        assert live.labels.read_bytes() == batched.labels.read_bytes()
        assert paid_batched == pytest.approx(paid_live / 2, rel=0.02)
        assert server.teacher.files == {}, "files hold captions and must be deleted"
        with ReplyStore.open(batched.replies) as store:
            assert store.total("spent_usd") == pytest.approx(paid_batched)
            assert store.rows("SELECT count(*) FROM batches") == [(0,)]


def test_failed_lines_and_unusable_replies_are_sent_live(
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


def test_batches_are_split_by_number_of_requests_and_by_size(
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
    "moment", ["before it was sent", "before its id was stored", "while waiting"]
)
def test_after_a_crash_a_batch_is_looked_up_instead_of_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])

    class Crash(BaseException):
        pass

    async def crash(*_: object) -> str:
        raise Crash

    async def submit_then_crash(self: batch_client.BatchClient, path: Path, tag: str) -> str:
        await submit(self, path, tag)
        raise Crash

    submit = batch_client.BatchClient.submit
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            if moment == "before it was sent":
                patch.setattr(batch_client.BatchClient, "submit", crash)
            elif moment == "before its id was stored":
                patch.setattr(batch_client.BatchClient, "submit", submit_then_crash)
            else:
                patch.setattr(batch_client.BatchClient, "retrieve", crash)
            with pytest.raises(Crash):
                annotate(paths, params())
        assert annotate(paths, params()).n_labelled == 60
        assert len(server.teacher.batches) == 1
        assert sum(server.stats.by_question.values()) == 61
    assert not list((paths.store / "batches").iterdir())


def test_a_crash_while_replies_are_stored_loses_none_and_stores_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    monkeypatch.setattr(batch_mode, "_STATEMENTS_PER_WRITE", 30)
    n_writes = 0
    write = batch_mode.BatchRunner._write

    async def crash_at_the_fourth(self: batch_mode.BatchRunner, statements: list[object]) -> None:
        nonlocal n_writes
        n_writes += 1
        if n_writes == 4:
            raise KeyboardInterrupt
        await write(self, statements)  # type: ignore[arg-type]

    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            patch.setattr(batch_mode.BatchRunner, "_write", crash_at_the_fourth)
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
        assert len(server.teacher.batches) > 1, "the remaining budget is used by a further batch"


@pytest.mark.parametrize("state", ["failed", ""])
def test_an_error_about_batches_names_the_param_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(batch_state=state) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(TeacherError, match="mode: live"):
            annotate(paths, params())


def test_a_batch_with_other_settings_stays_outstanding_until_they_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])

    async def crash(*_: object) -> str:
        raise KeyboardInterrupt

    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with monkeypatch.context() as patch:
            patch.setattr(batch_client.BatchClient, "retrieve", crash)
            with pytest.raises(KeyboardInterrupt):
                annotate(paths, params())
        annotate(paths, params(model="test-vl-2"))
        assert "1 batches with another rubric or model are outstanding" in caplog.text
        assert annotate(paths, params()).n_labelled == 60
        assert len(server.teacher.batches) == 2
