"""Recorded labels: each row is used, rejected with a reason, or outside the sample."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postbias.errors import LabelsError
from postbias.teacher.recorded_labels import RecordedLabels, read_recorded_labels
from postbias.teacher.rubric import Rubric, load_rubric

ROOT = Path(__file__).resolve().parents[2]
CORPUS = frozenset(f"p{i}" for i in range(6))


@pytest.fixture
def one_axis() -> Rubric:
    return load_rubric(ROOT / "rubrics" / "one_axis.yaml")


def read(tmp_path: Path, rubric: Rubric, text: str, sampled: str = "p0 p1 p2") -> RecordedLabels:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_recorded_labels(path, rubric, frozenset(sampled.split()), CORPUS)


def statuses(recorded: RecordedLabels) -> dict[str, str]:
    return {label.post_id: label.status for label in recorded.labels}


def test_a_valid_row_becomes_a_label_with_its_reason(tmp_path: Path, one_axis: Rubric) -> None:
    recorded = read(tmp_path, one_axis, 'post_id,bias,reason\np0,7.5,"two\nlines"\n', "p0")
    (label,) = recorded.labels
    assert (label.scores, label.sds, label.n_replies) == ((7.5,), (None,), 1)
    assert label.reason == "two\nlines"
    assert label.teacher.startswith("recorded:labels.csv@")
    assert recorded.rejects == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("10.5", "out_of_range"),
        ("-0.1", "out_of_range"),
        ("nan", "not_a_number"),
        ("inf", "not_a_number"),
        ("8/10", "not_a_number"),
        ('"7,5"', "not_a_number"),
        ("", "no_label"),
        ("  ", "no_label"),
    ],
)
def test_an_invalid_score_is_a_reject_with_its_reason(
    tmp_path: Path, one_axis: Rubric, value: str, reason: str
) -> None:
    recorded = read(tmp_path, one_axis, f"post_id,bias\np0,{value}\n", "p0")
    assert statuses(recorded) == {"p0": reason}
    assert [(r.source, r.post_id, r.reason) for r in recorded.rejects] == [
        ("labels.csv:1", "p0", reason)
    ]


def test_reject_details_never_quote_text_that_may_be_a_caption(
    tmp_path: Path, one_axis: Rubric
) -> None:
    recorded = read(tmp_path, one_axis, "post_id,bias\np0,my secret caption\n", "p0")
    assert "secret" not in recorded.rejects[0].detail + recorded.labels[0].reason


def test_unknown_posts_and_missing_ids_are_rejects_and_posts_outside_the_sample_are_counted(
    tmp_path: Path, one_axis: Rubric
) -> None:
    recorded = read(tmp_path, one_axis, "post_id,bias\np0,1\np5,2\nwho,3\n,4\n", "p0")
    assert statuses(recorded) == {"p0": "ok"}
    assert [r.reason for r in recorded.rejects] == ["unknown_post", "missing_id"]
    assert (recorded.n_rows, recorded.n_outside_sample) == (4, 1)


def test_the_first_valid_row_of_a_post_counts_and_later_rows_are_rejects(
    tmp_path: Path, one_axis: Rubric
) -> None:
    recorded = read(tmp_path, one_axis, "post_id,bias\np0,99\np0,1\np0,2\n", "p0")
    assert [label.scores for label in recorded.labels] == [(1.0,)]
    assert [r.reason for r in recorded.rejects] == ["out_of_range", "duplicate_id"]


def test_a_sampled_post_without_a_row_is_a_reject_not_a_default(
    tmp_path: Path, one_axis: Rubric
) -> None:
    recorded = read(tmp_path, one_axis, "post_id,bias\np0,1\n")
    assert statuses(recorded) == {"p0": "ok", "p1": "no_label", "p2": "no_label"}
    assert [label.scores for label in recorded.labels if label.status != "ok"] == [(), ()]


def test_long_numeric_ids_survive_in_csv_and_parquet(tmp_path: Path, one_axis: Rubric) -> None:
    long = "1309041812857818435"
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    csv.write_text(f"post_id,bias\n{long},3\n")
    pq.write_table(pa.table({"post_id": [int(long)], "bias": [3]}), parquet)
    for path in (csv, parquet):
        recorded = read_recorded_labels(path, one_axis, frozenset([long]), frozenset([long]))
        assert statuses(recorded) == {long: "ok"}


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path: Path, one_axis: Rubric) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfpost_id,bias\r\np0,3\r\n")
    assert statuses(read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)) == {"p0": "ok"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,bias\np0,1\n", "lacks columns: post_id"),
        ("a.csv", "post_id,score\np0,1\n", "lacks columns: bias"),
        ("a.csv", "post_id,bias,bias\np0,1,2\n", "repeated columns: bias"),
        ("a.csv", "post_id,bias\np0,1,my caption\n", "cannot be read"),
        ("a.csv", "", "cannot be read"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.xlsx", "", "unknown label format"),
    ],
)
def test_an_unusable_file_gives_one_line_that_quotes_no_caption(
    tmp_path: Path, one_axis: Rubric, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(LabelsError, match=message) as caught:
        read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)
    assert "my caption" not in str(caught.value)


def test_floating_point_ids_are_refused(tmp_path: Path, one_axis: Rubric) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"post_id": [1.5e18], "bias": [1.0]}), path)
    with pytest.raises(LabelsError, match="ids as text"):
        read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)


def test_a_missing_file_names_the_parameter_to_set(tmp_path: Path, one_axis: Rubric) -> None:
    with pytest.raises(LabelsError, match=r"annotate\.labels"):
        read_recorded_labels(tmp_path / "a.csv", one_axis, frozenset(["p0"]), CORPUS)
