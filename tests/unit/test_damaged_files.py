"""A damaged file of the user or of an earlier run is one clear error, or is written again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.post_shards import write_shard
from tests.teacher_corpus import ROOT, make_params
from tests.tiny_artifact import write_tiny_artifact
from tests.unit.test_embedding import embedder, make_examples
from tests.unit.test_export import small_student

from postbias.errors import InputError, SchemaError
from postbias.paths import Paths
from postbias.posts.shards import count_rows
from postbias.report.findings import read_import_summary
from postbias.scoring.bulk import LocalBackend, ScoreOutputs, score_with_backend
from postbias.scoring.scorer import Scorer
from postbias.teacher.prompts import iter_label_requests
from postbias.teacher.rubric import load_rubric
from postbias.teacher.store_maintenance import delete_posts
from postbias.tracking.run_logging import log_test_metrics

NOT_PARQUET = b"PAR1 a download that was cut off"


def read_requests(shard: Path) -> None:
    params = make_params().annotate.endpoint
    rubric = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
    list(iter_label_requests(shard.parent, frozenset({"00000-0"}), rubric, params))


@pytest.mark.parametrize("read", [lambda shard: count_rows([shard]), read_requests])
@pytest.mark.parametrize("size", [0, 20, 2000])
def test_a_damaged_shard_is_an_error_that_names_it(
    tmp_path: Path, read: Callable[[Path], object], size: int
) -> None:
    shard = write_shard(tmp_path / "00000.parquet", [("a caption", [])])
    read(shard)
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(SchemaError, match=r"00000\.parquet is damaged"):
        read(shard)


def test_posts_are_not_deleted_from_damaged_labels_in_silence(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    paths.labels.parent.mkdir(parents=True)
    paths.labels.write_bytes(NOT_PARQUET)
    with pytest.raises(SchemaError, match="cannot be read as Parquet"):
        delete_posts(paths, ["p1"])


def test_deleting_a_post_also_deletes_damaged_score_shards_that_may_hold_it(
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path, tmp_path)
    folder = paths.store / "scores" / "student"
    folder.mkdir(parents=True)
    (folder / "aa.scores.parquet").write_bytes(NOT_PARQUET)
    pq.write_table(pa.table({"post_id": ["p1", "p2"]}), folder / "bb.scores.parquet")
    pq.write_table(pa.table({"post_id": ["p2"]}), folder / "cc.scores.parquet")
    pq.write_table(pa.table({"other": ["p1"]}), folder / "dd.scores.parquet")
    delete_posts(paths, ["p1"])
    assert sorted(f.name for f in folder.iterdir()) == ["cc.scores.parquet", "dd.scores.parquet"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"posts": "\udc80"}'])
def test_a_damaged_summary_of_the_import_is_one_line(tmp_path: Path, text: str) -> None:
    paths = Paths(tmp_path, tmp_path)
    assert read_import_summary(paths) == {}
    paths.data.mkdir()
    (paths.data / "import.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"summary of the import cannot be read.*import again"):
        read_import_summary(paths)


def test_a_damaged_report_of_the_evaluation_is_one_line(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    paths.reports.mkdir()
    (paths.reports / "evaluate.json").write_text("{")
    with pytest.raises(InputError, match=r"evaluate\.json"):
        log_test_metrics(paths)


def test_damaged_embeddings_are_computed_again(tmp_path: Path) -> None:
    student, examples = small_student().eval(), make_examples()
    rows = examples.usable_rows("text")
    first = embedder(student, tmp_path).embed(examples, rows)
    files = sorted(tmp_path.rglob("*.parquet"))
    for file in files:
        file.write_bytes(NOT_PARQUET)
    again = embedder(student, tmp_path).embed(examples, rows)
    assert all((again[name] == first[name]).all() for name in first)
    assert all(pq.read_metadata(file).num_rows for file in files)


@pytest.mark.parametrize("name", ["scores", "rejects"])
def test_deleting_a_damaged_file_of_the_score_store_repairs_it(tmp_path: Path, name: str) -> None:
    shard = write_shard(tmp_path / "00000.parquet", [("a caption", []), ("another", [])])
    model = write_tiny_artifact(tmp_path / "student", "text")
    outputs = ScoreOutputs(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    with Scorer.open(model.folder) as scorer:
        backend = LocalBackend(scorer, batch_size=4)
        score_with_backend([shard], backend, outputs)
        (damaged,) = (tmp_path / "store").rglob(f"*.{name}.parquet")
        whole = damaged.read_bytes()
        damaged.write_bytes(NOT_PARQUET)
        with pytest.raises(SchemaError, match="delete this file and run again") as caught:
            score_with_backend([shard], backend, outputs)
        assert str(damaged) in str(caught.value)
        damaged.unlink()
        score_with_backend([shard], backend, outputs)
    assert damaged.read_bytes() == whole
