"""The record of a stage in DVC, and the metrics and curves of its files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from postbias.errors import TrackingError
from postbias.paths import Paths
from postbias.tracking.dvc_records import (
    StageRecord,
    current_record,
    locked_records,
    recorded_curves,
    recorded_metrics,
)

RECORD = StageRecord(
    name="train@text",
    deps={"data": "1.dir"},
    outs={"build/a": "2.dir", "reports/a.json": "3", "reports/curves": "4.dir"},
    params={"seed": 1},
    metrics=("reports/a.json",),
    plots=("reports/curves",),
    intact=frozenset({"build/a", "reports/a.json", "reports/curves"}),
)


def _write(paths: Paths) -> None:
    (paths.reports / "curves").mkdir(parents=True)
    report = {"valid": {"bias": {"mae": {"value": 1.5, "lo": 1, "hi": None}}}, "ok": True, "x": "y"}
    (paths.reports / "a.json").write_text(json.dumps(report), encoding="utf-8")
    curve = "epoch,train.loss,valid.loss\n1.0,2.5,\n2.0,1.5,1.25\n"
    (paths.reports / "curves" / "text.csv").write_text(curve, encoding="utf-8")
    (paths.reports / "curves" / "other.csv").write_text("name,count\na,1\n", encoding="utf-8")
    (paths.reports / "curves" / "empty.csv").write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "train@image"},
        {"deps": {"data": "9.dir"}},
        {"outs": {"build/a": "9.dir"}},
        {"params": {"seed": 2}},
    ],
)
def test_a_changed_record_has_another_identity(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECORD, **change).identity != RECORD.identity  # type: ignore[arg-type]


def test_the_state_of_the_files_does_not_change_the_identity() -> None:
    assert dataclasses.replace(RECORD, intact=frozenset()).identity == RECORD.identity


def test_numbers_are_named_by_their_path_without_value(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    _write(paths)
    expected = {"valid.bias.mae": 1.5, "valid.bias.mae.lo": 1.0, "ok": 1.0}
    assert recorded_metrics(paths, RECORD) == expected


def test_curves_are_csv_files_by_epoch(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    _write(paths)
    expected = {"train.loss": [(1, 2.5), (2, 1.5)], "valid.loss": [(2, 1.25)]}
    assert recorded_curves(paths, RECORD) == expected


def test_evaluations_within_epochs_are_numbered(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    _write(paths)
    for epochs, steps in (("0.5 1.0 1.5", [1, 2, 3]), ("0.0 0.5 1.0", [0, 1, 2])):
        rows = "".join(f"{epoch},2.0\n" for epoch in epochs.split())
        curve = paths.reports / "curves" / "text.csv"
        curve.write_text(f"epoch,valid.loss\n{rows}")
        assert recorded_curves(paths, RECORD) == {"valid.loss": [(step, 2.0) for step in steps]}


def test_files_that_differ_from_their_record_are_not_read(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    _write(paths)
    changed = dataclasses.replace(RECORD, intact=frozenset())
    assert recorded_metrics(paths, changed) == {}
    assert recorded_curves(paths, changed) == {}


def test_outside_dvc_there_is_no_record(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    assert current_record(paths, "train@text") is None
    with pytest.raises(TrackingError, match="DVC cannot read"):
        locked_records(paths)
