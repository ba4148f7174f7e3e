"""The gate: students that pass it and students that must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from postbias.axes import Axis
from postbias.errors import GateError
from postbias.evaluation.ablation import ShuffledInputResult
from postbias.evaluation.counterfactuals import CounterfactualResult, WordSwapResult
from postbias.evaluation.gate import GateEvidence, evaluate_gate, require_passed
from postbias.evaluation.image_swaps import ImageSwapResult, SceneSwapResult
from postbias.params import GateParams
from postbias.posts.authorship import AuthorCounts
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import Predictions, compute_metrics

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


def _evidence(
    labels: np.ndarray, scores: np.ndarray, metric: str = "mae", *, seed: int = 0
) -> tuple[GateEvidence, Callable[..., GateEvidence]]:
    """Return a student's evidence beside the best constant and a weak baseline."""
    rng = np.random.default_rng(seed)
    nan = np.full(N, np.nan)
    resamples = resample_authors([str(i // 2) for i in range(N)], 500, rng)

    def replicates(values: np.ndarray) -> np.ndarray:
        return compute_metrics(labels, Predictions(values, nan, nan), AXIS, resamples)[metric]

    constant = np.full(N, np.mean(labels) if metric == "rmse" else np.median(labels))
    weak = constant + 0.2 * (labels - constant) + rng.normal(0, 0.2, N)
    student = replicates(scores)

    def with_(**changes: object) -> GateEvidence:
        arguments = {
            "metric": metric,
            "student": student,
            "student_fp32": float(student[0]),
            "baselines": {"constant": replicates(constant), "tfidf_ridge": replicates(weak)},
            "scores": scores,
            "labels": labels,
            "n_leaks": 0,
        }
        return GateEvidence(**(arguments | changes))  # type: ignore[arg-type]

    return with_(), with_


def _labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 2, 5, 6.5, 7.5, 8.5], N).astype(float)


def _good(labels: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.4, N)
    return np.clip(labels + noise, 0, 10)


def _passed(evidence: GateEvidence) -> dict[str, bool]:
    return {name: line.is_passed for name, line in evaluate_gate(evidence, LIMITS).items()}


@pytest.mark.parametrize("metric", METRICS)
def test_a_useful_student_passes_every_line(metric: str) -> None:
    labels = _labels()
    evidence, _ = _evidence(labels, _good(labels), metric)
    lines = evaluate_gate(evidence, LIMITS)
    assert set(lines) == {
        "beats_constant",
        "beats_tfidf_ridge",
        "spread",
        "int8_loss",
        "no_leakage",
    }
    require_passed(lines, "fusion")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_random_labels_fail_the_gate(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence, _ = _evidence(rng.uniform(0, 10, N), rng.uniform(0, 10, N), metric, seed=seed)
    assert not _passed(evidence)["beats_tfidf_ridge"]
    with pytest.raises(GateError):
        require_passed(evaluate_gate(evidence, LIMITS), "fusion")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_fail_the_gate(metric: str, seed: int) -> None:
    labels = _labels(seed)
    shuffled = np.random.default_rng(seed + 100).permutation(labels)
    evidence, _ = _evidence(shuffled, _good(labels), metric, seed=seed)
    with pytest.raises(GateError, match="beats_tfidf_ridge"):
        require_passed(evaluate_gate(evidence, LIMITS), "fusion")


@pytest.mark.parametrize("metric", METRICS)
def test_constant_labels_fail_the_gate_and_leave_the_spread_undefined(metric: str) -> None:
    labels = np.full(N, 7.5)
    evidence, _ = _evidence(labels, _good(labels), metric)
    lines = evaluate_gate(evidence, LIMITS)
    assert lines["spread"].value is None
    assert not lines["spread"].is_passed
    assert not lines["beats_constant"].is_passed


@pytest.mark.parametrize("metric", METRICS)
def test_a_constant_student_fails(metric: str) -> None:
    labels = _labels()
    evidence, _ = _evidence(labels, np.full(N, 5.22), metric)
    passed = _passed(evidence)
    assert not passed["spread"]
    assert not passed["beats_constant"]


@pytest.mark.parametrize("metric", METRICS)
def test_a_larger_int8_loss_than_allowed_fails(metric: str) -> None:
    labels = _labels()
    evidence, with_ = _evidence(labels, _good(labels), metric)
    value = evidence.student[0]
    worse = 1.02 if metric == "spearman" else 0.98  # the fp32 metric, relative to int8
    line = evaluate_gate(with_(student_fp32=value * worse), LIMITS)["int8_loss"]
    assert line.value == pytest.approx(0.02, rel=0.05)
    assert not line.is_passed
    assert evaluate_gate(with_(student_fp32=value / worse), LIMITS)["int8_loss"].is_passed


def test_a_perfect_student_has_no_int8_loss() -> None:
    labels = _labels()
    evidence, _ = _evidence(labels, labels)
    assert evaluate_gate(evidence, LIMITS)["int8_loss"].value == 0


def test_one_leaking_author_fails() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    assert not _passed(with_(n_leaks=1))["no_leakage"]


def test_the_error_names_each_failed_line_with_value_and_limit() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, np.full(N, 5.0))
    lines = evaluate_gate(with_(n_leaks=3), LIMITS)
    with pytest.raises(GateError) as error:
        require_passed(lines, "image")
    message = str(error.value)
    assert "image" in message
    assert "spread 0 (limit 0.3)" in message
    assert "no_leakage 3 (limit 0)" in message
    assert "int8_loss" not in message
    assert "\n" not in message


def test_with_one_author_nothing_is_significant() -> None:
    labels = _labels()
    resamples = resample_authors(["one"] * N, 500, np.random.default_rng(0))
    nan = np.full(N, np.nan)
    student = compute_metrics(labels, Predictions(_good(labels), nan, nan), AXIS, resamples)["mae"]
    constant = compute_metrics(labels, Predictions(np.full(N, 5.0), nan, nan), AXIS, resamples)[
        "mae"
    ]
    evidence = GateEvidence(
        "mae", student, float(student[0]), {"constant": constant}, labels, labels, 0
    )
    assert evaluate_gate(evidence, LIMITS)["beats_constant"].value == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_student_no_better_than_its_baseline_passes_about_as_often_as_alpha(
    metric: str,
) -> None:
    rng = np.random.default_rng(7)
    nan = np.full(200, np.nan)
    passed = 0
    for _ in range(300):
        by_author = np.repeat(
            rng.normal(0, 1, (50, 2)), 4, axis=0
        )  # errors shared by the posts of an author
        labels = rng.uniform(0, 10, 200)
        first, second = (labels + by_author[:, i] + rng.normal(0, 1, 200) for i in (0, 1))
        resamples = resample_authors([str(i // 4) for i in range(200)], 200, rng)
        measured = [
            compute_metrics(labels, Predictions(x, nan, nan), AXIS, resamples)[metric]
            for x in (first, second)
        ]
        evidence = GateEvidence(
            metric, measured[0], 1.0, {"constant": measured[1]}, first, labels, 0
        )
        passed += evaluate_gate(evidence, LIMITS)["beats_constant"].is_passed
    assert 0.01 <= passed / 300 <= 0.09


def _shuffled(shuffled: float) -> ShuffledInputResult:
    draws = np.random.default_rng(0).normal(0, 0.05, 500)
    return ShuffledInputResult(100, np.r_[1.0, 1 + draws], np.r_[shuffled, shuffled + draws[::-1]])


def _counterfactuals(
    *, n: int = 100, change: float = 0.01, shift: float | None = 1.0, faults: tuple[str, ...] = ()
) -> CounterfactualResult:
    draws = np.random.default_rng(0).normal(0, 0.1, 500)
    shifts = None if shift is None else np.r_[shift, shift + draws]
    change_replicates = np.r_[change, change + draws]
    swaps = WordSwapResult(
        n, AuthorCounts(40, 0), {"en": n}, {}, {}, change_replicates, n, shifts, shifts
    )
    return CounterfactualResult(swaps, 100, np.r_[0.02, 0.02 + draws], {}, faults)


def test_a_fusion_student_must_be_worse_if_either_input_is_shuffled() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    results = {"image": _shuffled(1.5), "caption": _shuffled(1.0)}
    passed = _passed(with_(shuffled=results))
    assert passed["uses_image"]
    assert not passed["uses_caption"]


def test_an_undefined_rank_correlation_after_shuffling_counts_as_zero() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels), "spearman")
    undefined = np.full(501, np.nan)
    result = ShuffledInputResult(100, np.full(501, 0.8), undefined)
    assert _passed(with_(shuffled={"image": result}))["uses_image"]


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
def test_each_condition_on_changed_captions_fails_by_itself(
    changes: dict[str, object], failed: set[str]
) -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    passed = _passed(with_(counterfactuals=_counterfactuals(**changes)))  # type: ignore[arg-type]
    assert {name for name, is_passed in passed.items() if not is_passed} == failed


def _image_swaps(
    *, n: int = 100, change: float = 0.01, shift: float | None = 1.0
) -> ImageSwapResult:
    draws = np.random.default_rng(0).normal(0, 0.1, 500)
    overall = SceneSwapResult(n, np.r_[change, change + draws], np.r_[0.0, draws])
    shifts = None if shift is None else np.r_[shift, shift + draws]
    return ImageSwapResult(0, 40, 0.2, None, overall, {}, shifts, shifts)


@pytest.mark.parametrize(
    ("redrawn", "pairs", "failed"),
    [
        ({}, {}, set()),
        ({"change": 0.06}, {}, {"image_swap_change"}),
        ({"shift": -1.0}, {}, {"image_swap_direction"}),
        ({}, {"change": 0.06, "shift": -1.0}, {"image_pairs_change"}),
    ],
)
def test_the_score_must_hardly_change_if_the_person_in_an_image_is_swapped(
    redrawn: dict[str, Any], pairs: dict[str, Any], failed: set[str]
) -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    swaps = {"redrawn": _image_swaps(**redrawn), "pairs": _image_swaps(**pairs)}
    passed = _passed(with_(image_swaps=swaps))
    lines = {"image_swap_change", "image_swap_direction", "image_pairs_change"}
    assert lines <= set(passed)
    assert {name for name, is_passed in passed.items() if not is_passed} == failed


def test_too_few_image_pairs_or_no_orientation_are_not_gated() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    few = {name: _image_swaps(n=10, change=1.0, shift=-1.0) for name in ("redrawn", "pairs")}
    assert not any(name.startswith("image_") for name in _passed(with_(image_swaps=few)))
    undirected = _passed(with_(image_swaps={"redrawn": _image_swaps(shift=None)}))
    assert "image_swap_change" in undirected
    assert "image_swap_direction" not in undirected


def test_too_few_swaps_and_a_rubric_without_orientation_are_not_gated() -> None:
    labels = _labels()
    _, with_ = _evidence(labels, _good(labels))
    few = _passed(with_(counterfactuals=_counterfactuals(n=10, change=1.0, shift=-1.0)))
    assert {"swap_change", "swap_direction"}.isdisjoint(few)
    assert "swap_direction" not in _passed(with_(counterfactuals=_counterfactuals(shift=None)))
