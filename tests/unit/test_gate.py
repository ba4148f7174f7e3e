"""What passes the gate and what must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from postbias.axes import Axis
from postbias.errors import GateError
from postbias.evaluation.ablation import Shuffled
from postbias.evaluation.counterfactuals import Audit, Swaps
from postbias.evaluation.gate import Exam, judge, require
from postbias.params import GateParams
from postbias.stats.bootstrap import draw
from postbias.stats.metrics import Predictions, measure

AXIS = Axis("bias", 0, 10)
LIMITS = GateParams(
    min_spread=0.3,
    max_int8_loss=0.01,
    alpha=0.05,
    coverage_tolerance=0.02,
    max_swap_change=0.05,
    max_repeat_change=0.1,
)
N = 400
METRICS = ("mae", "rmse", "spearman")


def _exam(
    labels: np.ndarray, scores: np.ndarray, metric: str = "mae", *, seed: int = 0
) -> tuple[Exam, Callable[..., Exam]]:
    """A student among baselines: the best constant, and one that knows a little."""
    rng = np.random.default_rng(seed)
    nan = np.full(N, np.nan)
    resamples = draw([str(i // 2) for i in range(N)], 500, rng)

    def replicates(values: np.ndarray) -> np.ndarray:
        return measure(labels, Predictions(values, nan, nan), AXIS, resamples)[metric]

    constant = np.full(N, np.mean(labels) if metric == "rmse" else np.median(labels))
    words = constant + 0.2 * (labels - constant) + rng.normal(0, 0.2, N)
    student = replicates(scores)

    def with_(**changes: object) -> Exam:
        given = {
            "metric": metric,
            "student": student,
            "student_fp32": float(student[0]),
            "baselines": {"constant": replicates(constant), "tfidf_ridge": replicates(words)},
            "scores": scores,
            "labels": labels,
            "n_leaks": 0,
        }
        return Exam(**(given | changes))  # type: ignore[arg-type]

    return with_(), with_


def _labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 2, 5, 6.5, 7.5, 8.5], N).astype(float)


def _good(labels: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.4, N)
    return np.clip(labels + noise, 0, 10)


def _passed(exam: Exam) -> dict[str, bool]:
    return {name: line.passed for name, line in judge(exam, LIMITS).items()}


@pytest.mark.parametrize("metric", METRICS)
def test_a_useful_student_passes_every_line(metric: str) -> None:
    labels = _labels()
    exam, _ = _exam(labels, _good(labels), metric)
    lines = judge(exam, LIMITS)
    assert set(lines) == {
        "beats_constant",
        "beats_tfidf_ridge",
        "spread",
        "int8_loss",
        "no_leakage",
    }
    require(lines, "fusion")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_random_labels_fail_the_gate(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exam, _ = _exam(rng.uniform(0, 10, N), rng.uniform(0, 10, N), metric, seed=seed)
    assert not _passed(exam)["beats_tfidf_ridge"]
    with pytest.raises(GateError):
        require(judge(exam, LIMITS), "fusion")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_fail_the_gate(metric: str, seed: int) -> None:
    labels = _labels(seed)
    shuffled = np.random.default_rng(seed + 100).permutation(labels)
    exam, _ = _exam(shuffled, _good(labels), metric, seed=seed)
    with pytest.raises(GateError, match="beats_tfidf_ridge"):
        require(judge(exam, LIMITS), "fusion")


@pytest.mark.parametrize("metric", METRICS)
def test_constant_labels_fail_the_gate_and_leave_the_spread_undefined(metric: str) -> None:
    labels = np.full(N, 7.5)
    exam, _ = _exam(labels, _good(labels), metric)
    lines = judge(exam, LIMITS)
    assert lines["spread"].value is None
    assert not lines["spread"].passed
    assert not lines["beats_constant"].passed


@pytest.mark.parametrize("metric", METRICS)
def test_a_student_that_says_the_same_of_everyone_fails(metric: str) -> None:
    labels = _labels()
    exam, _ = _exam(labels, np.full(N, 5.22), metric)
    passed = _passed(exam)
    assert not passed["spread"]
    assert not passed["beats_constant"]


@pytest.mark.parametrize("metric", METRICS)
def test_int8_that_costs_more_than_its_share_of_the_main_metric_fails(metric: str) -> None:
    labels = _labels()
    exam, with_ = _exam(labels, _good(labels), metric)
    value = exam.student[0]
    worse = 1.02 if metric == "spearman" else 0.98  # what fp32 had
    line = judge(with_(student_fp32=value * worse), LIMITS)["int8_loss"]
    assert line.value == pytest.approx(0.02, rel=0.05)
    assert not line.passed
    assert judge(with_(student_fp32=value / worse), LIMITS)["int8_loss"].passed


def test_a_perfect_student_loses_nothing_to_int8() -> None:
    labels = _labels()
    exam, _ = _exam(labels, labels)
    assert judge(exam, LIMITS)["int8_loss"].value == 0


def test_one_leaking_author_fails() -> None:
    labels = _labels()
    _, with_ = _exam(labels, _good(labels))
    assert not _passed(with_(n_leaks=1))["no_leakage"]


def test_the_error_names_each_failed_line_with_value_and_limit() -> None:
    labels = _labels()
    _, with_ = _exam(labels, np.full(N, 5.0))
    lines = judge(with_(n_leaks=3), LIMITS)
    with pytest.raises(GateError) as error:
        require(lines, "image")
    message = str(error.value)
    assert "image" in message
    assert "spread 0 (limit 0.3)" in message
    assert "no_leakage 3 (limit 0)" in message
    assert "int8_loss" not in message
    assert "\n" not in message


def test_with_one_author_nothing_is_beyond_chance() -> None:
    labels = _labels()
    resamples = draw(["one"] * N, 500, np.random.default_rng(0))
    nan = np.full(N, np.nan)
    student = measure(labels, Predictions(_good(labels), nan, nan), AXIS, resamples)["mae"]
    constant = measure(labels, Predictions(np.full(N, 5.0), nan, nan), AXIS, resamples)["mae"]
    exam = Exam("mae", student, float(student[0]), {"constant": constant}, labels, labels, 0)
    assert judge(exam, LIMITS)["beats_constant"].value == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_student_no_better_than_its_baseline_passes_about_as_often_as_alpha_says(
    metric: str,
) -> None:
    rng = np.random.default_rng(7)
    nan = np.full(200, np.nan)
    passed = 0
    for _ in range(300):
        by_author = np.repeat(
            rng.normal(0, 1, (50, 2)), 4, axis=0
        )  # errors of one author are alike
        labels = rng.uniform(0, 10, 200)
        one, two = (labels + by_author[:, i] + rng.normal(0, 1, 200) for i in (0, 1))
        resamples = draw([str(i // 4) for i in range(200)], 200, rng)
        measured = [
            measure(labels, Predictions(x, nan, nan), AXIS, resamples)[metric] for x in (one, two)
        ]
        exam = Exam(metric, measured[0], 1.0, {"constant": measured[1]}, one, labels, 0)
        passed += judge(exam, LIMITS)["beats_constant"].passed
    assert 0.01 <= passed / 300 <= 0.09


def _shuffled(shuffled: float) -> Shuffled:
    draws = np.random.default_rng(0).normal(0, 0.05, 500)
    return Shuffled(100, np.r_[1.0, 1 + draws], np.r_[shuffled, shuffled + draws[::-1]])


def _audit(
    *, n: int = 100, change: float = 0.01, shift: float | None = 1.0, faults: tuple[str, ...] = ()
) -> Audit:
    draws = np.random.default_rng(0).normal(0, 0.1, 500)
    moved = None if shift is None else np.r_[shift, shift + draws]
    changed = np.r_[change, change + draws]
    swaps = Swaps(n, 40, {"en": n}, changed, n, moved, moved)
    return Audit(swaps, 100, np.r_[0.02, 0.02 + draws], {}, faults)


def test_a_fusion_student_must_get_worse_without_either_branch() -> None:
    labels = _labels()
    _, with_ = _exam(labels, _good(labels))
    branches = {"image": _shuffled(1.5), "caption": _shuffled(1.0)}
    passed = _passed(with_(branches=branches))
    assert passed["uses_image"]
    assert not passed["uses_caption"]


def test_by_rank_correlation_a_branch_counts_that_leaves_nothing_to_rank() -> None:
    labels = _labels()
    _, with_ = _exam(labels, _good(labels), "spearman")
    nothing = np.full(501, np.nan)
    branch = Shuffled(100, np.full(501, 0.8), nothing)
    assert _passed(with_(branches={"image": branch}))["uses_image"]


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, set()),
        ({"change": 0.06}, {"swap_change"}),
        ({"shift": 0.0}, {"swap_direction"}),
        ({"shift": -1.0}, {"swap_direction"}),
        ({"faults": ("emoji: not scored",)}, {"odd_captions"}),
    ],
)
def test_each_line_of_the_audit_fails_by_itself(
    changes: dict[str, object], failed: set[str]
) -> None:
    labels = _labels()
    _, with_ = _exam(labels, _good(labels))
    passed = _passed(with_(audit=_audit(**changes)))  # type: ignore[arg-type]
    assert {name for name, is_passed in passed.items() if not is_passed} == failed


def test_too_few_swaps_and_a_rubric_without_orientation_are_not_judged() -> None:
    labels = _labels()
    _, with_ = _exam(labels, _good(labels))
    few = _passed(with_(audit=_audit(n=10, change=1.0, shift=-1.0)))
    assert {"swap_change", "swap_direction"}.isdisjoint(few)
    assert "swap_direction" not in _passed(with_(audit=_audit(shift=None)))
