"""How an evaluation is laid out in `reports/evaluate.json`.

Turns replicates into numbers with intervals and gives plain mappings; whatever is not defined, such
as the correlation of a constant, is None. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from postbias.evaluation.ablation import ALONE, Missing, Shuffled
from postbias.evaluation.counterfactuals import Audit
from postbias.evaluation.coverage import Coverage
from postbias.evaluation.diagnostics import Scrutiny
from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.labelled_folds import fold_digest
from postbias.evaluation.measure import CONSTANT, TFIDF, Measured, StudentEvidence
from postbias.evaluation.slices import Slice
from postbias.evaluation.teacher_noise import Retest
from postbias.stats.bootstrap import LEVEL, Array, estimate, p_different, p_not_better
from postbias.stats.metrics import INTERVAL_METRICS, POINT_METRICS, better_by

Json = dict[str, Any]


def as_report(found: Evaluation) -> Json:
    """Lay an evaluation out as `evaluate.json`.

    Args:
        found: The evaluation.

    Returns:
        JSON-ready mappings; whatever is not defined, such as the correlation of a constant, is
        None.
    """
    names = _names(found.params.coverage)
    passed = all(line.passed for line in found.gate.values())
    digest = found.students[found.chosen].digest
    return {
        "axes": {
            axis.name: {
                "low": axis.low,
                "high": axis.high,
                "distinct_labels": len(np.unique(found.bench.fold.labels[:, column])),
            }
            for column, axis in enumerate(found.bench.axes)
        },
        "main": {"axis": found.bench.axes[0].name, "metric": found.params.main_metric},
        "test_digest": fold_digest(found.bench.fold),
        "n": {fold: len(posts) for fold, posts in found.folds.items()}
        | {"test_authors": found.bench.resamples.n_authors},
        "bootstrap": {
            "replications": found.params.bootstrap,
            "clusters": "author",
            "level": LEVEL,
            "alpha": found.params.gate.alpha,
        },
        "students": {name: _student(one, names) for name, one in found.students.items()},
        "baselines": {
            CONSTANT: {
                "test": _estimates(found.baselines.measured[CONSTANT], names),
                "constants": found.baselines.constants,
            },
            TFIDF: {
                "test": _estimates(found.baselines.measured[TFIDF], names),
                "alphas": dict(
                    zip(
                        (axis.name for axis in found.bench.axes),
                        found.baselines.tfidf.alphas,
                        strict=True,
                    )
                ),
                "n_terms": found.baselines.tfidf.n_terms,
            },
        },
        "ceiling": {
            modality: {
                axis: {
                    "r2": estimate(ceiling.r2).as_dict(),
                    "reached": estimate(ceiling.reached).as_dict(),
                }
                for axis, ceiling in by_axis.items()
            }
            for modality, by_axis in found.ceilings.items()
        },
        "paired": {
            pair: {
                axis: estimate(x).as_dict() | {"p": p_different(x)} for axis, x in by_axis.items()
            }
            for pair, by_axis in found.paired.items()
        },
        "chosen": found.chosen,
        "gate": {name: line.as_dict() for name, line in found.gate.items()},
        "champion": {"modality": found.chosen, "digest": digest} if passed else None,
    } | _scrutiny(found.scrutiny, found.params.main_metric)


def slice_rows(report: Json) -> Iterator[Json]:
    """Lay the slices out as rows of a table, for people to sort and filter.

    Args:
        report: What `as_report` returned.

    Yields:
        One row per student, dimension and kind of post.
    """
    for modality, dimensions in report["slices"].items():
        for dimension, kinds in dimensions.items():
            for value, found in kinds.items():
                yield {
                    "student": modality,
                    "dimension": dimension,
                    "value": value,
                    "n": found["n"],
                    "authors": found["authors"],
                    "tiny": found["tiny"],
                } | {
                    f"{metric}{end}": number[part]
                    for metric, number in found["metrics"].items()
                    for end, part in (("", "value"), ("_lo", "lo"), ("_hi", "hi"))
                }


def coverage_rows(report: Json) -> Iterator[Json]:
    """Lay the intervals' coverage out as rows of a table.

    Args:
        report: What `as_report` returned.

    Yields:
        One row per student, axis and group of modalities.
    """
    for modality, by_axis in report["coverage"].items():
        for axis, by_group in by_axis.items():
            for group, found in by_group.items():
                yield {
                    "student": modality,
                    "axis": axis,
                    "modalities": group,
                    "n": found["n"],
                    "n_calib": found["n_calib"],
                    "coverage": found["coverage"]["value"],
                    "coverage_lo": found["coverage"]["lo"],
                    "coverage_hi": found["coverage"]["hi"],
                    "width": found["width"]["value"],
                }


def headline_metrics(report: Json) -> dict[str, float]:
    """Name the numbers of the scrutiny that runs are compared by.

    Args:
        report: What `as_report` returned.

    Returns:
        Defined numbers by dotted name: `retest.*`, `checks.*`, `missing.*` and `audit.*`.
    """
    named = {
        f"retest.{axis}.floor": found["floor"]["value"]
        for axis, found in report["retest"].items()
        if found
    }
    for check, found in report["checks"].items():
        named[f"checks.{check}.loss"] = found["loss"]["value"]
    for branch, found in report["missing"].items():
        named[f"missing.{branch}.loss"] = found["loss"]["value"]
    for student, found in report["audit"].items():
        named[f"audit.{student}.swap_change"] = found["swap"]["change"]["value"]
        named[f"audit.{student}.swap_shift"] = (found["swap"]["shift"] or {}).get("value")
        named[f"audit.{student}.repeat_change"] = found["repeated"]["change"]["value"]
        named[f"audit.{student}.faults"] = len(found["faults"])
    return {name: value for name, value in named.items() if value is not None}


def _names(coverage: float) -> dict[str, str]:
    """Return the names of metrics in `evaluate.json`: `coverage` becomes `coverage_90`."""
    percent = f"{100 * coverage:g}"
    return {metric: metric for metric in POINT_METRICS} | {
        metric: f"{metric}_{percent}" for metric in INTERVAL_METRICS
    }


def _estimates(measured: Measured, names: Mapping[str, str]) -> Json:
    return {
        axis: {name: estimate(replicates[metric]).as_dict() for metric, name in names.items()}
        for axis, replicates in measured.items()
    }


def _student(student: StudentEvidence, names: Mapping[str, str]) -> Json:
    folds = {"valid": student.valid, "test": student.test}
    return {
        "digest": student.digest,
        "n": {fold: sum(scored.modalities.values()) for fold, scored in folds.items()},
        "unscored": {fold: dict(scored.unscored) for fold, scored in folds.items()},
        "modalities": dict(student.test.modalities),
    } | {part: _estimates(measured, names) for part, measured in student.measured.items()}


def _scrutiny(found: Scrutiny, metric: str) -> Json:
    return {
        "retest": {axis: one and _retest(one) for axis, one in found.retest.items()},
        "slices": {name: _slices(slices) for name, slices in found.slices.items()},
        "coverage": {
            name: {
                axis: {group: _coverage(one) for group, one in by_group.items()}
                for axis, by_group in by_axis.items()
            }
            for name, by_axis in found.coverage.items()
        },
        "checks": {
            f"shuffled_{branch}": _shuffled(one, metric) for branch, one in found.branches.items()
        },
        "missing": {
            branch: _missing(one, metric, ALONE[branch]) for branch, one in found.missing.items()
        },
        "audit": {name: _audit(one) for name, one in found.audits.items()},
    }


def _retest(found: Retest) -> Json:
    return {"n": found.n, "mae": _number(found.apart), "floor": _number(found.floor)}


def _slices(slices: Sequence[Slice]) -> Json:
    laid_out: Json = {}
    for one in slices:
        laid_out.setdefault(one.dimension, {})[one.value] = {
            "n": one.n,
            "authors": one.n_authors,
            "tiny": one.is_tiny,
            "metrics": {metric: _number(x) for metric, x in one.metrics.items()},
        }
    return laid_out


def _coverage(found: Coverage) -> Json:
    return {
        "n": found.n,
        "n_calib": found.n_calib,
        "coverage": _number(found.value),
        "width": _number(found.width),
    }


def _shuffled(found: Shuffled, metric: str) -> Json:
    loss = better_by(metric, found.intact, found.shuffled)
    return {
        "n": found.n,
        "metric": metric,
        "intact": _number(found.intact),
        "shuffled": _number(found.shuffled),
        "loss": _number(loss) | {"p": p_not_better(loss)},
    }


def _missing(found: Missing, metric: str, student: str) -> Json:
    loss = better_by(metric, found.alone, found.fusion)
    return {
        "n": found.n,
        "metric": metric,
        "fusion": _number(found.fusion),
        student: _number(found.alone),
        "loss": _number(loss) | {"p": p_different(loss)},
    }


def _audit(found: Audit) -> Json:
    swaps = found.swaps
    directed = {"shift": swaps.shift, "right": swaps.right}
    return {
        "swap": {
            "n": swaps.n,
            "authors": swaps.n_authors,
            "languages": dict(swaps.languages),
            "judged": swaps.is_enough,
            "change": _number(swaps.change),
            "n_directed": swaps.n_directed,
        }
        | {name: None if x is None else _number(x) for name, x in directed.items()},
        "repeated": {"n": found.n_repeated, "change": _number(found.repeat_change)},
        "odd": dict(found.odd),
        "faults": list(found.faults),
    }


def _number(replicates: Array) -> Json:
    return dict(estimate(replicates).as_dict())
