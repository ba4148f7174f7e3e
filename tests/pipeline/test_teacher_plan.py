"""The plan, the commands around the reply store, and stopping by signal."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

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
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
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
        found = plan_labelling(paths, params, rubric, ids)
        measured_usd, measured = server.stats.cost_usd, server.stats.requests
        annotate(paths, params)
        rest_usd, rest = server.stats.cost_usd - measured_usd, server.stats.requests - measured
    assert measured <= 24
    assert found.cost_usd == pytest.approx(rest_usd, rel=0.15)
    assert found.n_requests == pytest.approx(rest, rel=0.15)
    assert found.time_s > 0


def test_the_plan_command_spends_little_and_its_replies_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(i) for i in range(80)])
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, cost={**PRICES, "max_cost_usd": 0.05})
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        found = run(paths, monkeypatch, "annotate", "--plan")
        assert found.exit_code == 0, found.output
        assert server.stats.requests == 17
        assert "posts in the sample                80" in found.output
        assert "max_cost_usd ($0.05) will stop this" in found.output
        write_params(tmp_path, cost=PRICES)
        found = run(paths, monkeypatch, "annotate")
        assert found.output == "80 of 80 posts are labelled\n"
        assert server.stats.requests == 81


def test_nothing_to_plan_without_an_endpoint_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_corpus(tmp_path, [post(0)])
    (tmp_path / "dvc.yaml").touch()
    shutil.copy(Path(__file__).resolve().parents[2] / "params.yaml", tmp_path / "params.yaml")
    found = run(paths, monkeypatch, "annotate", "--plan")
    assert found.exit_code == 1
    assert "annotate.teacher: recorded" in found.output
    found = run(paths, monkeypatch, "replies", "show")
    assert found.exit_code == 1
    assert "no reply store" in found.output


def test_replies_are_shown_by_setting_and_by_post(
    asked: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run(asked, monkeypatch, "replies", "show").output
    assert "test-vl" in shown
    assert "questions 60; replies: ok 60" in shown
    assert "ever spent: $" in shown
    shown = run(asked, monkeypatch, "replies", "show", "p00003").output
    assert "The caption is plain" in shown
    assert run(asked, monkeypatch, "replies", "show", "nobody").exit_code == 1


@pytest.mark.parametrize("name", ["all.parquet", "all.csv"])
def test_replies_are_exported_with_what_they_were_and_cost(
    asked: Paths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = run(asked, monkeypatch, "replies", "export", name)
    assert found.output == f"60 replies written to {name}\n"
    if name.endswith(".parquet"):
        table = pq.read_table(asked.root / name)
        assert table.num_rows == 60
        first = table.to_pylist()[0]
        body = json.loads(first["raw"])
        assert json.loads(body["choices"][0]["message"]["content"])["bias"] == first["modes"][0]
        assert first["cost_usd"] > 0
    else:
        assert (asked.root / name).read_text().count("test-vl") >= 60
    assert run(asked, monkeypatch, "replies", "export", "all.xlsx").exit_code == 1


def test_pruning_says_first_and_then_does(asked: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(asked, monkeypatch, "replies", "prune").exit_code == 1
    found = run(asked, monkeypatch, "replies", "prune", "--failed")
    assert found.output.startswith("0 replies")
    found = run(asked, monkeypatch, "replies", "prune", "--rubric", "gender_bias")
    assert found.output == "60 replies; add --yes to throw them away\n"
    with ReplyStore.open(asked.replies) as store:
        spent = store.total("spent_usd")
    run(asked, monkeypatch, "replies", "prune", "--model", "test-vl", "--yes")
    with ReplyStore.open(asked.replies) as store:
        assert store.rows("SELECT count(*) FROM replies") == [(0,)]
        assert store.total("spent_usd") == spent > 0, "what was spent stays counted"


def test_deleting_a_post_reaches_store_labels_and_scores(
    asked: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = read_table(asked.labels, labels_schema(AXES))
    for folder in (asked.scores, asked.store / "scores" / "k"):
        folder.mkdir(parents=True)
        pq.write_table(labels.select(["post_id", "bias"]), folder / "s.scores.parquet")
    (asked.store / "scores" / "k" / "s.scores.parquet").rename(
        asked.store / "scores" / "k" / "s.rejects.parquet"
    )
    found = run(asked, monkeypatch, "replies", "delete", "p00003", "p00004")
    assert found.output.startswith("2 replies, 2 labels, 2 scores deleted\n")
    ids = read_table(asked.labels, labels_schema(AXES))["post_id"].to_pylist()
    assert len(ids) == 58
    assert "p00003" not in ids
    assert pq.read_table(asked.scores / "s.scores.parquet").num_rows == 58
    assert not list((asked.store / "scores" / "k").iterdir())
    with ReplyStore.open(asked.replies) as store:
        assert store.rows("SELECT count(*) FROM asked") == [(58,)]
    assert b"p00003" not in asked.replies.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_flight_and_stops_resumably(
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
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"interrupted by {number.name}; " in said
        assert "nothing is lost" in said
        with ReplyStore.open(paths.replies) as store:
            assert store.rows("SELECT count(*) FROM sent") == [(0,)]
            assert store.rows("SELECT count(*) FROM replies") == [(server.stats.requests - 1,)]
        server.config.latency_s = 0.0
        annotate(paths, make_params(cost=PRICES))
        assert server.stats.requests == 151


def test_a_second_process_waits_for_the_first_and_pays_nothing(
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


def test_asking_leaves_the_signal_handlers_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    paths = make_corpus(tmp_path, [post(i) for i in range(55)])
    with TeacherServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        annotate(paths, make_params())
    assert signal.getsignal(signal.SIGTERM) is before
