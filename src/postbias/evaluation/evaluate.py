"""Judges the students that ship, beside the baselines, and chooses the one to promote.

Choices are made on valid, claims on test: the student that is best on valid by the main metric is
chosen, and then has to pass the gate on test. Scores come from the scorer that infer and serving
use, in their precision (int8); fp32 stands beside it. A post that a student cannot score is given
no default: each student is judged on the posts that it can score, two of them on those that both
can. Writes nothing: see `postbias.evaluation.outputs`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pyarrow.compute as pc

from postbias.errors import ArtifactError, InputError
from postbias.evaluation.coverage import ALL
from postbias.evaluation.diagnostics import Scrutiny, scrutinise
from postbias.evaluation.gate import Exam, Line, judge
from postbias.evaluation.labelled_folds import Fold, load_folds, score_folds
from postbias.evaluation.measure import (
    CONSTANT,
    TFIDF,
    BaselineEvidence,
    Bench,
    StudentEvidence,
    measure_baselines,
    measure_student,
)
from postbias.evaluation.noise_ceiling import Ceiling, measure_ceilings
from postbias.params import EvaluateParams, Params
from postbias.paths import Paths
from postbias.posts.schema import EXCLUDED, SPLIT
from postbias.posts.shards import read_table
from postbias.scoring.manifest import Precision
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import LESS_IS_BETTER, Predictions, mean_absolute_error

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was found out about the students of one pipeline.

    Attributes:
        params: By what they were judged.
        bench: The test fold and its draws.
        folds: All folds.
        students: By modality, in the order of the params.
        baselines: What they stand beside.
        paired: Replicates of the difference in MAE of `<a>_vs_<b>`, by axis: below 0, a is better.
        chosen: The student that is best on valid.
        scrutiny: Slices, coverage, checks and audits of all students.
        gate: What it showed on test.
        ceilings: On the demo corpus what no model could better, by modality and axis.
    """

    params: EvaluateParams
    bench: Bench
    folds: Mapping[str, Fold]
    students: Mapping[str, StudentEvidence]
    baselines: BaselineEvidence
    paired: Mapping[str, Mapping[str, Array]]
    chosen: str
    scrutiny: Scrutiny
    gate: Mapping[str, Line]
    ceilings: Mapping[str, Mapping[str, Ceiling]]


def evaluate(paths: Paths, params: Params) -> Evaluation:
    """Judge all students of the pipeline.

    Args:
        paths: The repository; reads posts, labels, the split with its audit, and students.
        params: Which students there are and how they are judged.

    Returns:
        The evidence, the choice and the gate's verdict on it.
    """
    limits = params.evaluate
    students, valid, test, folds = _measure_students(paths, params)
    logger.info("baselines")
    baselines = measure_baselines(test, folds, limits.coverage)
    chosen = choose(valid, students, limits.main_metric)
    scrutiny = scrutinise(paths, params, test, folds, students)
    exam = _exam(test, students[chosen], baselines, limits, count_leaks(paths))
    return Evaluation(
        params=limits,
        bench=test,
        folds=folds,
        students=students,
        baselines=baselines,
        paired=_paired(test, students, baselines),
        chosen=chosen,
        scrutiny=scrutiny,
        gate=judge(_with_scrutiny(exam, scrutiny, chosen), limits.gate),
        ceilings=measure_ceilings(paths, test, students, params.seed),
    )


def choose(valid: Bench, students: Mapping[str, StudentEvidence], metric: str) -> str:
    """Choose the student that is best on valid by the main metric of the main axis.

    Args:
        valid: The bench of the valid fold.
        students: The students by modality.
        metric: `mae`, `rmse` or `spearman`.

    Returns:
        The modality of the best; the first named among equals. Students are compared on the posts
        that all can score, or each on its own where there is none; an undefined metric is the
        worst.
    """
    main = valid.axes[0].name
    said = {name: student.valid.by_axis[main] for name, student in students.items()}
    common = np.logical_and.reduce([predictions.is_scored for predictions in said.values()])
    if not common.any():
        logger.warning("no post of valid can be scored by all students: each is judged on its own")
        common = np.ones_like(common)
    sign = -1.0 if metric in LESS_IS_BETTER else 1.0

    def merit(name: str) -> float:
        value = sign * float(valid.measure_axis(0, said[name].only(common))[metric][0])
        return value if np.isfinite(value) else -np.inf

    best = max(students, key=merit)
    logger.info("%s is best on valid: %s %.4g", best, metric, sign * merit(best))
    return best


def count_leaks(paths: Paths) -> int:
    """Count what is in more than one fold and must not be.

    Args:
        paths: The repository; reads the split and its audit.

    Returns:
        Authors plus near-duplicate clusters with posts in two or more folds, or what the audit in
        `reports/split.json` found by comparing posts, if that is more.

    Raises:
        InputError: If there is no audit.
    """
    split = read_table(paths.split, SPLIT)
    split = split.filter(pc.not_equal(split["fold"], EXCLUDED))
    leaks = 0
    for unit in ("author", "cluster"):
        folds = split.group_by(unit).aggregate([("fold", "count_distinct")])
        leaks += int(pc.sum(pc.greater(folds["fold_count_distinct"], 1)).as_py() or 0)
    audited = paths.reports / "split.json"
    try:
        found = json.loads(audited.read_text(encoding="utf-8"))["audit"]["leakage"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "the split has no audit", seen=str(audited), do="run `dvc repro split`"
        ) from error
    return max(leaks, int(found))


def _measure_students(
    paths: Paths, params: Params
) -> tuple[dict[str, StudentEvidence], Bench, Bench, dict[str, Fold]]:
    """Score valid and test with every student, and measure; also return the benches and folds."""
    modalities = params.train.modalities
    with ExitStack() as stack:

        def opened(modality: str, precision: Precision) -> Scorer:
            folder = paths.students / modality
            device = params.infer.device
            scorer = Scorer.open(folder, precision=precision, threads=params.threads, device=device)
            return stack.enter_context(scorer)

        ships = {modality: opened(modality, params.infer.precision) for modality in modalities}
        fp32 = {modality: opened(modality, "fp32") for modality in modalities}
        axes = ships[modalities[0]].manifest.axes
        if odd := [name for name, one in ships.items() if one.manifest.axes != axes]:
            raise ArtifactError(
                "the students score different axes", seen=odd, do="run `dvc repro` to train all"
            )
        folds = load_folds(paths, axes)
        work = [
            piece
            for modality in modalities
            for piece in (
                (ships[modality], folds["valid"]),
                (ships[modality], folds["test"]),
                (fp32[modality], folds["test"]),
            )
        ]
        scored = score_folds(paths, work, axes)
        digests = {modality: ships[modality].artifact.digest for modality in modalities}
    draws = np.random.default_rng(params.seed).spawn(2)
    valid, test = (
        Bench.of(folds[fold], axes, params.evaluate.bootstrap, rng)
        for fold, rng in zip(("valid", "test"), draws, strict=True)
    )
    students: dict[str, StudentEvidence] = {}
    for i, modality in enumerate(modalities):
        one, two, three = scored[3 * i : 3 * i + 3]
        students[modality] = measure_student((valid, test), digests[modality], (one, two, three))
    return students, valid, test, folds


def _paired(
    test: Bench, students: Mapping[str, StudentEvidence], baselines: BaselineEvidence
) -> dict[str, dict[str, Array]]:
    """Compare students with each other and with the baselines on the posts that both can score."""
    said = {name: student.test.by_axis for name, student in students.items()}
    said |= {
        TFIDF: baselines.predictions,
        CONSTANT: {
            axis.name: test.constant(baselines.constants[axis.name], "mae") for axis in test.axes
        },
    }
    pairs = [pair for pair in combinations(said, 2) if pair[0] in students]
    return {
        f"{a}_vs_{b}": {
            axis.name: _difference(test, column, said[a][axis.name], said[b][axis.name])
            for column, axis in enumerate(test.axes)
        }
        for a, b in pairs
    }


def _difference(test: Bench, column: int, one: Predictions, two: Predictions) -> Array:
    """Return by how much the MAE of one is above that of the other: (1 + R,)."""
    labels = test.fold.labels[:, column]
    return mean_absolute_error(
        labels, one.only(two.is_scored), test.resamples
    ) - mean_absolute_error(labels, two.only(one.is_scored), test.resamples)


def _exam(
    test: Bench,
    student: StudentEvidence,
    baselines: BaselineEvidence,
    params: EvaluateParams,
    n_leaks: int,
) -> Exam:
    """Gather what the gate looks at, all on the posts that the student can score."""
    metric = params.main_metric
    main = test.axes[0].name
    said = student.test.by_axis[main]
    rows = said.is_scored
    constant = test.measure_constant(0, baselines.constants[main], said)
    words = test.measure_axis(0, baselines.predictions[main].only(rows))
    return Exam(
        metric=metric,
        student=student.measured["test"][main][metric],
        student_fp32=float(student.measured["test_fp32"][main][metric][0]),
        baselines={CONSTANT: constant[metric], TFIDF: words[metric]},
        scores=said.values[rows],
        labels=test.fold.labels[rows, 0],
        n_leaks=n_leaks,
        nominal=params.coverage,
    )


def _with_scrutiny(exam: Exam, scrutiny: Scrutiny, chosen: str) -> Exam:
    """Add what the gate looks at beyond the metrics; branches are those of the fusion student."""
    return replace(
        exam,
        coverage={axis: by.get(ALL) for axis, by in scrutiny.coverage[chosen].items()},
        branches=scrutiny.branches if chosen == "fusion" else {},
        audit=scrutiny.audits.get(chosen),
    )
