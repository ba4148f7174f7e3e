"""What a student must show on the test fold before it may become champion.

Each line is a value beside its limit. Decides from numbers alone: knows nothing of students'
files, folds or MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from postbias.errors import GateError
from postbias.evaluation.ablation import Shuffled
from postbias.evaluation.counterfactuals import Audit
from postbias.evaluation.coverage import Coverage, least_coverage
from postbias.params import GateParams
from postbias.stats.bootstrap import Array, p_not_better
from postbias.stats.metrics import better_by


@dataclass(frozen=True, slots=True)
class Line:
    """One condition of promotion.

    Attributes:
        passed: Whether it holds.
        value: What was seen; `None` where it is not defined, which does not pass.
        limit: What it was compared with.
    """

    passed: bool
    value: float | None
    limit: float

    def as_dict(self) -> dict[str, bool | float | None]:
        """Return the line as it stands in `evaluate.json`."""
        return {"passed": self.passed, "value": self.value, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Exam:
    """What the gate looks at: the chosen student on the test fold, by the main metric.

    Replicates are the metric on the data, then one value per replication, all from the same draws.

    Attributes:
        metric: The main metric: `mae`, `rmse` or `spearman`.
        student: The student's replicates, as it ships (int8). (1 + R,)
        student_fp32: Its value in full precision.
        baselines: Replicates of `constant` and `tfidf_ridge` on the same posts. (1 + R,)
        scores: The student's scores. (n,)
        labels: Their labels. (n,)
        n_leaks: Authors and near-duplicate clusters found in more than one fold.
        nominal: What share of labels its intervals promise to hold.
        coverage: What share they held, by axis; None for an axis without intervals.
        branches: What it does with a branch shuffled; only a fusion student has branches.
        audit: What it made of changed captions; None for one that reads none.
    """

    metric: str
    student: Array
    student_fp32: float
    baselines: Mapping[str, Array]
    scores: Array
    labels: Array
    n_leaks: int
    nominal: float = 0.9
    coverage: Mapping[str, Coverage | None] = field(default_factory=dict)
    branches: Mapping[str, Shuffled] = field(default_factory=dict)
    audit: Audit | None = None


def judge(exam: Exam, limits: GateParams) -> dict[str, Line]:
    """Hold a student to the conditions of promotion.

    Args:
        exam: What it showed.
        limits: What it has to show.

    Returns:
        One line per condition that applies; `beats_*`, `uses_*` and `swap_direction` give a
        one-sided p-value that must be below its limit.
    """
    lines = {}
    for name, replicates in exam.baselines.items():
        p = p_not_better(better_by(exam.metric, exam.student, _as_rank(replicates, exam.metric)))
        lines[f"beats_{name}"] = Line(p < limits.alpha, p, limits.alpha)
    spread = _spread(exam)
    lines["spread"] = _at_least(spread, limits.min_spread)
    lines["int8_loss"] = _at_most(_int8_loss(exam), limits.max_int8_loss)
    lines["no_leakage"] = _at_most(float(exam.n_leaks), 0.0)
    for axis, coverage in exam.coverage.items():
        lines[f"coverage_{axis}"] = _coverage_line(coverage, exam.nominal, limits)
    for branch, one in exam.branches.items():
        p = p_not_better(better_by(exam.metric, one.intact, _as_rank(one.shuffled, exam.metric)))
        lines[f"uses_{branch}"] = Line(p < limits.alpha, p, limits.alpha)
    if exam.audit is not None:
        lines |= _audit_lines(exam.audit, limits)
    return lines


def require(lines: Mapping[str, Line], modality: str) -> None:
    """Stop unless every line passed.

    Args:
        lines: The lines of `judge`.
        modality: The student that was judged.

    Raises:
        GateError: If a line failed; the message names each with its value and limit.
    """
    failed = [
        f"{name} {_rounded(line.value)} (limit {_rounded(line.limit)})"
        for name, line in lines.items()
        if not line.passed
    ]
    if failed:
        raise GateError(
            f"no champion: the best student on valid, {modality}, fails {', '.join(failed)}",
            do="see reports/evaluate.json; more or better labels, longer training, or other limits "
            "in evaluate.gate may help",
        )


def _coverage_line(coverage: Coverage | None, nominal: float, limits: GateParams) -> Line:
    """Refuse intervals that hold too few labels; too many are no lie, and `width` shows them."""
    promised = max(0.0, nominal - limits.coverage_tolerance)
    if coverage is None:
        return Line(False, None, promised)
    least = least_coverage(coverage, promised, limits.alpha)
    return _at_least(float(coverage.value[0]), least)


def _audit_lines(audit: Audit, limits: GateParams) -> dict[str, Line]:
    """Judge changed captions; swaps only where there are enough of them."""
    lines = {"odd_captions": _at_most(float(len(audit.faults)), 0.0)}
    if audit.n_repeated:
        change = float(audit.repeat_change[0])
        lines["repeat_change"] = _at_most(change, limits.max_repeat_change)
    if audit.swaps.is_enough:
        lines["swap_change"] = _at_most(float(audit.swaps.change[0]), limits.max_swap_change)
        if audit.swaps.shift is not None:
            p = p_not_better(audit.swaps.shift)
            lines["swap_direction"] = Line(p < limits.alpha, p, limits.alpha)
    return lines


def _as_rank(replicates: Array, metric: str) -> Array:
    """Give what cannot be ranked the rank correlation of chance, 0, so that it can be beaten."""
    return (
        np.where(np.isfinite(replicates), replicates, 0.0) if metric == "spearman" else replicates
    )


def _spread(exam: Exam) -> float | None:
    sd = float(np.std(exam.labels)) if len(exam.labels) else 0.0
    return float(np.std(exam.scores)) / sd if sd > 0 else None


def _int8_loss(exam: Exam) -> float | None:
    """Return which share of the fp32 student's metric int8 costs; below 0 if it gains."""
    lost = float(better_by(exam.metric, np.array([exam.student_fp32]), exam.student[:1])[0])
    if lost == 0:
        return 0.0
    return lost / exam.student_fp32 if exam.student_fp32 > 0 else None


def _at_least(value: float | None, limit: float) -> Line:
    return Line(value is not None and value >= limit, value, limit)


def _at_most(value: float | None, limit: float) -> Line:
    return Line(value is not None and value <= limit, value, limit)


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"
