"""Evaluate the students of the pipeline beside the baselines, and choose one to promote."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pyarrow.compute as pc

from postbias.errors import InputError
from postbias.evaluation.coverage import ALL_GROUPS
from postbias.evaluation.diagnostics import Diagnostics, diagnose_students
from postbias.evaluation.evaluation_set import (
    CONSTANT,
    TFIDF,
    BaselineResults,
    EvaluationSet,
    StudentResults,
    measure_baselines,
)
from postbias.evaluation.gate import GateEvidence, GateLine, evaluate_gate
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.language_results import (
    LanguageResult,
    group_languages,
    measure_languages,
)
from postbias.evaluation.noise_ceiling import NoiseCeiling, measure_noise_ceilings
from postbias.evaluation.student_measurement import measure_students
from postbias.evaluation.token_loss import TokenLoss, count_lost_tokens
from postbias.params import EvaluateParams, Params
from postbias.paths import Paths
from postbias.posts.image_text_table import read_seen_texts
from postbias.posts.schema import EXCLUDED, SPLIT
from postbias.posts.shards import read_table
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import LOWER_IS_BETTER, Predictions, mean_absolute_error

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of the students of one pipeline.

    Attributes:
        params: Params of the evaluation.
        test_set: The test fold and its resamples.
        folds: All folds.
        students: Results by modality, in the order of the params.
        baselines: Results of the baselines.
        paired: Replicates of the difference in MAE of `<a>_vs_<b>`, by axis; negative if a is
            better.
        chosen: The student that is best on valid.
        diagnostics: Diagnostics of all students.
        languages: Results of every student by language.
        token_loss: Lengths of captions in tokens, by student that reads them, and language.
        gate: Lines of the gate for the chosen student.
        noise_ceilings: By modality and axis; empty unless the corpus is the demo.
    """

    params: EvaluateParams
    test_set: EvaluationSet
    folds: Mapping[str, LabelledFold]
    students: Mapping[str, StudentResults]
    baselines: BaselineResults
    paired: Mapping[str, Mapping[str, Array]]
    chosen: str
    diagnostics: Diagnostics
    languages: Mapping[str, Sequence[LanguageResult]]
    token_loss: Mapping[str, Mapping[str, TokenLoss]]
    gate: Mapping[str, GateLine]
    noise_ceilings: Mapping[str, Mapping[str, NoiseCeiling]]


def evaluate(paths: Paths, params: Params) -> Evaluation:
    """Evaluate all students of the pipeline, as shipped (int8).

    A post that a student cannot score gets no default score: each student is measured on the posts
    that it can score, and two students are compared on the posts that both can score.

    Args:
        paths: The repository, with posts, labels, the split and its audit, and the students.

    Returns:
        The results, the student chosen on valid, and the lines of the gate on test.
    """
    students, sets = measure_students(paths, params)
    test, folds = sets.test, sets.folds
    logger.info("baselines")
    texts = {
        fold: read_seen_texts(paths, params, posts.post_ids)
        if params.images.ocr
        else posts.captions
        for fold, posts in folds.items()
    }
    baselines = measure_baselines(sets, texts, params.evaluate.coverage)
    chosen = choose_student(sets.valid, students, params.evaluate.main_metric)
    diagnostics = diagnose_students(paths, params, test, folds, students)
    logger.info("languages")
    codes = group_languages(folds)
    languages = measure_languages(sets, codes, texts, students, params.evaluate.main_metric)
    evidence = _collect_evidence(
        test, students[chosen], baselines, params.evaluate, count_leaks(paths)
    )
    return Evaluation(
        params=params.evaluate,
        test_set=test,
        folds=folds,
        students=students,
        baselines=baselines,
        paired=_pair_models(test, students, baselines),
        chosen=chosen,
        diagnostics=diagnostics,
        languages=languages,
        token_loss=count_lost_tokens(paths, folds, codes, list(students)),
        gate=evaluate_gate(
            replace(
                _add_diagnostics(evidence, diagnostics, chosen),
                languages={
                    one.language: one.p_worse
                    for one in languages[chosen]
                    if one.is_judged and one.p_worse is not None
                },
            ),
            params.evaluate.gate,
        ),
        noise_ceilings=measure_noise_ceilings(paths, test, students, params.seed),
    )


def choose_student(
    valid: EvaluationSet, students: Mapping[str, StudentResults], metric: str
) -> str:
    """Choose the student that is best on valid by the main metric of the main axis.

    Args:
        students: Results by modality.
        metric: `mae`, `rmse` or `spearman`.

    Returns:
        Modality of the best student; the first of equals. Students are compared on the posts that
        all can score, or each on its own posts if there are none; an undefined metric ranks last.
    """
    main = valid.axes[0].name
    predictions = {name: student.valid.by_axis[main] for name, student in students.items()}
    common = np.logical_and.reduce([scored.is_scored for scored in predictions.values()])
    if not common.any():
        logger.warning(
            "no post of the valid fold can be scored by all students: comparing each on its own "
            "posts"
        )
        common = np.ones_like(common)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0

    def quality(name: str) -> float:
        restricted = predictions[name].restrict(common)
        value = sign * float(valid.measure_axis(0, restricted)[metric][0])
        return value if np.isfinite(value) else -np.inf

    best = max(students, key=quality)
    logger.info("%s is best on the valid fold: %s %.4g", best, metric, sign * quality(best))
    return best


def count_leaks(paths: Paths) -> int:
    """Count authors and near-duplicate clusters that are in more than one fold.

    Args:
        paths: The repository, with the split and its audit.

    Returns:
        Their number in the split, or the number of leaks that the audit in `reports/split.json`
        found by comparing posts, if that is larger.

    Raises:
        InputError: If there is no audit.
    """
    split = read_table(paths.split, SPLIT)
    split = split.filter(pc.not_equal(split["fold"], EXCLUDED))
    leaks = 0
    for unit in ("author", "cluster"):
        folds = split.group_by(unit).aggregate([("fold", "count_distinct")])
        leaks += int(pc.sum(pc.greater(folds["fold_count_distinct"], 1)).as_py() or 0)
    report = paths.reports / "split.json"
    try:
        audited = json.loads(report.read_text(encoding="utf-8"))["audit"]["leakage"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the split has no audit", seen=str(report), do="run `dvc repro split`"
        ) from error
    return max(leaks, int(audited))


def _pair_models(
    test: EvaluationSet, students: Mapping[str, StudentResults], baselines: BaselineResults
) -> dict[str, dict[str, Array]]:
    """Compare students with each other and with the baselines on posts that both can score."""
    predictions = {name: student.test.by_axis for name, student in students.items()}
    predictions |= {
        TFIDF: baselines.predictions,
        CONSTANT: {
            axis.name: test.predict_constant(baselines.constants[axis.name], "mae")
            for axis in test.axes
        },
    }
    pairs = [pair for pair in combinations(predictions, 2) if pair[0] in students]
    return {
        f"{a}_vs_{b}": {
            axis.name: _difference_in_mae(
                test, column, predictions[a][axis.name], predictions[b][axis.name]
            )
            for column, axis in enumerate(test.axes)
        }
        for a, b in pairs
    }


def _difference_in_mae(
    test: EvaluationSet, column: int, first: Predictions, second: Predictions
) -> Array:
    """Return the MAE of the first minus that of the second, (1 + R,)."""
    labels = test.fold.labels[:, column]
    return mean_absolute_error(
        labels, first.restrict(second.is_scored), test.resamples
    ) - mean_absolute_error(labels, second.restrict(first.is_scored), test.resamples)


def _collect_evidence(
    test: EvaluationSet,
    student: StudentResults,
    baselines: BaselineResults,
    params: EvaluateParams,
    n_leaks: int,
) -> GateEvidence:
    """Collect what the gate needs, all on the posts that the student can score."""
    metric = params.main_metric
    main = test.axes[0].name
    scored = student.test.by_axis[main]
    rows = scored.is_scored
    constant = test.measure_constant(0, baselines.constants[main], scored)
    tfidf = test.measure_axis(0, baselines.predictions[main].restrict(rows))
    return GateEvidence(
        metric=metric,
        student=student.measured["test"][main][metric],
        student_fp32=float(student.measured["test_fp32"][main][metric][0]),
        baselines={CONSTANT: constant[metric], TFIDF: tfidf[metric]},
        scores=scored.values[rows],
        labels=test.fold.labels[rows, 0],
        n_leaks=n_leaks,
        nominal=params.coverage,
    )


def _add_diagnostics(evidence: GateEvidence, diagnostics: Diagnostics, chosen: str) -> GateEvidence:
    """Add diagnostics of the chosen student; modality ablation is that of the fusion student."""
    return replace(
        evidence,
        coverage={
            axis: groups.get(ALL_GROUPS) for axis, groups in diagnostics.coverage[chosen].items()
        },
        shuffled=diagnostics.shuffled if chosen == "fusion" else {},
        counterfactuals=diagnostics.counterfactuals.get(chosen),
        image_swaps=diagnostics.image_swaps.get(chosen, {}),
    )
