"""Coverage by group, and a gate that refuses liars without refusing honest students."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from postbias.axes import Axis
from postbias.evaluation.calibration_scores import Views
from postbias.evaluation.coverage import ALL, Calib, Coverage, least_coverage, measure_coverage
from postbias.evaluation.gate import Exam, judge
from postbias.evaluation.labelled_folds import Fold, Scored
from postbias.evaluation.measure import Bench
from postbias.params import GateParams
from postbias.scoring.manifest import Interval
from postbias.stats.bootstrap import Estimate, draw, estimate
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


def _errors(n: int, per_author: int, alike: float, rng: np.random.Generator) -> np.ndarray:
    """Errors of which a share `alike` of the variance is common to an author's posts."""
    common = np.repeat(rng.normal(0, np.sqrt(alike), -(-n // per_author)), per_author)[:n]
    return common + rng.normal(0, np.sqrt(1 - alike), n)


def _measured(
    sizes: tuple[int, int], per_author: int, alike: float, shrink: float, rng: np.random.Generator
) -> Coverage:
    """Calibrate intervals on one sample of authors, and measure them on another."""
    n_calib, n = sizes
    calib = _errors(n_calib, per_author, alike, rng)
    offsets = fit_intervals(calib, ["text"] * n_calib, 0.9, span=200)["text"]
    interval = Interval(offsets["lo"] * shrink, offsets["hi"] * shrink, offsets["n"])
    labels = _errors(n, per_author, alike, rng)
    fold = Fold(
        tuple(f"p{i:05d}" for i in range(n)),
        tuple(f"a{i // per_author}" for i in range(n)),
        ("",) * n,
        labels[:, None],
    )
    bench = Bench(fold, (AXIS,), draw(fold.authors, 100, rng))
    said = Predictions(np.zeros(n), np.full(n, interval.lo), np.full(n, interval.hi))
    scored = Scored({"bias": said}, {}, ("text",) * n)
    seen = _calib(calib, [i // per_author for i in range(n_calib)], rng)
    return measure_coverage(bench, scored, {"bias": {"text": interval}}, seen)["bias"][ALL]


def _calib(errors: np.ndarray, authors: Sequence[object], rng: np.random.Generator) -> Calib:
    ids = tuple(map(str, range(len(errors))))
    draws = draw([str(author) for author in authors], 100, rng)
    return Calib(Views(ids, ("text",) * len(errors), errors[:, None]), draws, 0.9)


def _passes(coverage: Coverage) -> bool:
    values = np.ones(101)
    exam = Exam("mae", values, 1.0, {}, values, values, 0, coverage={"bias": coverage})
    return judge(exam, LIMITS)["coverage_bias"].passed


@pytest.mark.parametrize(
    ("sizes", "per_author", "alike"),
    [((550, 650), 1, 0.0), ((550, 650), 10, 0.3), ((100, 300), 3, 0.5), ((60, 2000), 1, 0.0)],
)
def test_honest_intervals_are_hardly_ever_refused(
    sizes: tuple[int, int], per_author: int, alike: float
) -> None:
    rng = np.random.default_rng(1)
    passed = [_passes(_measured(sizes, per_author, alike, 1.0, rng)) for _ in range(100)]
    assert np.mean(passed) >= 0.95


@pytest.mark.parametrize(("sizes", "per_author"), [((550, 650), 10), ((60, 2000), 1)])
def test_the_reported_interval_holds_the_true_coverage_and_that_of_test_alone_does_not(
    sizes: tuple[int, int], per_author: int
) -> None:
    rng = np.random.default_rng(4)
    found = [_measured(sizes, per_author, 0.3, 1.0, rng) for _ in range(100)]

    def share(reported: list[Estimate]) -> float:
        return float(np.mean([one.lo <= 0.9 <= one.hi for one in reported if one.lo and one.hi]))

    assert share([estimate(one.value) for one in found]) >= 0.9
    assert share([estimate(one.given) for one in found]) < 0.9
    assert all(one.value[0] == pytest.approx(one.given[0]) for one in found)


def test_intervals_at_the_edge_of_the_tolerance_are_refused_about_as_often_as_alpha() -> None:
    """Shrunk so that normal errors fall within them 88 times in 100 instead of 90."""
    rng = np.random.default_rng(2)
    shrink = 1.5548 / 1.6449
    passed = [_passes(_measured((550, 650), 2, 0.2, shrink, rng)) for _ in range(300)]
    assert 0.88 <= np.mean(passed) <= 0.99


@pytest.mark.parametrize("shrink", [0.5, 0.75])
def test_intervals_that_are_too_narrow_are_refused(shrink: float) -> None:
    rng = np.random.default_rng(3)
    assert not any(_passes(_measured((550, 650), 3, 0.2, shrink, rng)) for _ in range(30))


def test_the_limit_rises_with_calib_posts_and_with_test_posts() -> None:
    value, width = np.array([0.9, 0.9]), np.array([1.0, 1.0])
    by_calib = [
        least_coverage(Coverage(1000, n, value, width, value), 0.9, 0.05) for n in (20, 100, 1000)
    ]
    by_test = [
        least_coverage(Coverage(n, 1000, value, width, value), 0.9, 0.05) for n in (20, 100, 1000)
    ]
    for limits in (by_calib, by_test):
        assert all(one < two < 0.9 for one, two in pairwise(limits))


def test_each_group_has_its_own_coverage_and_posts_without_a_score_have_none() -> None:
    n = 8
    labels = np.zeros(n)
    fold = Fold(tuple("abcdefgh"), tuple("aabbccdd"), ("",) * n, labels[:, None])
    bench = Bench(fold, (AXIS,), draw(fold.authors, 50, np.random.default_rng(0)))
    lo = np.array([-1, -1, 1, 1, -1, -1, np.nan, np.nan])
    said = Predictions(np.where(np.isfinite(lo), 0.0, np.nan), lo, lo + 3)
    groups = ("text", "text", "text", "text", "image", "image", None, None)
    intervals = {"bias": {g: Interval(0, 0, 100) for g in ("image+text", "text", "image")}}
    calib = _calib(np.zeros(0), [], np.random.default_rng(0))
    found = measure_coverage(bench, Scored({"bias": said}, {}, groups), intervals, calib)["bias"]
    assert {g: (c.n, c.value[0], c.width[0]) for g, c in found.items()} == {
        ALL: (6, pytest.approx(4 / 6), 3),
        "text": (4, 0.5, 3),
        "image": (2, 1.0, 3),
    }
    # Two groups of 100, two thirds and one third of the posts: 1 / (4/9 + 1/9) * 100.
    assert found[ALL].n_calib == 180


def test_without_authors_to_draw_in_calib_the_intervals_stay_as_they_are() -> None:
    n = 60
    fold = Fold(tuple(map(str, range(n))), tuple(map(str, range(n))), ("",) * n, np.zeros((n, 1)))
    bench = Bench(fold, (AXIS,), draw(fold.authors, 50, np.random.default_rng(0)))
    values = np.linspace(-2, 2, n)
    said = Predictions(values, values - 1, values + 1)
    calib = _calib(np.full(n, 99.0), ["the same"] * n, np.random.default_rng(0))
    intervals = {"bias": {"text": Interval(-1, 1, n)}}
    found = measure_coverage(bench, Scored({"bias": said}, {}, ("text",) * n), intervals, calib)
    assert found["bias"][ALL].value == pytest.approx(found["bias"][ALL].given)
    assert found["bias"][ALL].width == pytest.approx(np.full(51, 2.0))


def test_a_student_without_intervals_fails() -> None:
    values = np.ones(101)
    exam = Exam("mae", values, 1.0, {}, values, values, 0, coverage={"bias": None})
    line = judge(exam, LIMITS)["coverage_bias"]
    assert (line.passed, line.value) == (False, None)
