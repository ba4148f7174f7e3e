"""On the demo corpus the truth is planted: the report's intervals must hold it.

Looks at what the pipeline has written here; skipped before `make repro`, and on another corpus.
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


def _holds(estimate: dict[str, float], value: float) -> bool:
    return estimate["lo"] <= value <= estimate["hi"]


def test_intervals_hold_the_planted_mean_of_all_and_of_sponsored_posts(
    truth: dict[str, np.ndarray],
) -> None:
    said = _read("population.json")
    assert _holds(said["all"]["bias"], float(truth["bias"].mean()))
    paid = said["groups"]["sponsored"]["sponsored"]
    assert _holds(paid["bias"], float(truth["bias"][truth["sponsored"]].mean()))


def test_intervals_hold_the_planted_mean_of_the_five_largest_brands(
    truth: dict[str, np.ndarray],
) -> None:
    largest = _read("brands.json")["brands"][:5]
    names = [row["brand"].casefold().replace(" ", "") for row in largest]
    assert sorted(names) == sorted(BRANDS[:5])
    for row, name in zip(largest, names, strict=True):
        brand = BRANDS.index(name)
        planted = float(truth["bias"][truth["brand"] == brand].mean())
        assert _holds(row["bias"], planted), row["brand"]


def test_the_corrected_share_of_high_posts_holds_the_truth_and_the_uncorrected_one_is_off(
    truth: dict[str, np.ndarray],
) -> None:
    high = _read("population.json")["all"]["share_high"]
    # The share that the teacher would call high, had it been asked about every post.
    rng = np.random.default_rng(0)
    scores = {axis: truth[axis] for axis in AXES}
    asked = [simulate_teacher(scores, rng)["bias"] >= _HIGH for _ in range(40)]
    planted = float(np.mean(asked))
    assert _holds(high, planted)
    assert not _holds(high["uncorrected_error"], 0)
    assert _holds(high["uncorrected_error"], high["uncorrected"] - planted)
    assert abs(high["uncorrected"] - planted) > 2 * abs(high["value"] - planted)


def test_at_face_value_the_bands_are_further_off_than_their_intervals_are_wide(
    truth: dict[str, np.ndarray],
) -> None:
    said = _read("population.json")["all"]
    assert len(truth["bias"]) == _read("population.json")["n"]["posts"]
    for band in ("low", "moderate"):
        share = said[f"share_{band}"]
        assert not _holds(share, share["uncorrected"]), band
