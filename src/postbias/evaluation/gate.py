"""The gate: conditions that a student must meet on the test fold to be promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from postbias.errors import GateError
from postbias.evaluation.ablation import ShuffledInputResult
from postbias.evaluation.counterfactuals import CounterfactualResult
from postbias.evaluation.coverage import IntervalCoverage, coverage_limit
from postbias.evaluation.image_swaps import PAIRED, REDRAWN, ImageSwapResult
from postbias.params import GateParams
from postbias.stats.bootstrap import Array, one_sided_p_value
from postbias.stats.metrics import advantage_over


@dataclass(frozen=True, slots=True)
class GateLine:
    """One condition of the gate.

    Attributes:
        is_passed: Whether the condition is met.
        value: The measured value; `None` if undefined, which fails.
        limit: The limit it was compared with.
    """

    is_passed: bool
    value: float | None
    limit: float

    def as_dict(self) -> dict[str, bool | float | None]:
        """Return the line as it is written to `evaluate.json`."""
        return {"passed": self.is_passed, "value": self.value, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """Results of the chosen student on the test fold that the gate depends on.

    All replicates are from the same resamples.

    Attributes:
        metric: The main metric: `mae`, `rmse` or `spearman`.
        student: Replicates of the student's metric, as shipped (int8). (1 + R,)
        student_fp32: Its metric in full precision.
        baselines: Replicates of `constant` and `tfidf_ridge` on the same posts. (1 + R,)
        scores: The student's scores. (n,)
        labels: Their labels. (n,)
        n_leaks: Authors and near-duplicate clusters in more than one fold.
        nominal: Nominal coverage of the student's intervals.
        coverage: Measured coverage by axis; `None` for an axis without intervals.
        shuffled: Modality ablation by shuffled input; empty unless it is a fusion student.
        counterfactuals: Effect of changed captions; `None` if it does not read captions.
        languages: One-sided p-values of being no worse than TF-IDF that was trained on one language
            alone, by language with enough labels.
        image_swaps: Effect of a swapped person in images, by source of the images.
    """

    metric: str
    student: Array
    student_fp32: float
    baselines: Mapping[str, Array]
    scores: Array
    labels: Array
    n_leaks: int
    nominal: float = 0.9
    coverage: Mapping[str, IntervalCoverage | None] = field(default_factory=dict)
    shuffled: Mapping[str, ShuffledInputResult] = field(default_factory=dict)
    counterfactuals: CounterfactualResult | None = None
    languages: Mapping[str, float] = field(default_factory=dict)
    image_swaps: Mapping[str, ImageSwapResult] = field(default_factory=dict)


def evaluate_gate(evidence: GateEvidence, limits: GateParams) -> dict[str, GateLine]:
    """Check the conditions of promotion.

    Args:
        evidence: Results of the student.
        limits: Limits of the conditions.

    Returns:
        One line per condition that applies. The value of `beats_*`, `uses_*`, `swap_direction` and
        `image_swap_direction` is a one-sided p-value that must be below its limit; that of
        `language_*` one of being worse than the baseline of the language, which must not be.
    """
    metric = evidence.metric
    lines = {}
    for name, replicates in evidence.baselines.items():
        baseline = _zero_if_undefined_rank(replicates, metric)
        p = one_sided_p_value(advantage_over(metric, evidence.student, baseline))
        lines[f"beats_{name}"] = GateLine(p < limits.alpha, p, limits.alpha)
    spread = _relative_spread(evidence)
    lines["spread"] = _at_least(spread, limits.min_spread)
    lines["int8_loss"] = _at_most(_relative_int8_loss(evidence), limits.max_int8_loss)
    lines["no_leakage"] = _at_most(float(evidence.n_leaks), 0.0)
    for axis, coverage in evidence.coverage.items():
        lines[f"coverage_{axis}"] = _coverage_line(coverage, evidence.nominal, limits)
    for name, ablation in evidence.shuffled.items():
        shuffled = _zero_if_undefined_rank(ablation.shuffled, metric)
        p = one_sided_p_value(advantage_over(metric, ablation.intact, shuffled))
        lines[f"uses_{name}"] = GateLine(p < limits.alpha, p, limits.alpha)
    for language, p in evidence.languages.items():
        # Divided by their number: otherwise one of eight harmless languages would fail by chance in
        # a third of all evaluations.
        lines[f"language_{language}"] = _at_least(p, limits.alpha / len(evidence.languages))
    if evidence.counterfactuals is not None:
        lines |= _counterfactual_lines(evidence.counterfactuals, limits)
    return lines | _image_swap_lines(evidence.image_swaps, limits)


def require_passed(lines: Mapping[str, GateLine], modality: str) -> None:
    """Raise unless every line passed.

    Args:
        lines: Result of `evaluate_gate`.
        modality: The evaluated student.

    Raises:
        GateError: If a line failed; names each failed line with its value and limit.
    """
    failed = [
        f"{name} {_format(line.value)} (limit {_format(line.limit)})"
        for name, line in lines.items()
        if not line.is_passed
    ]
    if failed:
        raise GateError(
            f"no champion: the best student on valid, {modality}, fails {', '.join(failed)}",
            do="see reports/evaluate.json; add labels or improve their quality, train longer, or "
            "change the limits in evaluate.gate",
        )


def _coverage_line(
    coverage: IntervalCoverage | None, nominal: float, limits: GateParams
) -> GateLine:
    """Reject undercoverage only: overcoverage is not misleading, and `width` shows it."""
    tolerated = max(0.0, nominal - limits.coverage_tolerance)
    if coverage is None:
        return GateLine(False, None, tolerated)
    limit = coverage_limit(coverage, tolerated, limits.alpha)
    return _at_least(float(coverage.value[0]), limit)


def _counterfactual_lines(result: CounterfactualResult, limits: GateParams) -> dict[str, GateLine]:
    lines = {"odd_captions": _at_most(float(len(result.faults)), 0.0)}
    if result.n_repeated:
        change = float(result.repeat_change[0])
        lines["repeat_change"] = _at_most(change, limits.max_repeat_change)
    if result.swaps.is_enough:
        lines["swap_change"] = _at_most(float(result.swaps.change[0]), limits.max_swap_change)
        if result.swaps.shift is not None:
            p = one_sided_p_value(result.swaps.shift)
            lines["swap_direction"] = GateLine(p < limits.alpha, p, limits.alpha)
    return lines


def _image_swap_lines(
    results: Mapping[str, ImageSwapResult], limits: GateParams
) -> dict[str, GateLine]:
    """Limit the change in both sources; the direction in images like those trained on only."""
    judged = {source: result for source, result in results.items() if result.is_enough}
    lines = {
        f"image_{'swap' if source == REDRAWN else PAIRED}_change": _at_most(
            float(result.overall.change[0]), limits.max_swap_change
        )
        for source, result in judged.items()
    }
    if REDRAWN in judged and (shift := judged[REDRAWN].shift) is not None:
        p = one_sided_p_value(shift)
        lines["image_swap_direction"] = GateLine(p < limits.alpha, p, limits.alpha)
    return lines


def _zero_if_undefined_rank(replicates: Array, metric: str) -> Array:
    """Replace undefined rank correlations by 0, that of random scores."""
    return (
        np.where(np.isfinite(replicates), replicates, 0.0) if metric == "spearman" else replicates
    )


def _relative_spread(evidence: GateEvidence) -> float | None:
    sd = float(np.std(evidence.labels)) if len(evidence.labels) else 0.0
    return float(np.std(evidence.scores)) / sd if sd > 0 else None


def _relative_int8_loss(evidence: GateEvidence) -> float | None:
    """Return the loss of int8 as a share of the fp32 metric; negative if int8 is better."""
    fp32 = np.array([evidence.student_fp32])
    loss = float(advantage_over(evidence.metric, fp32, evidence.student[:1])[0])
    if loss == 0:
        return 0.0
    return loss / evidence.student_fp32 if evidence.student_fp32 > 0 else None


def _at_least(value: float | None, limit: float) -> GateLine:
    return GateLine(value is not None and value >= limit, value, limit)


def _at_most(value: float | None, limit: float) -> GateLine:
    return GateLine(value is not None and value <= limit, value, limit)


def _format(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"
