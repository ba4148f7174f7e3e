"""Posts and scores in an object store: a real S3 server (moto) over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs
from tests.killed_scoring import kill_after_shards
from tests.pipeline.servers import s3_bucket
from tests.post_shards import random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import InputError, StorageError
from postbias.posts.remote_files import AnyPath, ObjectPath, parse_path
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import count_rows, iter_posts, read_table
from postbias.scoring.bulk import BulkSummary, LocalBackend
from postbias.scoring.file_scoring import COMPLETE, ScoringJob, score_files
from postbias.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    with s3_bucket("posts-and-scores") as url:
        yield parse_path(f"{url}/a folder")  # type: ignore[misc]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, bucket: ObjectPath) -> Path:
    folder = tmp_path_factory.mktemp("local")
    write_tiny_artifact(folder / "student")
    rng = np.random.default_rng(0)
    for number, count in enumerate([150, 0, 40, 60]):
        shard = write_shard(folder / "shards" / f"{number:05d}.parquet", random_posts(rng, count))
        (bucket / "shards" / shard.name).upload(shard)
    score(folder, folder / "shards", folder / "whole")
    return folder


def score(local: Path, source: AnyPath, output: AnyPath) -> BulkSummary:
    with Scorer.open(local / "student", threads=2) as scorer:
        return score_files(ScoringJob(source, output), LocalBackend(scorer, batch_size=32))


def contents(folder: AnyPath) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(read(file)).hexdigest()
        for file in folder.iterdir()
        if file.name != COMPLETE
    }


def read(file: AnyPath) -> bytes:
    if isinstance(file, Path):
        return file.read_bytes()
    with file.open() as opened:
        return bytes(opened.read())


def test_shards_in_a_bucket_are_scored_to_the_same_bytes_as_local_ones(
    local: Path, bucket: ObjectPath
) -> None:
    out = bucket / "out"
    assert score(local, bucket / "shards", out).posts == 250
    assert contents(out) == contents(local / "whole")
    assert read(out / COMPLETE) == b""
    rejects = out.with_name("out.rejects.parquet")
    assert read(rejects) == read(local / "whole.rejects.parquet")
    assert len(read_table(rejects, REJECTS)) > 0
    assert not out.with_name(".out.partial").exists()


def test_a_second_run_replaces_all_objects_of_the_first(local: Path, bucket: ObjectPath) -> None:
    out = bucket / "twice"
    score(local, bucket / "shards" / "00000.parquet", out)
    score(local, bucket / "shards" / "00002.parquet", out)
    assert [file.name for file in out.iterdir()] == ["00002.parquet", COMPLETE]


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_a_table_in_a_bucket_is_scored_to_one_file_in_the_bucket(
    local: Path, bucket: ObjectPath, name: str, tmp_path: Path
) -> None:
    table = tmp_path / "posts.jsonl"
    rows = [{"post_id": str(n), "caption": "girl" * n} for n in range(20)]
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (bucket / table.name).upload(table)
    assert score(local, bucket / table.name, bucket / name).posts == 20
    score(local, table, tmp_path / name)
    assert read(bucket / name) == (tmp_path / name).read_bytes()


def test_a_killed_command_resumes_from_the_scores_in_the_bucket(
    local: Path, bucket: ObjectPath
) -> None:
    out, rng = bucket / "killed", np.random.default_rng(1)
    for number in range(8):
        shard = write_shard(local / "many" / f"{number}.parquet", random_posts(rng, 80))
        (bucket / "many" / shard.name).upload(shard)
    score(local, local / "many", local / "many whole")
    arguments = ("score", str(bucket / "many"), str(out), "--model", "student", "--threads", "1")
    kill_after_shards(3, local, *arguments)
    assert not (out / COMPLETE).exists()
    assert len(finished(out)) == 3
    summary = score(local, bucket / "many", out)
    assert (summary.posts, summary.computed) == (640, 640 - 80 * 3)
    assert contents(out) == contents(local / "many whole")


def finished(out: ObjectPath) -> list[str]:
    """List the finished score shards of an unfinished run."""
    store, key = fs.FileSystem.from_uri(out.url.replace(" ", "%20"))
    partial = key.removesuffix(out.name) + f".{out.name}.partial"
    found = store.get_file_info(fs.FileSelector(partial, allow_not_found=True, recursive=True))
    return [info.path for info in found if info.path.endswith(".scores.parquet")]


def test_batches_from_a_bucket_equal_batches_from_a_disk(local: Path, bucket: ObjectPath) -> None:
    local_shard, remote_shard = (
        local / "shards" / "00000.parquet",
        bucket / "shards" / "00000.parquet",
    )
    assert count_rows([remote_shard]) == count_rows([local_shard]) == 150
    batches = [list(iter_posts([shard], POSTS.names, 32)) for shard in (local_shard, remote_shard)]
    assert batches[0] == batches[1]


def test_changed_content_under_the_same_name_changes_the_digest(
    local: Path, bucket: ObjectPath
) -> None:
    digests = []
    for name in ("00000.parquet", "00002.parquet", "00000.parquet"):
        (bucket / "changing").upload(local / "shards" / name)
        digests.append((bucket / "changing").digest())
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ftp://host/x", "unsupported kind of URL; saw 'ftp://'"),
        ("s3://bucket", "this URL names no object; saw 's3://bucket'"),
        ("s3://bucket/x?region=y", "names no object"),
        ("s3://[bucket/x", "a URL is not valid; allowed: s3://BUCKET/PREFIX"),
    ],
)
def test_a_url_that_names_no_object_is_refused(text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault.replace("?", r"\?")):
        parse_path(text)


def test_credentials_in_a_url_are_refused_and_not_printed() -> None:
    with pytest.raises(InputError, match="a URL contains credentials") as caught:
        parse_path("s3://me:secret@bucket/x")
    assert "secret" not in str(caught.value)


def test_missing_or_foreign_objects_are_one_line_and_change_nothing(
    local: Path, bucket: ObjectPath
) -> None:
    with pytest.raises(InputError, match="no such file or folder; saw 's3://"):
        score(local, bucket / "nowhere", local / "x")
    foreign = bucket / "foreign" / "00000.parquet"
    foreign.upload(local / "shards" / "00000.parquet")
    with pytest.raises(InputError, match="contains files other than scores; saw '00000"):
        score(local, bucket / "shards", bucket / "foreign")
    assert foreign.is_file()
    with pytest.raises(InputError, match="OUT is the same as INPUT"):
        score(local, foreign, foreign)
    with pytest.raises(StorageError, match="cannot write s3://no-such-bucket/x"):
        parse_path("s3://no-such-bucket/x").upload(local / "shards" / "00000.parquet")  # type: ignore[union-attr]
