"""An endpoint that answers as another model than the requested one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.teacher_corpus import make_corpus, make_params, point_at, post
from tests.teacher_server import TeacherServer

from postbias.errors import TeacherError
from postbias.teacher.annotate import annotate, fill_reply_store
from postbias.teacher.reply_store import ReplyStore


def test_another_model_of_the_family_stops_the_run_before_the_first_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(55)])
    with TeacherServer(model="gpt-4o-mini-2024-07-18") as server:
        point_at(monkeypatch, server)
        for _ in range(2):
            with pytest.raises(TeacherError, match=r"another model than gpt-4o; saw 'gpt-4o-mini"):
                fill_reply_store(paths, make_params(model="gpt-4o"))
        assert server.stats.requests == 2, "only the probe is sent"


def test_a_reply_of_another_model_is_asked_again_and_then_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(54)] + [post(54, caption="POISON:wrong_model")]
    paths = make_corpus(tmp_path, posts)
    with TeacherServer(model="gpt-4o-2024-08-06") as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, make_params(model="gpt-4o", attempts=2))
    assert (summary.n_labelled, summary.rejected) == (54, {"wrong_model": 1})
    with ReplyStore.open(paths.replies) as store:
        counts = dict(store.rows("SELECT status, count(*) FROM replies GROUP BY 1"))
    assert counts == {"ok": 54, "wrong_model": 2}


def test_a_deployment_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(55)])
    with TeacherServer(model="gpt-4o-2024-08-06") as server:
        point_at(monkeypatch, server)
        assert annotate(paths, make_params(model="my-deployment")).n_labelled == 55
