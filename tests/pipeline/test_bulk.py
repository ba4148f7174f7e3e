"""Bulk scoring with real files and processes: no post lost or scored twice, the same bytes."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.post_shards import random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import CountsError, StorageError
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table
from postbias.scoring.bulk import BulkSummary, ScoreOutputs, score_shards
from postbias.scoring.scorer import OK, PostInput, Scorer

AXES = ("bias", "orientation")

# Kills itself at the n-th change of a file or folder under the root (0: never), and prints how many
# there were. On disk, a run killed while it computes looks like one killed at the next change.
_RUN = """
import os, signal, sys
from pathlib import Path
from postbias.posts.shards import list_shards
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.scorer import Scorer
posts, student, root = map(Path, sys.argv[1:4])
kill_at, n_changes = int(sys.argv[4]), 0

def count_changes(event, args):
    global n_changes
    is_write = event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir"} or (
        event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))
    if is_write and str(args[0]).startswith(str(root)):
        n_changes += 1
        if n_changes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count_changes)
to = ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")
with Scorer.open(student, threads=2) as scorer:
    score_shards(list_shards(posts), scorer, to, batch_size=8)
print(n_changes)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for number, count in enumerate([300, 0, 40, 120]):
        write_shard(folder / "posts" / f"{number:05d}.parquet", random_posts(rng, count))
    write_tiny_artifact(folder / "student", by_language=True)
    return folder


def run_bulk(corpus: Path, root: Path, *, threads: int = 2, batch_size: int = 16) -> BulkSummary:
    to = ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")
    shards = sorted((corpus / "posts").glob("*.parquet"))
    with Scorer.open(corpus / "student", threads=threads) as scorer:
        return score_shards(shards, scorer, to, batch_size=batch_size)


def outputs(root: Path) -> dict[str, str]:
    files = [*sorted((root / "scores").iterdir()), root / "rejects.parquet"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("whole")
    run_bulk(corpus, root)
    return outputs(root)


def test_every_post_has_one_row_in_input_order_and_every_reject_a_reason(
    corpus: Path, tmp_path: Path
) -> None:
    summary = run_bulk(corpus, tmp_path)
    n_rejected = 0
    for shard in sorted((corpus / "posts").iterdir()):
        posts = read_table(shard)
        scores = read_table(tmp_path / "scores" / shard.name, scores_schema(AXES))
        for column in ("post_id", "author", "sponsored", "posted_at"):
            assert scores[column].equals(posts[column])
        is_ok = np.array(scores["status"].to_pylist(), object) == OK
        for axis in AXES:
            assert (~scores[axis].is_null().to_numpy() == is_ok).all()
        n_rejected += int((~is_ok).sum())
    rejects = read_table(tmp_path / "rejects.parquet", REJECTS)
    assert len(rejects) == n_rejected == summary.posts - summary.scored > 0
    assert set(rejects["reason"].to_pylist()) == {"no_content", "unreadable"}
    assert summary.posts == 460
    assert summary.computed == 460
    assert sum(summary.by_band.values()) == summary.scored


def test_bulk_rows_equal_the_results_of_the_scorer(corpus: Path, tmp_path: Path) -> None:
    run_bulk(corpus, tmp_path)
    shard = corpus / "posts" / "00002.parquet"
    rows = read_table(tmp_path / "scores" / shard.name).to_pylist()
    posts = [
        PostInput(post["caption"], tuple(image["bytes"] for image in post["images"]))
        for post in read_table(shard).to_pylist()
    ]
    with Scorer.open(corpus / "student") as scorer:
        for row, result in zip(rows, scorer.score(posts), strict=True):
            assert (row["status"], row["band"], row["n_images"], row["modalities"]) == (
                result.status, result.band, result.n_images, result.modalities
            )  # fmt: skip
            if result.status == OK:
                seen = [row["bias"], row["bias_lo"], row["bias_hi"]]
                assert seen == [float(end) for end in np.float32(result.scores["bias"])]
            assert row["champion"] == scorer.artifact.digest


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (3, 7), (2, 1000)])
def test_threads_and_batch_size_do_not_change_the_bytes(
    corpus: Path, tmp_path: Path, uninterrupted: dict[str, str], threads: int, batch_size: int
) -> None:
    run_bulk(corpus, tmp_path, threads=threads, batch_size=batch_size)
    assert outputs(tmp_path) == uninterrupted


def test_a_run_killed_at_any_moment_resumes_to_the_same_bytes(
    corpus: Path, tmp_path: Path, uninterrupted: dict[str, str]
) -> None:
    def run(root: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _RUN, corpus / "posts", corpus / "student", root]
        return subprocess.run([*command, str(kill_at)], capture_output=True, text=True, check=False)

    whole = run(tmp_path / "whole", 0)
    assert outputs(tmp_path / "whole") == uninterrupted, whole.stderr
    n_kills = 5
    n_changes = int(whole.stdout)
    assert n_changes >= 20
    # Evenly spaced, from the first change to the last.
    computed = []
    for kill_at in np.linspace(1, n_changes, n_kills).astype(int).tolist():
        root = tmp_path / str(kill_at)
        assert run(root, kill_at).returncode == -signal.SIGKILL
        computed.append(run_bulk(corpus, root).computed)
        assert outputs(root) == uninterrupted
    assert computed == sorted(computed, reverse=True)
    assert (computed[0], computed[-1]) == (460, 0)


def test_finished_shards_are_not_computed_again(
    corpus: Path, tmp_path: Path, uninterrupted: dict[str, str]
) -> None:
    first = run_bulk(corpus, tmp_path)
    again = run_bulk(corpus, tmp_path)
    assert (first.computed, again.computed) == (460, 0)
    assert again == first
    assert first.report() == again.report()
    assert again.posts_per_s is None
    assert "posts_per_s" not in again.metrics()
    (tmp_path / "scores" / "00000.parquet").unlink()
    assert run_bulk(corpus, tmp_path).computed == 0
    assert outputs(tmp_path) == uninterrupted


def test_another_student_or_precision_never_reuses_stale_results(
    corpus: Path, tmp_path: Path
) -> None:
    to = ScoreOutputs(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    shards = sorted((corpus / "posts").glob("*.parquet"))
    write_tiny_artifact(tmp_path / "other", seed=1)
    means = []
    for student, precision in (
        (corpus / "student", "int8"),
        (corpus / "student", "fp32"),
        (tmp_path / "other", "int8"),
    ):
        with Scorer.open(student, precision=precision) as scorer:  # type: ignore[arg-type]
            summary = score_shards(shards, scorer, to, batch_size=50)
        assert summary.computed == 460
        means.append(summary.means["bias"])
    assert len(set(means)) == 3


def test_only_the_changed_shard_is_scored_again(corpus: Path, tmp_path: Path) -> None:
    posts = tmp_path / "posts"
    rng = np.random.default_rng(1)
    shards = [write_shard(posts / f"{n}.parquet", random_posts(rng, 20)) for n in range(3)]
    to = ScoreOutputs(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    with Scorer.open(corpus / "student") as scorer:
        score_shards(shards, scorer, to, batch_size=8)
        write_shard(shards[1], random_posts(rng, 25))
        summary = score_shards(shards, scorer, to, batch_size=8)
    assert (summary.posts, summary.computed) == (65, 25)


def test_a_store_that_lost_rows_is_an_error_and_not_a_shorter_output(
    corpus: Path, tmp_path: Path
) -> None:
    run_bulk(corpus, tmp_path)
    entry = max((tmp_path / "store").rglob("*.scores.parquet"), key=lambda p: p.stat().st_size)
    table = pq.read_table(entry)
    pq.write_table(table.slice(1), entry)
    with pytest.raises(CountsError, match="not those of the posts"):
        run_bulk(corpus, tmp_path)


def test_a_shard_without_posts_gives_a_shard_without_scores(corpus: Path, tmp_path: Path) -> None:
    run_bulk(corpus, tmp_path)
    empty = read_table(tmp_path / "scores" / "00001.parquet", scores_schema(AXES))
    assert empty.equals(scores_schema(AXES).empty_table())


def test_an_unwritable_output_is_one_clear_error(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file where a folder should be")
    (tmp_path / "store").write_text("likewise")
    with pytest.raises(StorageError, match="cannot write"):
        run_bulk(corpus, tmp_path)


def test_a_text_student_reads_no_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shard = write_shard(tmp_path / "posts" / "0.parquet", random_posts(rng, 10))
    table = read_table(shard)
    broken = table.set_column(
        table.schema.get_field_index("images"),
        table.schema.field("images"),
        pa.array([[{"bytes": None, "path": None}]] * 10, table.schema.field("images").type),
    )
    pq.write_table(broken, shard)
    write_tiny_artifact(tmp_path / "student", "text")
    to = ScoreOutputs(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    with Scorer.open(tmp_path / "student") as scorer:
        summary = score_shards([shard], scorer, to, batch_size=4)
    assert set(summary.by_status) <= {OK, "no_content"}
    assert set(summary.by_modalities) == {"text"}
