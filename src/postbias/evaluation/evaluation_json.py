"""Convert an evaluation to the content of `reports/evaluate.json`, and that to rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from postbias.evaluation.ablation import (
    STUDENT_WITHOUT,
    MissingInputResult,
    ShuffledInputResult,
)
from postbias.evaluation.counterfactual_json import counterfactuals_to_json, image_swaps_to_json
from postbias.evaluation.coverage import IntervalCoverage
from postbias.evaluation.diagnostics import Diagnostics
from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_set import CONSTANT, TFIDF, Measured, StudentResults
from postbias.evaluation.explanation_json import faithfulness_to_json
from postbias.evaluation.labelled_folds import fold_digest
from postbias.evaluation.language_json import languages_to_json
from postbias.evaluation.slices import SliceResult
from postbias.evaluation.teacher_noise import TeacherNoise
from postbias.stats.bootstrap import (
    CONFIDENCE_LEVEL,
    Array,
    one_sided_p_value,
    summarize_replicates,
    two_sided_p_value,
)
from postbias.stats.metrics import INTERVAL_METRICS, POINT_METRICS, advantage_over

Json = dict[str, Any]


def evaluation_to_json(evaluation: Evaluation) -> Json:
    """Convert an evaluation to the content of `evaluate.json`; undefined numbers are `None`."""
    names, test = _metric_names(evaluation.params.coverage), evaluation.test_set
    is_passed = all(line.is_passed for line in evaluation.gate.values())
    digest = evaluation.students[evaluation.chosen].digest
    return {
        "axes": {
            axis.name: {
                "low": axis.low,
                "high": axis.high,
                "distinct_labels": len(np.unique(test.fold.labels[:, column])),
            }
            for column, axis in enumerate(test.axes)
        },
        "main": {"axis": test.axes[0].name, "metric": evaluation.params.main_metric},
        "test_digest": fold_digest(test.fold),
        "valid_digest": fold_digest(evaluation.folds["valid"]),
        "n": {fold: len(posts) for fold, posts in evaluation.folds.items()}
        | test.fold.count_authors().as_dict("test_"),
        "bootstrap": {
            "replications": evaluation.params.bootstrap,
            "clusters": "author",
            "level": CONFIDENCE_LEVEL,
            "alpha": evaluation.params.gate.alpha,
        },
        "students": {
            name: _student_to_json(student, names) for name, student in evaluation.students.items()
        },
        "baselines": _baselines_to_json(evaluation, names),
        "ceiling": {
            modality: {
                axis: {"r2": _summarize(ceiling.r2), "reached": _summarize(ceiling.reached)}
                for axis, ceiling in by_axis.items()
            }
            for modality, by_axis in evaluation.noise_ceilings.items()
        },
        "paired": {
            pair: {
                axis: _summarize(difference) | {"p": two_sided_p_value(difference)}
                for axis, difference in by_axis.items()
            }
            for pair, by_axis in evaluation.paired.items()
        },
        "chosen": evaluation.chosen,
        "gate": {name: line.as_dict() for name, line in evaluation.gate.items()},
        "champion": {"modality": evaluation.chosen, "digest": digest} if is_passed else None,
        "languages": languages_to_json(evaluation),
    } | _diagnostics_to_json(evaluation.diagnostics, evaluation.params.main_metric)


def slice_rows(report: Json) -> Iterator[Json]:
    """Flatten the slices for a table.

    Args:
        report: Content of `evaluate.json`.

    Yields:
        One row per student, dimension and value.
    """
    for modality, dimensions in report["slices"].items():
        for dimension, values in dimensions.items():
            for value, result in values.items():
                yield {
                    "student": modality,
                    "dimension": dimension,
                    "value": value,
                    "n": result["n"],
                    "authors": result["authors"],
                    "posts_without_author": result["posts_without_author"],
                    "tiny": result["tiny"],
                } | {
                    f"{metric}{suffix}": number[part]
                    for metric, number in result["metrics"].items()
                    for suffix, part in (("", "value"), ("_lo", "lo"), ("_hi", "hi"))
                }


def coverage_rows(report: Json) -> Iterator[Json]:
    """Flatten the interval coverage for a table.

    Args:
        report: Content of `evaluate.json`.

    Yields:
        One row per student, axis and group of modalities.
    """
    for modality, by_axis in report["coverage"].items():
        for axis, by_group in by_axis.items():
            for group, result in by_group.items():
                yield {
                    "student": modality,
                    "axis": axis,
                    "modalities": group,
                    "n": result["n"],
                    "n_calib": result["n_calib"],
                    "coverage": result["coverage"]["value"],
                    "coverage_lo": result["coverage"]["lo"],
                    "coverage_hi": result["coverage"]["hi"],
                    "width": result["width"]["value"],
                }


def headline_metrics(report: Json) -> dict[str, float]:
    """Select the diagnostics by which runs are compared.

    Args:
        report: Content of `evaluate.json`.

    Returns:
        Defined numbers by dotted name: `retest.*`, `checks.*`, `missing.*`, `audit.*` and
        `image_audit.*`.
    """
    named = {
        f"retest.{axis}.floor": result["floor"]["value"]
        for axis, result in report["retest"].items()
        if result
    }
    for check, result in report["checks"].items():
        named[f"checks.{check}.loss"] = result["loss"]["value"]
    for removed, result in report["missing"].items():
        named[f"missing.{removed}.loss"] = result["loss"]["value"]
    for student, result in report["audit"].items():
        named[f"audit.{student}.swap_change"] = result["swap"]["change"]["value"]
        named[f"audit.{student}.swap_shift"] = (result["swap"]["shift"] or {}).get("value")
        named[f"audit.{student}.repeat_change"] = result["repeated"]["change"]["value"]
        named[f"audit.{student}.faults"] = len(result["faults"])
    for student, by_source in report.get("image_audit", {}).items():
        for source, result in by_source.items():
            named[f"image_audit.{student}.{source}_change"] = result["change"]["value"]
            named[f"image_audit.{student}.{source}_shift"] = (result["shift"] or {}).get("value")
    return {name: value for name, value in named.items() if value is not None}


def _metric_names(coverage: float) -> dict[str, str]:
    """Return the names of metrics in `evaluate.json`: `coverage` becomes `coverage_90`."""
    percent = f"{100 * coverage:g}"
    return {metric: metric for metric in POINT_METRICS} | {
        metric: f"{metric}_{percent}" for metric in INTERVAL_METRICS
    }


def _metrics_to_json(parts: Mapping[str, Measured], names: Mapping[str, str]) -> Json:
    return {
        part: {
            axis: {name: _summarize(replicates[metric]) for metric, name in names.items()}
            for axis, replicates in measured.items()
        }
        for part, measured in parts.items()
    }


def _student_to_json(student: StudentResults, names: Mapping[str, str]) -> Json:
    folds = {"valid": student.valid, "test": student.test}
    return {
        "digest": student.digest,
        "n": {fold: sum(scored.modality_counts.values()) for fold, scored in folds.items()},
        "unscored": {fold: dict(scored.unscored) for fold, scored in folds.items()},
        "modalities": dict(student.test.modality_counts),
    } | _metrics_to_json(student.measured, names)


def _baselines_to_json(evaluation: Evaluation, names: Mapping[str, str]) -> Json:
    baselines, tfidf = evaluation.baselines, evaluation.baselines.tfidf
    axes = (axis.name for axis in evaluation.test_set.axes)
    return {
        CONSTANT: _metrics_to_json(baselines.measured[CONSTANT], names)
        | {"constants": baselines.constants},
        TFIDF: _metrics_to_json(baselines.measured[TFIDF], names)
        | {"alphas": dict(zip(axes, tfidf.penalties, strict=True)), "n_terms": tfidf.n_terms},
    }


def _diagnostics_to_json(diagnostics: Diagnostics, metric: str) -> Json:
    return {
        "retest": {
            axis: noise and _noise_to_json(noise)
            for axis, noise in diagnostics.teacher_noise.items()
        },
        "slices": {name: _slices_to_json(slices) for name, slices in diagnostics.slices.items()},
        "coverage": {
            name: {
                axis: {group: _coverage_to_json(result) for group, result in by_group.items()}
                for axis, by_group in by_axis.items()
            }
            for name, by_axis in diagnostics.coverage.items()
        },
        "checks": {
            f"shuffled_{name}": _shuffled_to_json(result, metric)
            for name, result in diagnostics.shuffled.items()
        },
        "missing": {
            name: _missing_to_json(result, metric, STUDENT_WITHOUT[name])
            for name, result in diagnostics.missing.items()
        },
        "audit": {
            name: counterfactuals_to_json(result)
            for name, result in diagnostics.counterfactuals.items()
        },
        "image_audit": {
            name: {source: image_swaps_to_json(result) for source, result in by_source.items()}
            for name, by_source in diagnostics.image_swaps.items()
        },
        "explanations": {k: faithfulness_to_json(v) for k, v in diagnostics.faithfulness.items()},
    }


def _noise_to_json(noise: TeacherNoise) -> Json:
    return {"n": noise.n, "mae": _summarize(noise.retest_mae), "floor": _summarize(noise.floor)}


def _slices_to_json(slices: Sequence[SliceResult]) -> Json:
    by_dimension: Json = {}
    for result in slices:
        by_dimension.setdefault(result.dimension, {})[result.value] = {
            "n": result.n,
            **result.authors.as_dict(),
            "tiny": result.is_tiny,
            "metrics": {metric: _summarize(x) for metric, x in result.metrics.items()},
        }
    return by_dimension


def _coverage_to_json(result: IntervalCoverage) -> Json:
    return {
        "n": result.n,
        "n_calib": result.n_calib,
        "coverage": _summarize(result.value),
        "width": _summarize(result.width),
    }


def _shuffled_to_json(result: ShuffledInputResult, metric: str) -> Json:
    loss = advantage_over(metric, result.intact, result.shuffled)
    return {
        "n": result.n,
        "metric": metric,
        "intact": _summarize(result.intact),
        "shuffled": _summarize(result.shuffled),
        "loss": _summarize(loss) | {"p": one_sided_p_value(loss)},
    }


def _missing_to_json(result: MissingInputResult, metric: str, student: str) -> Json:
    loss = advantage_over(metric, result.single, result.fusion)
    return {
        "n": result.n,
        "metric": metric,
        "fusion": _summarize(result.fusion),
        student: _summarize(result.single),
        "loss": _summarize(loss) | {"p": two_sided_p_value(loss)},
    }


def _summarize(replicates: Array) -> Json:
    return dict(summarize_replicates(replicates).as_dict())
