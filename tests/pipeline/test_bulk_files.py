"""`postbias score` and `score-one` as a user runs them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.killed_scoring import kill_after_shards
from tests.post_shards import jpeg, random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table

AXES = ("bias", "orientation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    write_tiny_artifact(folder / "student")
    posts = [*random_posts(rng, 29), ("", []), *random_posts(rng, 20)]
    write_shard(folder / "shards" / "00000.parquet", posts[:30])
    write_shard(folder / "shards" / "00001.parquet", posts[30:])
    (folder / "image.jpg").write_bytes(jpeg(rng))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "images"])
        table.writerows([[1, "hello", "image.jpg"], [2, "", ""], [3, "girls", ""]])
        table.writerow([1, "an id that was there", ""])
    return folder


def postbias(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from postbias.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )


def score(folder: Path, *arguments: object) -> str:
    done = postbias(folder, "score", *arguments, "--model", "student", "--threads", 2)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shards_are_scored_to_a_folder_a_parquet_or_a_csv_file_with_the_same_rows(
    folder: Path,
) -> None:
    output = score(folder, "shards", "out")
    assert "of 50 posts" in output
    shards = sorted((folder / "out").iterdir())
    assert [shard.name for shard in shards] == ["00000.parquet", "00001.parquet"]
    ids = [i for shard in shards for i in read_table(shard)["post_id"].to_pylist()]
    score(folder, "shards", "out.parquet")
    assert read_table(folder / "out.parquet", scores_schema(AXES))["post_id"].to_pylist() == ids
    score(folder, "shards", "out.csv")
    with (folder / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["post_id"] for row in rows] == ids
    rejected = read_table(folder / "out.rejects.parquet", REJECTS)
    assert len(rejected) == sum(row["status"] != "ok" for row in rows) > 0
    assert not list(folder.glob(".*partial"))


def test_a_single_shard_can_be_scored(folder: Path) -> None:
    score(folder, "shards/00001.parquet", "one.parquet")
    assert len(read_table(folder / "one.parquet")) == 20


def test_a_table_is_imported_first_and_its_rejects_are_kept(folder: Path) -> None:
    score(
        folder,
        "table.csv",
        "table.parquet",
        "--column",
        "post_id=id",
        "--column",
        "caption=text",
    )
    rows = read_table(folder / "table.parquet").to_pylist()
    assert [(row["post_id"], row["status"], row["modalities"]) for row in rows] == [
        ("1", "ok", "image+text"), ("2", "no_content", None), ("3", "ok", "text")
    ]  # fmt: skip
    rejects = read_table(folder / "table.rejects.parquet", REJECTS).to_pylist()
    assert {(row["post_id"], row["stage"], row["reason"]) for row in rejects} == {
        ("1", "import", "duplicate_id"), ("2", "score", "no_content")
    }  # fmt: skip


def test_a_killed_command_resumes_when_it_is_run_again(folder: Path) -> None:
    rng = np.random.default_rng(7)
    for number in range(12):
        write_shard(folder / "many" / f"{number:05d}.parquet", random_posts(rng, 60))
    score(folder, "many", "whole")
    kill_after_shards(3, folder, "score", "many", "broken", "--model", "student")
    assert not (folder / "broken").exists()
    store = folder / ".broken.partial" / "store"
    assert len(list(store.rglob("*.scores.parquet"))) == 3
    score(folder, "many", "broken")
    for shard in (folder / "whole").iterdir():
        assert shard.read_bytes() == (folder / "broken" / shard.name).read_bytes()
    assert not list(folder.glob(".*partial"))


@pytest.mark.parametrize(
    ("source", "output", "fault"),
    [
        ("nowhere", "x.csv", "no such file or folder; saw 'nowhere'"),
        ("shards", "x.xlsx", "the kind of OUT is unknown; saw 'x.xlsx'"),
        ("image.jpg", "x.csv", "the kind of image.jpg is unknown"),
        ("student", "x.csv", "no post shards in student, and no export"),
        ("shards", "student", "student contains files other than scores"),
        ("shards", "shards", "OUT is the same as INPUT"),
        ("shards/00000.parquet", "shards/00000.parquet", "OUT is the same as INPUT"),
        ("shards", "foreign", "foreign contains files other than scores; saw '00000.parquet'"),
        ("shards", "damaged", "damaged contains files other than scores; saw '00000.parquet'"),
        ("damaged", "x.csv", "damaged/00000.parquet cannot be read as Parquet"),
        ("damaged/00000.parquet", "x.csv", "damaged/00000.parquet cannot be read as Parquet"),
        ("shards", "table.csv/x.csv", "cannot write"),
    ],
)
def test_invalid_arguments_give_one_line_and_destroy_nothing(
    folder: Path, source: str, output: str, fault: str
) -> None:
    foreign = folder / "foreign" / "00000.parquet"
    if not foreign.exists():
        write_shard(foreign, [("keep me", [])])
    damaged = folder / "damaged" / "00000.parquet"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(foreign.read_bytes()[:100])
    done = postbias(folder, "score", source, output, "--model", "student")
    assert done.returncode == 1
    assert fault in done.stderr
    assert done.stderr.count("\n") == 1
    assert pq.read_table(foreign)["caption"].to_pylist() == ["keep me"]
    assert damaged.stat().st_size == 100
    assert (folder / "student" / "student.json").exists()


def test_one_post_is_printed_as_a_table_or_as_json(folder: Path) -> None:
    post = ("score-one", "--model", "student", "--caption", "hello", "--image", "image.jpg")
    table = postbias(folder, *post)
    assert table.returncode == 0
    assert table.stdout.splitlines()[0].split() == ["axis", "score", "interval"]
    assert "image+text, 1 image(s) read" in table.stdout
    answer = json.loads(postbias(folder, *post, "--json").stdout)
    assert answer["status"] == "ok"
    assert answer["bias_lo"] <= answer["bias"] <= answer["bias_hi"]


def test_a_post_that_cannot_be_scored_gives_the_reason_and_exit_code_1(folder: Path) -> None:
    done = postbias(folder, "score-one", "--model", "student")
    assert (done.returncode, done.stdout) == (
        1,
        "not scored: no_content (no caption and no image)\n",
    )
    done = postbias(folder, "score-one", "--model", "student", "--image", "nowhere.jpg")
    assert done.returncode == 1
    assert done.stderr == "postbias: cannot read the image file nowhere.jpg\n"
