"""The endpoint teacher against a real HTTP server: requests, stored replies and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.teacher_corpus import (
    label_rows,
    make_corpus,
    make_params,
    noise_image,
    point_at,
    post,
    set_sample,
    shorten_pauses,
)
from tests.teacher_server import TeacherServer

from postbias.params import VariantsParams, VariantTeacher
from postbias.teacher.annotate import annotate
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.rubric import load_rubric
from postbias.teacher.teachers import request_labels
from postbias.teacher.variant_labels import label_variants


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def test_every_post_is_sent_once_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, make_params())
        assert summary.n_labelled == 60
        assert server.stats.requests == 61, "60 posts and one probe"
        labels = paths.labels.read_bytes()
        annotate(paths, make_params())
        assert server.stats.requests == 61
        assert paths.labels.read_bytes() == labels


def test_a_larger_sample_sends_only_new_posts_and_changed_settings_send_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(64)]
    paths = make_corpus(tmp_path, posts)
    set_sample(paths, [p["post_id"] for p in posts[:52]])
    with TeacherServer() as server:
        point_at(monkeypatch, server)

        def n_sent(**changes: Any) -> int:
            before = server.stats.requests
            annotate(paths, make_params(**changes))
            return server.stats.requests - before

        assert n_sent() == 53
        set_sample(paths, [p["post_id"] for p in posts])
        assert n_sent() == 12
        assert n_sent(limits={"concurrency": 3}, max_tokens=600) == 1, "the probe only"
        n_with_images = sum(bool(p["images"]) for p in posts)
        assert n_sent(images={"max_side_px": 84}) == n_with_images + 1
        assert n_sent(model="test-vl-2") == 65
        rubric = tmp_path / "rubric.yaml"
        text = (tmp_path / "rubrics" / "gender_bias.yaml").read_text()
        rubric.write_text(text.replace("version: 1", "version: 2"))
        params = make_params()
        group = params.annotate.model_copy(update={"rubric": "rubric.yaml"})
        before = server.stats.requests
        annotate(paths, params.model_copy(update={"annotate": group}))
        assert server.stats.requests - before == 65


def test_a_request_contains_rubric_caption_and_jpeg_images_but_no_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params())
        bodies = server.stats.bodies[1:]
    text = json.dumps(bodies)
    assert "secret_author" not in text
    assert "@user" in text
    prefixes = {
        part["image_url"]["url"][:23]
        for body in bodies
        for part in body["messages"][1]["content"]
        if part["type"] == "image_url"
    }
    assert prefixes == {"data:image/jpeg;base64,"}
    assert bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert "Contempt, degradation" in bodies[0]["messages"][0]["content"]


def test_posts_without_content_are_rejects_that_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [{"bytes": b"not an image", "path": "x.jpg"}]
    good = [{"bytes": b"not an image", "path": "x.jpg"}, {"bytes": noise_image(7), "path": "y.jpg"}]
    posts = [post(i) for i in range(55)]
    posts += [
        post(100, caption="", images=[]),
        post(101, caption=" ", images=bad),
        post(102, caption="", images=good),
        post(103, caption="text is left", images=bad),
    ]
    paths = make_corpus(tmp_path, posts)
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params())
        assert server.stats.requests == 1 + 57
    status = {row["post_id"]: row["status"] for row in label_rows(paths)}
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
def test_the_strictest_supported_reply_format_is_probed_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(52)])
    with TeacherServer(**config) as server:
        point_at(monkeypatch, server)
        report = annotate(paths, make_params()).report["teacher"]
        assert {name: report[name] for name in expected} == expected
        assert server.stats.requests <= 52 + 4


def test_with_token_probabilities_the_label_is_an_expectation_and_the_mode_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    with TeacherServer(has_logprobs=True) as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params())
    with ReplyStore.open(paths.replies) as store:
        replies = dict(store.iter_replies())
    for row in label_rows(paths):
        mode = replies[row["post_id"]].modes[0]
        assert row["bias"] == pytest.approx(mode - 1 / 3 if 0 < mode < 10 else mode)


def test_repeats_measure_test_retest_error_and_labels_are_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(120)])
    with TeacherServer(noise=2.0) as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, make_params(repeats=3, repeat_share=0.5))
    table = label_rows(paths)
    repeated = [row for row in table if row["n_replies"] == 3]
    assert 40 < len(repeated) < 80
    assert all(row["bias_sd"] is not None for row in repeated)
    assert {row["n_replies"] for row in table} == {1, 3}
    retest = summary.report["teacher"]["retest"]["bias"]
    assert retest["n"] == len(repeated)
    assert 0 < retest["mae"] < 4
    assert retest["error"] == pytest.approx(retest["mae"] / 2**0.5)


def test_a_drifting_teacher_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    with TeacherServer(drift=1.0) as server:
        point_at(monkeypatch, server)
        annotate(paths, make_params(temperature=0.7, repeats=2, repeat_share=1.0))
    assert "later replies to the same posts differ by +" in caplog.text


def test_variants_are_requested_once_and_share_store_and_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    reworded = VariantTeacher(
        name="reworded", rubric="rubrics/gender_bias_reworded.yaml", model=None, labels=None
    )
    params = make_params().model_copy(
        update={"variants": VariantsParams(n=20, teachers=(reworded,))}
    )
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        annotate(paths, params)
        before = server.stats.requests
        report = label_variants(paths, params)
        assert report["reworded"]["labelled"] == 20
        assert 20 <= server.stats.requests - before <= 21, "20 posts, and a probe at most"
        before, table = server.stats.requests, paths.variants.read_bytes()
        label_variants(paths, params)
        assert server.stats.requests == before
        assert paths.variants.read_bytes() == table
    with ReplyStore.open(paths.replies) as store:
        rubrics = {reply.rubric.partition("@")[0] for _, reply in store.iter_replies()}
        assert rubrics == {"gender_bias", "gender_bias_reworded"}
        assert store.total("requests") == 60 + 20 + 2, "with two probes"


def test_posts_outside_the_sample_can_be_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i) for i in range(60)]
    paths = make_corpus(tmp_path, posts)
    set_sample(paths, [p["post_id"] for p in posts[:52]])
    params = make_params()
    rubric = load_rubric(paths.root / params.annotate.rubric)
    others = [p["post_id"] for p in posts[52:]]
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        labels = request_labels(paths, params, rubric, others)
        assert {label.post_id for label in labels.labels} == set(others)
        assert all(label.status == "ok" for label in labels.labels)
        assert server.stats.requests == 8 + 1, "and a probe"
