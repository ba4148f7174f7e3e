"""Recorded labels: every row is used, rejected with its reason, or not needed."""

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


def status(found: RecordedLabels) -> dict[str, str]:
    return {label.post_id: label.status for label in found.labels}


def test_a_good_row_becomes_a_label_with_its_reason(tmp_path: Path, one_axis: Rubric) -> None:
    found = read(tmp_path, one_axis, 'post_id,bias,reason\np0,7.5,"two\nlines"\n', "p0")
    (label,) = found.labels
    assert (label.scores, label.sds, label.n_replies) == ((7.5,), (None,), 1)
    assert label.reason == "two\nlines"
    assert label.teacher.startswith("recorded:labels.csv@")
    assert found.rejects == ()


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
def test_a_bad_score_is_a_reject_with_its_reason(
    tmp_path: Path, one_axis: Rubric, value: str, reason: str
) -> None:
    found = read(tmp_path, one_axis, f"post_id,bias\np0,{value}\n", "p0")
    assert status(found) == {"p0": reason}
    assert [(r.source, r.post_id, r.reason) for r in found.rejects] == [
        ("labels.csv:1", "p0", reason)
    ]


def test_what_was_wrong_never_quotes_text_that_may_be_a_caption(
    tmp_path: Path, one_axis: Rubric
) -> None:
    found = read(tmp_path, one_axis, "post_id,bias\np0,my secret caption\n", "p0")
    assert "secret" not in found.rejects[0].detail + found.labels[0].reason


def test_unknown_posts_and_missing_ids_are_rejects_and_other_posts_are_not_needed(
    tmp_path: Path, one_axis: Rubric
) -> None:
    found = read(tmp_path, one_axis, "post_id,bias\np0,1\np5,2\nwho,3\n,4\n", "p0")
    assert status(found) == {"p0": "ok"}
    assert [r.reason for r in found.rejects] == ["unknown_post", "missing_id"]
    assert (found.n_rows, found.n_unneeded) == (4, 1)


def test_the_first_good_row_of_a_post_counts_and_later_ones_are_rejects(
    tmp_path: Path, one_axis: Rubric
) -> None:
    found = read(tmp_path, one_axis, "post_id,bias\np0,99\np0,1\np0,2\n", "p0")
    assert [label.scores for label in found.labels] == [(1.0,)]
    assert [r.reason for r in found.rejects] == ["out_of_range", "duplicate_id"]


def test_a_sampled_post_without_a_row_is_a_reject_not_a_default(
    tmp_path: Path, one_axis: Rubric
) -> None:
    found = read(tmp_path, one_axis, "post_id,bias\np0,1\n")
    assert status(found) == {"p0": "ok", "p1": "no_label", "p2": "no_label"}
    assert [label.scores for label in found.labels if label.status != "ok"] == [(), ()]


def test_long_numeric_ids_survive_in_csv_and_parquet(tmp_path: Path, one_axis: Rubric) -> None:
    long = "1309041812857818435"
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    csv.write_text(f"post_id,bias\n{long},3\n")
    pq.write_table(pa.table({"post_id": [int(long)], "bias": [3]}), parquet)
    for path in (csv, parquet):
        found = read_recorded_labels(path, one_axis, frozenset([long]), frozenset([long]))
        assert status(found) == {long: "ok"}


def test_a_byte_order_mark_and_crlf_are_no_obstacle(tmp_path: Path, one_axis: Rubric) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfpost_id,bias\r\np0,3\r\n")
    assert status(read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)) == {"p0": "ok"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,bias\np0,1\n", "lacks columns: post_id"),
        ("a.csv", "post_id,score\np0,1\n", "lacks columns: bias"),
        ("a.csv", "post_id,bias,bias\np0,1,2\n", "columns twice: bias"),
        ("a.csv", "post_id,bias\np0,1,my caption\n", "cannot be read"),
        ("a.csv", "", "cannot be read"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.xlsx", "", "no known format"),
    ],
)
def test_an_unusable_file_is_one_clear_line(
    tmp_path: Path, one_axis: Rubric, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(LabelsError, match=message) as caught:
        read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)
    assert "my caption" not in str(caught.value)


def test_ids_stored_as_fractions_are_refused(tmp_path: Path, one_axis: Rubric) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"post_id": [1.5e18], "bias": [1.0]}), path)
    with pytest.raises(LabelsError, match="ids as text"):
        read_recorded_labels(path, one_axis, frozenset(["p0"]), CORPUS)


def test_a_missing_file_says_which_parameter_names_it(tmp_path: Path, one_axis: Rubric) -> None:
    with pytest.raises(LabelsError, match=r"annotate\.labels"):
        read_recorded_labels(tmp_path / "a.csv", one_axis, frozenset(["p0"]), CORPUS)
