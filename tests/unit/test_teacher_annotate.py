"""The annotate stage with recorded labels: label table, rejects and report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from tests.post_shards import sample_all_posts

from postbias.errors import LabelsError, ParamsError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import POSTS, REJECTS, SAMPLE, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.teacher.annotate import annotate

ROOT = Path(__file__).resolve().parents[2]
N = 80


def posts(n: int) -> pa.Table:
    rows = [
        {
            "post_id": f"p{i:03}",
            "author": f"a{i % 7}",
            "caption": f"caption {i}",
            "images": [],
            "platform": "test",
            "source": "test",
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=POSTS)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "rubrics").symlink_to(ROOT / "rubrics")
    repository = Paths(tmp_path, tmp_path)
    table = posts(N)
    write_table(table, repository.posts / "0.parquet", POSTS)
    sample_all_posts(repository)
    sample = pa.table(
        {
            "post_id": table["post_id"],
            "author": table["author"],
            "stratum": ["all"] * N,
            "group_size": [1] * N,
            "round": [1] * N,
            "probability": [1.0] * N,
            "weight": [1.0] * N,
        },
        schema=SAMPLE,
    )
    write_table(sample.slice(0, N - 10), repository.sample, SAMPLE)
    return repository


def params(**annotate_group: object) -> Params:
    base = load_params(ROOT / "params.yaml")
    group = {"teacher": "recorded", "rubric": "rubrics/one_axis.yaml", "labels": "labels.csv"}
    return base.model_copy(
        update={"annotate": base.annotate.model_copy(update=group | annotate_group)}
    )


def write_labels(paths: Paths, rows: list[str]) -> None:
    (paths.root / "labels.csv").write_text("post_id,bias\n" + "\n".join(rows) + "\n")


def test_every_sampled_post_gets_one_row_sorted_by_id(paths: Paths) -> None:
    write_labels(paths, [f"p{i:03},{i % 11}" for i in reversed(range(60))] + ["p060,11", "x,1"])
    summary = annotate(paths, params())
    table = read_table(paths.labels, labels_schema(["bias"]))
    assert table["post_id"].to_pylist() == [f"p{i:03}" for i in range(N - 10)]
    assert table["status"].to_pylist() == ["ok"] * 60 + ["out_of_range"] + ["no_label"] * 9
    assert table["bias"].to_pylist()[60:] == [None] * 10
    assert (summary.n_sampled, summary.n_labelled) == (70, 60)
    assert summary.rejected == {"no_label": 9, "out_of_range": 1}
    assert summary.metrics()["n_labelled"] == 60


def test_all_rejects_are_kept_with_reasons_and_counted_in_the_report(paths: Paths) -> None:
    write_labels(paths, [f"p{i:03},{i % 11}" for i in range(75)] + ["ghost,1", "p000,2"])
    annotate(paths, params())
    rejects = read_table(paths.label_rejects, REJECTS).to_pylist()
    assert [(r["post_id"], r["reason"]) for r in rejects] == [
        ("ghost", "unknown_post"),
        ("p000", "duplicate_id"),
    ]
    report = json.loads((paths.reports / "labels.json").read_text())
    assert report["teacher"]["rejects"] == {"duplicate_id": 1, "unknown_post": 1}
    assert report["teacher"]["outside_sample"] == 5
    assert report["n"] == {"labelled": 70, "rejected": 0, "sampled": 70}
    assert [r["post_id"] for r in report["first_rejects"]] == ["ghost", "p000"]


def test_the_same_labels_give_the_same_bytes_in_any_sample_order(paths: Paths) -> None:
    rows = [f"p{i:03},{i % 11}" for i in range(70)]
    # The teacher's name contains the digest of the file, so the sample is reordered instead.
    write_labels(paths, rows)
    annotate(paths, params())
    first = paths.labels.read_bytes()
    sample = read_table(paths.sample, SAMPLE)
    write_table(sample.take(list(reversed(range(70)))), paths.sample, SAMPLE)
    annotate(paths, params())
    assert paths.labels.read_bytes() == first


def test_fewer_than_fifty_labels_stop_the_stage_without_output(paths: Paths) -> None:
    write_labels(paths, [f"p{i:03},{i % 11}" for i in range(49)])
    with pytest.raises(LabelsError, match="only 49 of 70") as caught:
        annotate(paths, params())
    assert "21 no_label" in str(caught.value)
    assert not paths.labels.exists()
    assert not (paths.reports / "labels.json").exists()


def test_recorded_without_a_file_says_what_to_set(paths: Paths) -> None:
    with pytest.raises(ParamsError, match=r"annotate\.labels"):
        annotate(paths, params(labels=None))


def test_labels_unfit_for_a_regression_give_warnings(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    write_labels(paths, [f"p{i:03},{10 if i == 3 else 0}" for i in range(70)])
    annotate(paths, params())
    warnings = json.loads((paths.reports / "labels.json").read_text())["warnings"]
    assert len(warnings) == 2
    assert "99% of the labels are 0" in caplog.text
    assert "2 distinct values" in caplog.text


def test_the_edos_labels_can_be_read_with_the_one_axis_rubric() -> None:
    edos = ROOT.parent / "shared" / "real" / "edos.csv"
    if not edos.exists():
        pytest.skip("the EDOS file is not in ../shared/real")
    from postbias.teacher.recorded_labels import read_recorded_labels
    from postbias.teacher.rubric import load_rubric

    rubric = load_rubric(ROOT / "rubrics" / "one_axis.yaml")
    import pandas as pd

    ids = frozenset(pd.read_csv(edos, dtype=str)["post_id"])
    recorded = read_recorded_labels(edos, rubric, ids, ids)
    assert len(recorded.labels) == len(ids) == 20_000
    assert {label.scores for label in recorded.labels} == {(0.0,), (10.0,)}
    assert recorded.rejects == ()
