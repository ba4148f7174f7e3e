"""The endpoint teacher against a faulty server: no post is lost or gets a default label."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.teacher_corpus import (
    AXES,
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
from postbias.teacher.annotate import annotate, fill_reply_store
from postbias.teacher.reply_store import ReplyStore


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


@pytest.mark.parametrize("fault", sorted(CONTENT))
def test_a_post_with_only_unusable_replies_is_rejected_with_the_true_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    posts = [post(i) for i in range(52)]
    posts += [post(60 + i, caption=f"POISON:{fault} {i}") for i in range(2)]
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, make_params(attempts=2))
        assert summary.rejected == {CONTENT[fault]: 2}
        assert server.stats.requests == 1 + 52 + 2 * 2, "retried once, then never"
        annotate(paths, make_params(attempts=2))
        assert server.stats.requests == 57


@pytest.mark.parametrize("fault", sorted(TRANSPORT))
def test_a_post_that_always_fails_in_transit_is_rejected_while_others_are_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    posts = [post(i) for i in range(52)]
    posts.append(post(60, caption=f"POISON:{fault}"))
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        timeout_s = 0.4 if fault in {"hang", "drip"} else 30.0
        quick_limits = {"timeout_s": timeout_s, "tries": 3}
        summary = annotate(paths, make_params(limits=quick_limits))
    assert summary.n_labelled == 52
    assert summary.rejected == {TRANSPORT[fault]: 1}


@pytest.mark.parametrize(
    ("fault", "reason"), [("400", "bad_request"), ("403", "filtered"), ("400_filter", "filtered")]
)
def test_a_post_that_the_endpoint_refuses_is_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    paths = make_corpus(
        tmp_path, [*(post(i) for i in range(52)), post(60, caption=f"POISON:{fault}")]
    )
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, make_params())
        assert server.stats.requests == 1 + 52 + 1
    assert summary.rejected == {reason: 1}


def test_with_faults_of_every_kind_in_30_percent_of_requests_no_post_is_lost_or_defaulted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = (*TRANSPORT, *CONTENT, *RATE)
    paths = make_corpus(tmp_path, [post(i) for i in range(300)])
    with TeacherServer(fault_rate=0.3, faults=faults) as server:
        point_at(monkeypatch, server)
        summary = annotate(
            paths, make_params(limits={"concurrency": 32, "timeout_s": 2.5}, attempts=4)
        )
        sent = server.stats.sent
        teacher = server.teacher
    assert summary.n_labelled + sum(summary.rejected.values()) == 300
    assert {fault for faults_of in sent.values() for fault in faults_of} == {*faults, "ok"}
    true_scores = {
        tuple(float(teacher.score(question, axis, 1)) for axis in AXES)
        for question, faults_of in sent.items()
        if faults_of[-1] == "ok"
    }
    for row in label_rows(paths):
        if row["status"] == "ok":
            assert (row["bias"], row["orientation"]) in true_scores
        else:
            assert row["bias"] is None
    last = [faults_of[-1] for faults_of in sent.values() if faults_of[-1] != "ok"]
    reasons = sorted({**TRANSPORT, **CONTENT}[fault] for fault in last)
    assert reasons == sorted(why for why, n in summary.rejected.items() for _ in range(n))


def test_a_retry_names_the_problem_of_the_last_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(
        tmp_path, [*(post(i) for i in range(52)), post(60, caption="POISON:out_of_range")]
    )
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params(attempts=2))
        again = [body for body in server.stats.bodies if len(body["messages"]) == 4]
    assert len(again) == 1
    assert "85" in again[0]["messages"][2]["content"]
    assert "`bias` is not within 0 to 10" in again[0]["messages"][3]["content"]


def test_an_endpoint_that_goes_down_stops_the_run_and_the_run_can_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(120)])
    params = make_params(limits={"outage_s": 0.8, "concurrency": 4})
    with TeacherServer(latency_s=0.05) as server:
        point_at(monkeypatch, server)
        breaking = server.teacher

        monkeypatch.setattr(
            breaking, "fault", lambda *_: "500" if breaking.stats.requests > 40 else None
        )
        with pytest.raises(TeacherError, match="the endpoint is down") as caught:
            annotate(paths, params)
        assert "nothing is lost" in str(caught.value)
        with ReplyStore.open(paths.replies) as store:
            assert all(reply.status == "ok" for _, reply in store.iter_replies())
        monkeypatch.setattr(breaking, "fault", lambda *_: None)
        assert annotate(paths, params).n_labelled == 120


def test_a_short_outage_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        monkeypatch.setattr(
            server.teacher,
            "fault",
            lambda *_: "reset_early" if 30 < server.stats.requests < 60 else None,
        )
        assert annotate(paths, make_params()).n_labelled == 80


@pytest.mark.parametrize("fault", ["quota", "401"])
def test_a_key_without_credit_or_permission_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        point_at(monkeypatch, server, key="sk-very-secret-key")
        fill_reply_store(paths, make_params(model="test-vl"))
        n_before = server.stats.requests
        if fault == "401":
            server.config.key = "sk-another"
        else:
            server.config.always = "quota"
        with pytest.raises(TeacherError, match="refuses") as caught:
            annotate(paths, make_params(max_tokens=700, model="test-vl-2"))
        assert server.stats.requests <= n_before + 8
        assert "very-secret" not in str(caught.value)


def test_without_environment_variables_the_error_says_what_to_export(tmp_path: Path) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(3)])
    with pytest.raises(TeacherError, match="OPENAI_API_KEY"):
        annotate(paths, make_params())


def test_a_model_without_vision_is_reported_before_the_first_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_vision=False) as server:
        point_at(monkeypatch, server)
        with pytest.raises(TeacherError, match="max_images: 0"):
            annotate(paths, make_params())
        assert annotate(paths, make_params(images={"max_images": 0})).n_labelled == 60
