"""After an append, only new posts are scored; a larger sample has only new posts labelled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.conftest import run_command
from tests.post_shards import jpeg
from tests.small_repo import commit, make_small_repo
from tests.teacher_corpus import ROOT, make_params, point_at, shorten_pauses
from tests.teacher_server import TeacherServer
from tests.tiny_artifact import write_tiny_artifact

from postbias.cli import main
from postbias.params import SampleParams, load_params
from postbias.paths import Paths
from postbias.posts.importers import append_posts, import_posts, part_writer
from postbias.posts.sampling import sample, sample_posts
from postbias.posts.schema import SAMPLE
from postbias.posts.shards import count_rows, list_shards, read_table
from postbias.scoring.inference import infer
from postbias.teacher.annotate import annotate

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")


def _export(path: Path, first: int, end: int, *, likes: int = 1) -> Path:
    rng = np.random.default_rng(first)
    (path.parent / "image.jpg").write_bytes(jpeg(rng))
    lines = [
        {"post_id": f"p{n:04d}", "author": f"a{n // 4}", "caption": f"post number {n}"}
        | {"images": "image.jpg", "likes": likes}
        for n in range(first, end)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def _append(src: Path, dest: Path) -> None:
    append_posts("table", dest, lambda folder: import_posts("table", src, folder, replace=True))


def test_only_new_posts_are_scored_after_an_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "SHARD_POSTS", 50)
    paths = Paths(tmp_path, tmp_path)
    import_posts("table", _export(tmp_path / "a.jsonl", 0, 200), paths.data)
    write_tiny_artifact(paths.champion)
    assert infer(paths, PARAMS).summary.computed == 200
    before = {path.name: path.read_bytes() for path in list_shards(paths.scores)}
    # Half of the known posts have new likes, which changes no score.
    _append(_export(tmp_path / "b.jsonl", 100, 207, likes=9), paths.data)
    summary = infer(paths, PARAMS).summary
    assert (summary.posts, summary.computed) == (207, 7)
    after = {path.name: path.read_bytes() for path in list_shards(paths.scores)}
    assert after.items() > before.items()
    assert len(after) == len(before) + 1
    fresh = Paths(tmp_path, tmp_path / "fresh")  # without the store of finished shards
    assert infer(fresh, PARAMS).summary.computed == 207
    assert {path.name: path.read_bytes() for path in list_shards(paths.scores)} == after


@pytest.mark.parametrize("n", [None, 80])
def test_the_sample_is_extended_and_only_new_posts_are_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int | None
) -> None:
    shorten_pauses(monkeypatch)
    paths = Paths(tmp_path, tmp_path)
    (tmp_path / "rubrics").symlink_to(ROOT / "rubrics")
    settings = SampleParams(n=n, method="simple", stratify_by=(), max_per_author=None, imports=None)
    import_posts("table", _export(tmp_path / "a.jsonl", 0, 100), paths.data)
    before = _label(paths, settings, monkeypatch, n_requests=(n or 100) + 1)
    _append(_export(tmp_path / "b.jsonl", 90, 110, likes=9), paths.data)
    table, _ = sample_posts(list_shards(paths.posts), settings, 0)
    after = set(table["post_id"].to_pylist())
    new = after - before
    assert new <= {f"p{number:04d}" for number in range(100, 110)}
    assert len(before - after) == (0 if n is None else len(new))
    assert n is not None or len(new) == 10
    assert _label(paths, settings, monkeypatch, n_requests=len(new)) == after


def _label(
    paths: Paths, settings: SampleParams, monkeypatch: pytest.MonkeyPatch, *, n_requests: int
) -> set[str]:
    params = make_params().model_copy(update={"sample": settings, "seed": 0})
    sample(paths, params)
    with TeacherServer() as server:
        point_at(monkeypatch, server)
        summary = annotate(paths, params)
        # A new server address is probed again.
        assert server.stats.requests - n_requests in (0, 1)
    sampled = read_table(paths.sample, SAMPLE)["post_id"].to_pylist()
    assert summary.n_labelled == len(sampled)
    return set(sampled)


@pytest.mark.slow
def test_dvc_scores_only_new_shards_and_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_small_repo(tmp_path / "repo", evaluate__learning_curve=[0.5])
    run_command(repo, "dvc", "repro", "-q", "report")
    commit(repo)
    store = repo / "store" / "scores"
    before = set(store.rglob("*.scores.parquet"))
    population = json.loads((repo / "reports" / "population.json").read_text())
    _append(_export(tmp_path / "b.jsonl", 5000, 5003), repo / "data")
    run_command(repo, "dvc", "add", "-q", "data")
    output = run_command(repo, "dvc", "repro", "report").stdout
    first, second, *others, last = re.findall("Running stage '(.*)'", output)
    assert (first, second, set(others), last) == (
        "sample", "infer", {"cascade", "people"}, "report",
    )  # fmt: skip
    new = set(store.rglob("*.scores.parquet")) - before
    assert count_rows(sorted(new)) == 3
    assert count_rows(list_shards(repo / "build" / "scores")) == 243
    # No estimate covers posts that could not be sampled; their plain mean is reported beside it.
    now = json.loads((repo / "reports" / "population.json").read_text())
    later = now.pop("later_imports")
    assert now == population
    assert (later["posts"], later["scored"], later["authors"]) == (3, 3, 1)
    tables = [read_table(shard) for shard in list_shards(repo / "build" / "scores")]
    rows = [row for table in tables for row in table.to_pylist()]
    appended = [row["bias"] for row in rows if row["post_id"] in {"p5000", "p5001", "p5002"}]
    assert len(appended) == 3
    assert later["uncorrected"]["bias"] == pytest.approx(np.mean(appended), rel=1e-5)
    assert "<strong>3 posts of later imports" in (repo / "build" / "report.html").read_text()
    monkeypatch.chdir(repo)
    compared = CliRunner().invoke(main, ["report-diff"]).stdout
    assert "posts: 240 at HEAD, 240 now\n" in compared
    assert "later posts: 0 at HEAD, 3 now\n" in compared
    assert re.search(r"bias, later posts \(plug-in\) +- +\d\.\d{3}", compared)
