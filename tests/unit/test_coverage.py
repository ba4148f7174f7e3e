"""Interval coverage by group, and the gate that rejects undercoverage only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from postbias.axes import Axis
from postbias.evaluation.calibration_scores import CalibrationScores
from postbias.evaluation.coverage import (
    ALL_GROUPS,
    CalibrationSample,
    IntervalCoverage,
    coverage_limit,
    measure_coverage,
)
from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.gate import GateEvidence, evaluate_gate
from postbias.evaluation.labelled_folds import FoldPredictions, LabelledFold
from postbias.params import GateParams
from postbias.scoring.manifest import Interval, Manifest
from postbias.stats.bootstrap import Estimate, resample_authors, summarize_replicates
from postbias.stats.conformal import fit_intervals
from postbias.stats.metrics import Predictions

AXIS = Axis("bias", -100, 100)
LIMITS = GateParams(
    min_spread=0.3,
    max_int8_loss=0.01,
    alpha=0.05,
    coverage_tolerance=0.02,
    max_swap_change=0.05,
    max_repeat_change=0.1,
)


def _errors(n: int, per_author: int, shared: float, rng: np.random.Generator) -> np.ndarray:
    """Draw errors with a share `shared` of their variance common to all posts of an author."""
    common = np.repeat(rng.normal(0, np.sqrt(shared), -(-n // per_author)), per_author)[:n]
    return common + rng.normal(0, np.sqrt(1 - shared), n)


def _manifest(intervals: dict[str, Interval]) -> Manifest:
    """Describe a student with intervals."""
    return Manifest(
        modality="fusion",
        axes=(AXIS,),
        max_images=4,
        rubric="tiny@0",
        training_digest="0" * 64,
        n_train=100,
        coverage=0.9,
        intervals={"bias": intervals},
    )


def _measure(
    sizes: tuple[int, int], per_author: int, shared: float, shrink: float, rng: np.random.Generator
) -> IntervalCoverage:
    """Calibrate intervals on one sample of authors, and measure their coverage on another."""
    n_calib, n = sizes
    calib = _errors(n_calib, per_author, shared, rng)
    offsets = fit_intervals(calib, ["text"] * n_calib, 0.9, span=200)["text"]
    interval = Interval(offsets["lo"] * shrink, offsets["hi"] * shrink, offsets["n"])
    labels = _errors(n, per_author, shared, rng)
    fold = LabelledFold(
        tuple(f"p{i:05d}" for i in range(n)),
        tuple(f"a{i // per_author}" for i in range(n)),
        ("",) * n,
        labels[:, None],
    )
    test = EvaluationSet(fold, (AXIS,), resample_authors(fold.authors, 100, rng))
    scored = Predictions(np.zeros(n), np.full(n, interval.lo), np.full(n, interval.hi))
    predictions = FoldPredictions({"bias": scored}, {}, ("text",) * n)
    calib_sample = _calibration_sample(calib, [i // per_author for i in range(n_calib)], rng)
    return measure_coverage(test, predictions, _manifest({"text": interval}), calib_sample)["bias"][
        ALL_GROUPS
    ]


def _calibration_sample(
    errors: np.ndarray, authors: Sequence[object], rng: np.random.Generator
) -> CalibrationSample:
    ids = tuple(map(str, range(len(errors))))
    resamples = resample_authors([str(author) for author in authors], 100, rng)
    return CalibrationSample(
        CalibrationScores(ids, ("text",) * len(errors), errors[:, None]), resamples, 0.9
    )


def _passes(coverage: IntervalCoverage) -> bool:
    values = np.ones(101)
    evidence = GateEvidence("mae", values, 1.0, {}, values, values, 0, coverage={"bias": coverage})
    return evaluate_gate(evidence, LIMITS)["coverage_bias"].is_passed


@pytest.mark.parametrize(
    ("sizes", "per_author", "shared"),
    [((550, 650), 1, 0.0), ((550, 650), 10, 0.3), ((100, 300), 3, 0.5), ((60, 2000), 1, 0.0)],
)
def test_intervals_with_correct_coverage_are_hardly_ever_rejected(
    sizes: tuple[int, int], per_author: int, shared: float
) -> None:
    rng = np.random.default_rng(1)
    passed = [_passes(_measure(sizes, per_author, shared, 1.0, rng)) for _ in range(100)]
    assert np.mean(passed) >= 0.95


@pytest.mark.parametrize(("sizes", "per_author"), [((550, 650), 10), ((60, 2000), 1)])
def test_the_reported_interval_covers_the_true_coverage_and_one_over_test_alone_does_not(
    sizes: tuple[int, int], per_author: int
) -> None:
    rng = np.random.default_rng(4)
    measured = [_measure(sizes, per_author, 0.3, 1.0, rng) for _ in range(100)]

    def share_covering(estimates: list[Estimate]) -> float:
        return float(np.mean([e.lo <= 0.9 <= e.hi for e in estimates if e.lo and e.hi]))

    assert share_covering([summarize_replicates(c.value) for c in measured]) >= 0.9
    assert share_covering([summarize_replicates(c.value_test_only) for c in measured]) < 0.9
    assert all(c.value[0] == pytest.approx(c.value_test_only[0]) for c in measured)


def test_intervals_at_the_edge_of_the_tolerance_are_rejected_about_as_often_as_alpha() -> None:
    """The intervals are shrunk, so that they cover 88% of normal errors instead of 90%."""
    rng = np.random.default_rng(2)
    shrink = 1.5548 / 1.6449
    passed = [_passes(_measure((550, 650), 2, 0.2, shrink, rng)) for _ in range(300)]
    assert 0.88 <= np.mean(passed) <= 0.99


@pytest.mark.parametrize("shrink", [0.5, 0.75])
def test_intervals_that_are_too_narrow_are_rejected(shrink: float) -> None:
    rng = np.random.default_rng(3)
    assert not any(_passes(_measure((550, 650), 3, 0.2, shrink, rng)) for _ in range(30))


def test_the_limit_rises_with_calib_posts_and_with_test_posts() -> None:
    value, width = np.array([0.9, 0.9]), np.array([1.0, 1.0])
    by_calib = [
        coverage_limit(IntervalCoverage(1000, n, value, width, value), 0.9, 0.05)
        for n in (20, 100, 1000)
    ]
    by_test = [
        coverage_limit(IntervalCoverage(n, 1000, value, width, value), 0.9, 0.05)
        for n in (20, 100, 1000)
    ]
    for limits in (by_calib, by_test):
        assert all(lower < higher < 0.9 for lower, higher in pairwise(limits))


def test_each_group_has_its_own_coverage_and_posts_without_a_score_have_none() -> None:
    n = 8
    labels = np.zeros(n)
    fold = LabelledFold(tuple("abcdefgh"), tuple("aabbccdd"), ("",) * n, labels[:, None])
    test = EvaluationSet(
        fold, (AXIS,), resample_authors(fold.authors, 50, np.random.default_rng(0))
    )
    lo = np.array([-1, -1, 1, 1, -1, -1, np.nan, np.nan])
    scored = Predictions(np.where(np.isfinite(lo), 0.0, np.nan), lo, lo + 3)
    groups = ("text", "text", "text", "text", "image", "image", None, None)
    manifest = _manifest({g: Interval(0, 0, 100) for g in ("image+text", "text", "image")})
    calib = _calibration_sample(np.zeros(0), [], np.random.default_rng(0))
    coverage = measure_coverage(
        test, FoldPredictions({"bias": scored}, {}, groups), manifest, calib
    )["bias"]
    assert {g: (c.n, c.value[0], c.width[0]) for g, c in coverage.items()} == {
        ALL_GROUPS: (6, pytest.approx(4 / 6), 3),
        "text": (4, 0.5, 3),
        "image": (2, 1.0, 3),
    }
    # Two groups of 100, two thirds and one third of the posts: 1 / (4/9 + 1/9) * 100.
    assert coverage[ALL_GROUPS].n_calib == 180


def test_with_a_single_author_in_calib_the_intervals_stay_as_shipped() -> None:
    n = 60
    fold = LabelledFold(
        tuple(map(str, range(n))), tuple(map(str, range(n))), ("",) * n, np.zeros((n, 1))
    )
    test = EvaluationSet(
        fold, (AXIS,), resample_authors(fold.authors, 50, np.random.default_rng(0))
    )
    values = np.linspace(-2, 2, n)
    scored = Predictions(values, values - 1, values + 1)
    calib = _calibration_sample(np.full(n, 99.0), ["the same"] * n, np.random.default_rng(0))
    manifest = _manifest({"text": Interval(-1, 1, n)})
    coverage = measure_coverage(
        test, FoldPredictions({"bias": scored}, {}, ("text",) * n), manifest, calib
    )
    assert coverage["bias"][ALL_GROUPS].value == pytest.approx(
        coverage["bias"][ALL_GROUPS].value_test_only
    )
    assert coverage["bias"][ALL_GROUPS].width == pytest.approx(np.full(51, 2.0))


def test_a_student_without_intervals_fails() -> None:
    values = np.ones(101)
    evidence = GateEvidence("mae", values, 1.0, {}, values, values, 0, coverage={"bias": None})
    line = evaluate_gate(evidence, LIMITS)["coverage_bias"]
    assert (line.is_passed, line.value) == (False, None)
