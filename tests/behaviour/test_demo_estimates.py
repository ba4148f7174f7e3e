"""The intervals of the report contain the ground truth of the demo corpus.

Reads the outputs of the pipeline; skipped before `make repro` and for another corpus.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.conftest import ROOT

from postbias.demo.ground_truth import AXES, BRANDS, simulate_teacher

_TRUTH = ROOT / "data" / "truth.parquet"
_REPORTS = ROOT / "reports"
_HIGH = 6.5

pytestmark = pytest.mark.skipif(
    not (_TRUTH.is_file() and (_REPORTS / "population.json").is_file()),
    reason="needs the demo corpus and a pipeline that has run (make repro)",
)


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return {name: column.to_numpy() for name, column in zip(*_columns(), strict=True)}


def _columns() -> tuple[list[str], list[Any]]:
    table = pq.read_table(_TRUTH, columns=[*AXES, "sponsored", "brand"])
    return table.column_names, table.columns


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_REPORTS / name).read_text(encoding="utf-8"))
    return found


def _contains(estimate: dict[str, float], value: float) -> bool:
    return estimate["lo"] <= value <= estimate["hi"]


def test_intervals_contain_the_true_mean_of_all_and_of_sponsored_posts(
    truth: dict[str, np.ndarray],
) -> None:
    estimates = _read("population.json")
    assert _contains(estimates["all"]["bias"], float(truth["bias"].mean()))
    paid = estimates["groups"]["sponsored"]["sponsored"]
    assert _contains(paid["bias"], float(truth["bias"][truth["sponsored"]].mean()))


def test_intervals_contain_the_true_means_of_the_five_largest_brands(
    truth: dict[str, np.ndarray],
) -> None:
    largest = _read("brands.json")["brands"][:5]
    names = [row["brand"].casefold().replace(" ", "") for row in largest]
    assert sorted(names) == sorted(BRANDS[:5])
    for row, name in zip(largest, names, strict=True):
        brand = BRANDS.index(name)
        true_value = float(truth["bias"][truth["brand"] == brand].mean())
        assert _contains(row["bias"], true_value), row["brand"]


def test_the_interval_of_the_corrected_high_share_contains_the_truth_and_the_plug_in_share_is_off(
    truth: dict[str, np.ndarray],
) -> None:
    high = _read("population.json")["all"]["share_high"]
    # The share that the teacher would call high, had it been asked about every post.
    rng = np.random.default_rng(0)
    scores = {axis: truth[axis] for axis in AXES}
    asked = [simulate_teacher(scores, rng)["bias"] >= _HIGH for _ in range(40)]
    true_value = float(np.mean(asked))
    assert _contains(high, true_value)
    assert not _contains(high["uncorrected_error"], 0)
    assert _contains(high["uncorrected_error"], high["uncorrected"] - true_value)
    assert abs(high["uncorrected"] - true_value) > 2 * abs(high["value"] - true_value)


def test_plug_in_band_shares_are_outside_the_intervals_of_the_corrected_shares(
    truth: dict[str, np.ndarray],
) -> None:
    estimates = _read("population.json")["all"]
    assert len(truth["bias"]) == _read("population.json")["n"]["posts"]
    for band in ("low", "moderate"):
        share = estimates[f"share_{band}"]
        assert not _contains(share, share["uncorrected"]), band
