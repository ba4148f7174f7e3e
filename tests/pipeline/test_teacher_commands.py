"""The commands `annotate` and `replies`, and stopping by signal."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from tests.teacher_corpus import make_corpus, make_params, post, write_params
from tests.teacher_server import TeacherServer

from postbias.cli import main
from postbias.paths import Paths
from postbias.posts.schema import labels_schema
from postbias.posts.shards import read_table
from postbias.teacher.annotate import annotate
from postbias.teacher.labelling_plan import plan_labelling
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.rubric import load_rubric

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}
AXES = ("bias", "orientation")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def run(paths: Paths, monkeypatch: pytest.MonkeyPatch, *args: str) -> Result:
    monkeypatch.chdir(paths.root)
    return CliRunner().invoke(main, list(args))


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, cost=PRICES)
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        annotate(paths, make_params(cost=PRICES))
    return paths


def test_the_plan_is_within_fifteen_percent_of_what_the_rest_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = [post(i, caption="word " * (i * i % 400)) for i in range(400)]
    paths = make_corpus(tmp_path, posts)
    params = make_params(cost=PRICES, repeats=2, repeat_share=0.2)
    rubric = load_rubric(paths.root / "rubrics" / "gender_bias.yaml")
    ids = [post["post_id"] for post in posts]
    with TeacherServer(fault_rate=0.1, faults=("prose",), latency_s=0.05) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        estimate = plan_labelling(paths, params, rubric, ids)
        measured_usd, measured = server.stats.cost_usd, server.stats.requests
        annotate(paths, params)
        rest_usd, rest = server.stats.cost_usd - measured_usd, server.stats.requests - measured
    assert measured <= 24
    assert estimate.cost_usd == pytest.approx(rest_usd, rel=0.15)
    assert estimate.n_requests == pytest.approx(rest, rel=0.15)
    assert estimate.time_s > 0


def test_the_plan_command_sends_few_requests_and_keeps_their_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, cost={**PRICES, "max_cost_usd": 0.05})
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = run(paths, monkeypatch, "annotate", "--plan")
        assert result.exit_code == 0, result.output
        assert server.stats.requests == 17
        assert "posts in the sample                80" in result.output
        assert "max_cost_usd ($0.05) will stop this" in result.output
        write_params(tmp_path, cost=PRICES)
        result = run(paths, monkeypatch, "annotate")
        assert result.output == "80 of 80 posts are labelled\n"
        assert server.stats.requests == 81


def test_commands_without_an_endpoint_fail_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(0)])
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(Path(__file__).resolve().parents[2] / "params.yaml", tmp_path / "params.yaml")
    result = run(paths, monkeypatch, "annotate", "--plan")
    assert result.exit_code == 1
    assert "annotate.teacher: recorded" in result.output
    result = run(paths, monkeypatch, "replies", "show")
    assert result.exit_code == 1
    assert "no reply store" in result.output


def test_replies_are_shown_by_rubric_and_model_and_by_post(
    labelled: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = run(labelled, monkeypatch, "replies", "show").output
    assert "test-vl" in output
    assert "requests 60; replies: ok 60" in output
    assert "total spent: $" in output
    output = run(labelled, monkeypatch, "replies", "show", "p00003").output
    assert "The caption is plain" in output
    assert run(labelled, monkeypatch, "replies", "show", "nobody").exit_code == 1


@pytest.mark.parametrize("name", ["all.parquet", "all.csv"])
def test_replies_are_exported_with_scores_raw_body_and_cost(
    labelled: Paths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    result = run(labelled, monkeypatch, "replies", "export", name)
    assert result.output == f"60 replies written to {name}\n"
    if name.endswith(".parquet"):
        table = pq.read_table(labelled.root / name)
        assert table.num_rows == 60
        first = table.to_pylist()[0]
        body = json.loads(first["raw"])
        assert json.loads(body["choices"][0]["message"]["content"])["bias"] == first["modes"][0]
        assert first["cost_usd"] > 0
    else:
        assert (labelled.root / name).read_text().count("test-vl") >= 60
    assert run(labelled, monkeypatch, "replies", "export", "all.xlsx").exit_code == 1


def test_pruning_counts_replies_and_deletes_them_only_with_yes(
    labelled: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(labelled, monkeypatch, "replies", "prune").exit_code == 1
    result = run(labelled, monkeypatch, "replies", "prune", "--failed")
    assert result.output.startswith("0 replies")
    result = run(labelled, monkeypatch, "replies", "prune", "--rubric", "gender_bias")
    assert result.output == "60 replies; add --yes to delete them\n"
    with ReplyStore.open(labelled.replies) as store:
        spent = store.total("spent_usd")
    run(labelled, monkeypatch, "replies", "prune", "--model", "test-vl", "--yes")
    with ReplyStore.open(labelled.replies) as store:
        assert store.rows("SELECT count(*) FROM replies") == [(0,)]
        assert store.total("spent_usd") == spent > 0, "the total spent must not change"


def test_deleting_a_post_deletes_its_replies_labels_and_scores(
    labelled: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = read_table(labelled.labels, labels_schema(AXES))
    for folder in (labelled.scores, labelled.store / "scores" / "k"):
        folder.mkdir(parents=True)
        pq.write_table(labels.select(["post_id", "bias"]), folder / "s.scores.parquet")
    (labelled.store / "scores" / "k" / "s.scores.parquet").rename(
        labelled.store / "scores" / "k" / "s.rejects.parquet"
    )
    result = run(labelled, monkeypatch, "replies", "delete", "p00003", "p00004")
    assert result.output.startswith("2 replies, 2 labels, 2 scores deleted\n")
    ids = read_table(labelled.labels, labels_schema(AXES))["post_id"].to_pylist()
    assert len(ids) == 58
    assert "p00003" not in ids
    assert pq.read_table(labelled.scores / "s.scores.parquet").num_rows == 58
    assert not list((labelled.store / "scores" / "k").iterdir())
    with ReplyStore.open(labelled.replies) as store:
        assert store.rows("SELECT count(*) FROM asked") == [(58,)]
    assert b"p00003" not in labelled.replies.read_bytes()


def test_40000_posts_are_deleted_at_once(labelled: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def connect_with_usual_limit(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        return connection

    # Some builds of SQLite allow more variables than its default.
    monkeypatch.setattr(sqlite3, "connect", connect_with_usual_limit)
    ids = [f"p{i:05}" for i in range(10, 40_010)]
    result = run(labelled, monkeypatch, "replies", "delete", *ids)
    assert result.output.startswith("50 replies, 50 labels, 0 scores deleted\n")
    assert read_table(labelled.labels, labels_schema(AXES)).num_rows == 10
    with ReplyStore.open(labelled.replies) as store:
        assert store.rows("SELECT count(*) FROM asked") == [(10,)]


@pytest.mark.parametrize(
    "arguments", [["show"], ["delete"], ["prune", "--model"], ["prune", "--rubric"]]
)
def test_an_argument_that_is_not_utf_8_is_wrong_usage(
    labelled: Paths, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    result = run(labelled, monkeypatch, "replies", *arguments, "p\udcff")
    assert result.exit_code == 2
    assert "is not valid UTF-8" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_completes_requests_in_flight_and_the_next_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(150)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, cost=PRICES)
    with TeacherServer(latency_s=0.3) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code = "from postbias.cli import main; main(['annotate'])"
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while server.stats.requests < 30:
            time.sleep(0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"interrupted by {number.name}; " in stderr
        assert "nothing is lost" in stderr
        with ReplyStore.open(paths.replies) as store:
            assert store.rows("SELECT count(*) FROM sent") == [(0,)]
            assert store.rows("SELECT count(*) FROM replies") == [(server.stats.requests - 1,)]
        server.config.latency_s = 0.0
        annotate(paths, make_params(cost=PRICES))
        assert server.stats.requests == 151


def test_a_second_process_waits_for_the_first_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(60)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path)
    with TeacherServer(latency_s=0.1) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code = "from postbias.cli import main; main(['annotate'])"
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        while server.stats.requests < 5:
            time.sleep(0.05)
        annotate(paths, make_params())
        assert process.wait(30) == 0
        assert server.stats.requests == 61


def test_labelling_restores_the_signal_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    paths = make_corpus(tmp_path, [post(i) for i in range(55)])
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        annotate(paths, make_params())
    assert signal.getsignal(signal.SIGTERM) is before
