"""Invalid input: a one-line error that says what to do, exit code 1, and no partial output."""

from __future__ import annotations

import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.conftest import ROOT, run_command
from tests.small_corpus import write_small_corpus
from tests.small_repo import SMALL, set_params

from postbias.cli import main
from postbias.errors import StorageError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.sampling import sample
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table
from postbias.posts.split import split
from postbias.teacher.annotate import annotate

Stage = Callable[..., str]


@pytest.fixture
def paths(workspace: Paths) -> Paths:
    """Create a small labelled corpus without any pipeline output."""
    write_small_corpus(workspace.data, 80)
    shutil.copytree(ROOT / "rubrics", workspace.root / "rubrics")
    set_params(workspace.root, SMALL)
    return workspace


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Run a stage script that must fail and return the last line it prints."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"stages/{name}.py", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")
        assert caught.value.code == 1
        output = capsys.readouterr().err
        assert "Traceback" not in output
        last = output.splitlines()[-1]
        stage = f"{name}@{arguments[0]}" if arguments else name
        assert last.startswith(f"{stage}: ")
        return last

    return run


def _params(paths: Paths) -> Params:
    return load_params(paths.params)


def _outputs(paths: Paths) -> list[str]:
    files = [*paths.build.rglob("*"), *paths.reports.rglob("*")]
    return sorted(file.name for file in files if file.is_file())


def _relabel(paths: Paths, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    file = paths.data / "labels.csv"
    change(pd.read_csv(file)).to_csv(file, index=False)


def _rewrite_posts(paths: Paths, column: str, values: list[object]) -> None:
    shard = paths.posts / "posts-00000.parquet"
    table = pq.ParquetFile(shard).read()
    index = table.schema.get_field_index(column)
    table = table.set_column(index, POSTS.field(column), pa.array(values, POSTS.field(column).type))
    write_table(table, shard, POSTS)


def test_all_invalid_params_are_reported_at_once(paths: Paths, failing: Stage) -> None:
    set_params(paths.root, {"train.epoch": 3, "threads": 0, "sample.method": "random"})
    message = failing("sample")
    assert all(
        key in message for key in ("train.epoch", "threads", "sample.method", "docs/params.md")
    )
    assert _outputs(paths) == []


def test_an_empty_corpus_error_says_how_to_get_posts(paths: Paths, failing: Stage) -> None:
    write_table(POSTS.empty_table(), paths.posts / "posts-00000.parquet", POSTS)
    assert "the corpus has no posts" in failing("sample")
    shutil.rmtree(paths.posts)
    assert "postbias import" in failing("sample")
    assert _outputs(paths) == []


def test_a_rubric_without_anchors_is_refused(paths: Paths, failing: Stage) -> None:
    sample(paths, _params(paths))
    before = _outputs(paths)
    rubric = paths.root / "rubrics" / "gender_bias.yaml"
    rubric.write_text(rubric.read_text("utf-8").replace("anchors:", "anchor:"), encoding="utf-8")
    assert "anchors" in failing("annotate")
    assert _outputs(paths) == before


def test_too_few_valid_labels_stop_annotate(paths: Paths, failing: Stage) -> None:
    sample(paths, _params(paths))
    before, labels = _outputs(paths), (paths.data / "labels.csv").read_bytes()
    changes: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
        (lambda frame: frame.head(49), "only 49 of 80"),
        (lambda frame: frame.assign(bias=11.0), "80 out_of_range"),
        (lambda frame: frame.assign(post_id="x" + frame["post_id"]), "80 no_label"),
        (lambda frame: frame.drop(columns="bias"), "lacks columns: bias"),
    ]
    for change, expected in changes:
        _relabel(paths, change)
        sample(paths, _params(paths))
        assert expected in failing("annotate")
        assert _outputs(paths) == before
        (paths.data / "labels.csv").write_bytes(labels)


def test_a_few_invalid_labels_are_rejects_with_reasons(paths: Paths) -> None:
    def invalidate(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, "bias"] = 11.0
        frame.loc[1, "post_id"] = "unknown"
        return frame

    _relabel(paths, invalidate)
    sample(paths, _params(paths))
    summary = annotate(paths, _params(paths))
    assert (summary.n_labelled, summary.rejected) == (78, {"no_label": 1, "out_of_range": 1})
    rejects = pq.ParquetFile(paths.label_rejects).read().to_pylist()
    assert {row["reason"] for row in rejects} == {"no_label", "out_of_range", "unknown_post"}


def test_posts_of_one_author_cannot_be_split(paths: Paths, failing: Stage) -> None:
    _rewrite_posts(paths, "author", ["somebody"] * 80)
    sample(paths, _params(paths))
    annotate(paths, _params(paths))
    before = _outputs(paths)
    assert "all labelled posts have one author" in failing("split")
    assert _outputs(paths) == before


def test_an_image_student_without_images_is_an_error(paths: Paths, failing: Stage) -> None:
    _rewrite_posts(paths, "images", [[]] * 80)
    set_params(paths.root, {"train.modalities": ["image"]})
    for step in (sample, annotate, split):
        step(paths, _params(paths))
    before = _outputs(paths)
    message = failing("train", "image")
    assert "image" in message
    assert "train.modalities" in message
    assert _outputs(paths) == before


def test_a_missing_champion_error_says_how_to_get_one(paths: Paths, failing: Stage) -> None:
    assert "no student in" in failing("infer")
    assert _outputs(paths) == []


def test_a_file_size_limit_is_a_storage_error_and_leaves_no_files(paths: Paths) -> None:
    params = _params(paths)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"posts\.parquet.*free space"):
            sample(paths, params)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert _outputs(paths) == []


@pytest.fixture
def full_disk(paths: Paths) -> Iterator[Path]:
    """Mount a full disk at `build/`."""
    paths.build.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(paths.build)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs permission to mount a small disk")
    try:
        (paths.build / "filler").write_bytes(b"\0" * 16384)
        yield paths.build
    finally:
        subprocess.run(["umount", "--lazy", str(paths.build)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_files(full_disk: Path, failing: Stage) -> None:
    message = failing("sample")
    assert "No space left on device" in message
    assert "free space" in message
    assert [file.name for file in full_disk.rglob("*") if file.is_file()] == ["filler"]


def test_an_invalid_dvc_lock_is_one_line(paths: Paths) -> None:
    run_command(paths.root, "dvc", "init", "-q", "--no-scm")
    (paths.root / "dvc.lock").write_text("schema: '2.0'\nstages: [", encoding="utf-8")
    result = CliRunner().invoke(main, ["sync"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "git checkout dvc.lock" in line
