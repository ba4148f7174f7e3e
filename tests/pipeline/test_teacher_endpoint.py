"""The endpoint teacher against a real HTTP server: what is asked, kept and made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.teacher_corpus import (
    label_rows as rows,
)
from tests.teacher_corpus import (
    make_corpus,
    make_params,
    picture,
    post,
    quicken,
    set_sample,
)
from tests.teacher_corpus import (
    point_at as serve,
)
from tests.teacher_server import TeacherServer

from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


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
