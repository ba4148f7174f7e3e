"""An exception in a background thread ends the call that waits for it, and nothing is lost."""

from __future__ import annotations

import concurrent.futures
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.post_shards import jpeg, random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

import postbias
from postbias.errors import StorageError
from postbias.params import load_params
from postbias.posts.importers.import_run import import_posts
from postbias.posts.importers.part_writer import BackgroundWriter
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import score_shard


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "artifact"
    write_tiny_artifact(folder)
    return folder


def test_after_a_failed_write_nothing_else_is_written() -> None:
    """The task that records a part as complete must not run if its posts were not written."""
    release, ran = threading.Event(), []

    def fail() -> None:
        release.wait()
        raise StorageError("disk full")

    with BackgroundWriter() as writer:
        writer.submit(fail)
        writer.submit(lambda: ran.append("progress"))
        release.set()
        concurrent.futures.wait(writer._pending)
        writer.clean_up(lambda: ran.append("clean-up"))
        with pytest.raises(StorageError, match="disk full"):
            writer.wait()
    assert ran == ["clean-up"]


def test_an_import_that_could_not_write_loses_no_post_when_it_is_resumed(tmp_path: Path) -> None:
    source, dest = tmp_path / "posts.jsonl", tmp_path / "dest"
    rows = [{"post_id": f"p{i}", "caption": f"caption {i}"} for i in range(50)]
    source.write_text("\n".join(map(json.dumps, rows)))
    blocked = dest / ".import" / "posts"
    blocked.parent.mkdir(parents=True)
    blocked.touch()  # a file where the folder of shards is to be
    with pytest.raises(StorageError, match="cannot write"):
        import_posts("table", source, dest)
    assert not (blocked.parent / "progress.json").exists()
    blocked.unlink()
    assert import_posts("table", source, dest).n_posts == 50


def test_a_failure_in_a_scoring_thread_ends_the_stream(student: Path) -> None:
    broken: Any = object()  # not bytes: the decoder fails, which no image file can make it do
    posts = [postbias.PostInput("fine")] * 2000 + [postbias.PostInput("broken", (broken,))]
    with postbias.load(student, threads=2) as model:
        results = model.score(posts)
        with pytest.raises(TypeError):
            list(results)
        assert model.score("fine").status == "ok"


def test_a_failure_in_a_scoring_thread_ends_the_shard(student: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shard = write_shard(tmp_path / "00000.parquet", random_posts(rng, 100))
    scorer = Scorer.open(student, threads=2)
    scorer.close()  # its threads accept no further work
    with pytest.raises(RuntimeError, match="after shutdown"):
        score_shard(shard, scorer, "digest", batch_size=8, on_progress=lambda _: None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_while_images_are_decoded_is_one_error(tmp_path: Path) -> None:
    from postbias.student.dataset import load_examples

    image = jpeg(np.random.default_rng(0))
    posts = tmp_path / "posts"
    write_shard(posts / "00000.parquet", [("a caption", [image])] * 20)
    labels = {f"00000-{i}": np.zeros(2, np.float32) for i in range(20)}
    train = load_params(ROOT / "params.yaml").train
    with pytest.raises(StorageError, match=r"No space left on device.*TMPDIR"):
        load_examples(posts, labels, None, train, Path("/dev/full"))
