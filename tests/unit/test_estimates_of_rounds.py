"""Active sampling through the estimator of the report, with a student trained after each round."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.active_learning import labels_needed
from benchmarks.active_rounds import measure_rounds, saved_share


@pytest.mark.slow
@pytest.mark.parametrize("is_cross_fitted", [False, True])
def test_intervals_cover_after_rounds_and_are_narrower_where_errors_differ(
    is_cross_fitted: bool,
) -> None:
    replications = 200
    measured = measure_rounds("rare", replications, 600, is_cross_fitted=is_cross_fitted)
    tolerance = 3 * np.sqrt(0.95 * 0.05 / replications)
    for quantity, row in measured["active, 300"].items():
        assert row["coverage"] > 0.95 - tolerance, quantity
        assert abs(row["bias"]) < 4 * row["rmse"] / np.sqrt(replications), quantity
    widths = {name: by_name["mean"]["width"] for name, by_name in measured.items()}
    assert widths["active, 300"] < widths["random, 600, labels alone"]
    saved = saved_share(*(widths[s] for s in ("random, 600", "random, 300", "active, 300")))
    assert saved > 0.1


def test_the_share_of_saved_labels_is_exact_if_squared_widths_are_linear_in_one_over_labels() -> (
    None
):
    def width(n: float) -> float:
        return float(np.sqrt(2 + 300 / n))

    assert saved_share(width(600), width(300), width(300)) == pytest.approx(0)
    # As narrow as 400 random posts: 300 are a quarter fewer.
    assert saved_share(width(600), width(300), width(400)) == pytest.approx(0.25)
    assert saved_share(width(600), width(300), width(240)) == pytest.approx(-0.25)


def test_labels_needed_are_interpolated_at_the_first_crossing() -> None:
    curve = np.array([0.6, 0.7, 0.65, 0.8, *([0.8] * 6)])
    assert labels_needed(curve, 0.7) == pytest.approx(400)
    assert labels_needed(curve, 0.75) == pytest.approx(600 + 200 * 2 / 3)
    assert labels_needed(curve, 0.9) == float("inf")
