"""The endpoint teacher against a real HTTP server that misbehaves on command."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.teacher_corpus import make_corpus, make_params, picture, post, set_sample
from tests.teacher_server import CONTENT, RATE, TRANSPORT, TeacherServer

from postbias.errors import TeacherError
from postbias.posts.schema import labels_schema
from postbias.posts.shards import read_table
from postbias.teacher import caller, limits
from postbias.teacher.annotate import annotate, fill_store
from postbias.teacher.replies import ReplyStore

AXES = ("bias", "orientation")
PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no key of the developer, and pauses a twentieth of the real ones."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(caller, "_FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(caller, "_MAX_BACKOFF_S", 0.2)
    monkeypatch.setattr(limits, "_MAX_PAUSE_S", 0.2)


def serve(monkeypatch: pytest.MonkeyPatch, server: TeacherServer, key: str = "sk-test-key") -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", key)


def rows(paths: Any) -> list[dict[str, Any]]:
    return read_table(paths.labels, labels_schema(AXES)).to_pylist()


def test_every_post_is_asked_once_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        serve(monkeypatch, server)
        summary = annotate(paths, make_params())
        assert summary.n_labelled == 60
        assert server.stats.requests == 61, "60 posts and one probe"
        labels = paths.labels.read_bytes()
        annotate(paths, make_params())
        assert server.stats.requests == 61
        assert paths.labels.read_bytes() == labels


def test_a_larger_sample_asks_only_for_the_new_posts_and_other_settings_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(64)]
    paths = make_corpus(tmp_path, posts)
    set_sample(paths, [p["post_id"] for p in posts[:52]])
    with TeacherServer() as server:
        serve(monkeypatch, server)

        def newly_asked(**changes: Any) -> int:
            before = server.stats.requests
            annotate(paths, make_params(**changes))
            return server.stats.requests - before

        assert newly_asked() == 53
        set_sample(paths, [p["post_id"] for p in posts])
        assert newly_asked() == 12
        assert newly_asked(limits={"concurrency": 3}, max_tokens=600) == 1, "the probe only"
        pictured = sum(bool(p["images"]) for p in posts)
        assert newly_asked(images={"max_side_px": 84}) == pictured + 1
        assert newly_asked(model="test-vl-2") == 65
        rubric = tmp_path / "rubric.yaml"
        text = (tmp_path / "rubrics" / "gender_bias.yaml").read_text()
        rubric.write_text(text.replace("version: 1", "version: 2"))
        params = make_params()
        group = params.annotate.model_copy(update={"rubric": "rubric.yaml"})
        before = server.stats.requests
        annotate(paths, params.model_copy(update={"annotate": group}))
        assert server.stats.requests - before == 65


def test_the_request_holds_rubric_caption_and_upright_pictures_but_no_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        serve(monkeypatch, server)
        annotate(paths, make_params())
        bodies = server.stats.bodies[1:]
    text = json.dumps(bodies)
    assert "secret_author" not in text
    assert "@user" in text
    pictures = {
        part["image_url"]["url"][:23]
        for body in bodies
        for part in body["messages"][1]["content"]
        if part["type"] == "image_url"
    }
    assert pictures == {"data:image/jpeg;base64,"}
    assert bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert "Contempt, degradation" in bodies[0]["messages"][0]["content"]


def test_posts_without_anything_to_ask_about_are_rejects_that_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [{"bytes": b"no picture", "path": "x.jpg"}]
    good = [{"bytes": b"no picture", "path": "x.jpg"}, {"bytes": picture(7), "path": "y.jpg"}]
    posts = [post(i) for i in range(55)]
    posts += [
        post(100, caption="", images=[]),
        post(101, caption=" ", images=bad),
        post(102, caption="", images=good),
        post(103, caption="text is left", images=bad),
    ]
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        serve(monkeypatch, server)
        annotate(paths, make_params())
        assert server.stats.requests == 1 + 57
    status = {row["post_id"]: row["status"] for row in rows(paths)}
    assert [status[f"p{i:05}"] for i in (100, 101, 102, 103)] == [
        "no_content",
        "unreadable",
        "ok",
        "ok",
    ]


@pytest.mark.parametrize("fault", sorted(CONTENT))
def test_an_answer_that_is_always_unusable_is_a_reject_with_the_true_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    posts = [post(i) for i in range(52)]
    posts += [post(60 + i, caption=f"POISON:{fault} {i}") for i in range(2)]
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        serve(monkeypatch, server)
        summary = annotate(paths, make_params(attempts=2))
        assert summary.rejected == {CONTENT[fault]: 2}
        assert server.stats.requests == 1 + 52 + 2 * 2, "asked again once, then never"
        annotate(paths, make_params(attempts=2))
        assert server.stats.requests == 57


@pytest.mark.parametrize("fault", sorted(TRANSPORT))
def test_a_post_that_never_gets_through_is_a_reject_while_others_are_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    posts = [post(i) for i in range(52)]
    posts.append(post(60, caption=f"POISON:{fault}"))
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        serve(monkeypatch, server)
        quick_limits = {"timeout_s": 0.4, "tries": 3}
        summary = annotate(paths, make_params(limits=quick_limits))
    assert summary.n_labelled == 52
    assert summary.rejected == {TRANSPORT[fault]: 1}


@pytest.mark.parametrize(
    ("fault", "reason"), [("400", "bad_request"), ("403", "filtered"), ("400_filter", "filtered")]
)
def test_a_post_that_the_endpoint_refuses_is_not_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    paths = make_corpus(
        tmp_path, [*(post(i) for i in range(52)), post(60, caption=f"POISON:{fault}")]
    )
    with TeacherServer() as server:
        serve(monkeypatch, server)
        summary = annotate(paths, make_params())
        assert server.stats.requests == 1 + 52 + 1
    assert summary.rejected == {reason: 1}


def test_with_thirty_percent_of_requests_failing_in_every_way_no_post_is_lost_or_defaulted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = (*TRANSPORT, *CONTENT, *RATE)
    paths = make_corpus(tmp_path, [post(i) for i in range(300)])
    with TeacherServer(fault_rate=0.3, faults=faults) as server:
        serve(monkeypatch, server)
        summary = annotate(
            paths, make_params(limits={"concurrency": 32, "timeout_s": 0.6}, attempts=4)
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
    for row in rows(paths):
        if row["status"] == "ok":
            assert (row["bias"], row["orientation"]) in true_scores
        else:
            assert row["bias"] is None
    last = [faults_of[-1] for faults_of in sent.values() if faults_of[-1] != "ok"]
    reasons = sorted({**TRANSPORT, **CONTENT}[fault] for fault in last)
    assert reasons == sorted(why for why, n in summary.rejected.items() for _ in range(n))


def test_the_fault_of_a_reply_is_named_when_the_model_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(
        tmp_path, [*(post(i) for i in range(52)), post(60, caption="POISON:out_of_range")]
    )
    with TeacherServer() as server:
        serve(monkeypatch, server)
        annotate(paths, make_params(attempts=2))
        again = [body for body in server.stats.bodies if len(body["messages"]) == 4]
    assert len(again) == 1
    assert "85" in again[0]["messages"][2]["content"]
    assert "`bias` is not within 0 to 10" in again[0]["messages"][3]["content"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"format": "json_schema", "expected_scores": False}),
        ({"has_logprobs": True}, {"format": "json_schema", "expected_scores": True}),
        ({"has_schema": False}, {"format": "json_object"}),
        ({"has_schema": False, "has_json": False}, {"format": "text"}),
        ({"takes_max_tokens": False, "takes_temperature": False}, {"format": "json_schema"}),
    ],
)
def test_the_strictest_form_that_the_endpoint_has_is_found_out_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(52)])
    with TeacherServer(**config) as server:
        serve(monkeypatch, server)
        found = annotate(paths, make_params()).report["teacher"]
        assert {name: found[name] for name in expected} == expected
        assert server.stats.requests <= 52 + 4


def test_token_probabilities_make_the_label_an_expectation_and_the_mode_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_logprobs=True) as server:
        serve(monkeypatch, server)
        annotate(paths, make_params())
    with ReplyStore.open(paths.replies) as store:
        kept = dict(store.iter_replies())
    for row in rows(paths):
        mode = kept[row["post_id"]].modes[0]
        assert row["bias"] == pytest.approx(mode - 1 / 3 if 0 < mode < 10 else mode)


def test_repeats_measure_the_teachers_own_error_and_labels_are_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(120)])
    with TeacherServer(noise=2.0) as server:
        serve(monkeypatch, server)
        summary = annotate(paths, make_params(repeats=3, repeat_share=0.5))
    table = rows(paths)
    repeated = [row for row in table if row["n_replies"] == 3]
    assert 40 < len(repeated) < 80
    assert all(row["bias_sd"] is not None for row in repeated)
    assert {row["n_replies"] for row in table} == {1, 3}
    retest = summary.report["teacher"]["retest"]["bias"]
    assert retest["n"] == len(repeated)
    assert 0 < retest["mae"] < 4
    assert retest["error"] == pytest.approx(retest["mae"] / 2**0.5)


def test_a_drifting_teacher_and_a_second_model_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    with TeacherServer(drift=1.0) as server:
        serve(monkeypatch, server)
        annotate(paths, make_params(repeats=2, repeat_share=1.0))
    assert "later replies to the same posts differ by +" in caplog.text


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


def test_an_endpoint_that_goes_down_stops_the_run_resumably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(120)])
    params = make_params(limits={"outage_s": 0.8, "concurrency": 4})
    with TeacherServer(latency_s=0.05) as server:
        serve(monkeypatch, server)
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


def test_a_pause_of_the_endpoint_is_sat_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    with TeacherServer() as server:
        serve(monkeypatch, server)
        monkeypatch.setattr(
            server.teacher,
            "fault",
            lambda *_: "reset_early" if 30 < server.stats.requests < 60 else None,
        )
        assert annotate(paths, make_params()).n_labelled == 80


@pytest.mark.parametrize("fault", ["quota", "401"])
def test_a_key_without_money_or_rights_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        serve(monkeypatch, server, key="sk-very-secret-key")
        fill_store(paths, make_params(model="test-vl"))
        asked = server.stats.requests
        if fault == "401":
            server.config.key = "sk-another"
        else:
            server.config.always = "quota"
        with pytest.raises(TeacherError, match="refuses") as caught:
            annotate(paths, make_params(max_tokens=700, model="test-vl-2"))
        assert server.stats.requests <= asked + 8
        assert "very-secret" not in str(caught.value)


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


def test_missing_environment_says_what_to_export(tmp_path: Path) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(3)])
    with pytest.raises(TeacherError, match="OPENAI_API_KEY"):
        annotate(paths, make_params())


def test_a_model_that_takes_no_pictures_is_told_before_the_first_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_vision=False) as server:
        serve(monkeypatch, server)
        with pytest.raises(TeacherError, match="max_images: 0"):
            annotate(paths, make_params())
        assert annotate(paths, make_params(images={"max_images": 0})).n_labelled == 60


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
