"""Score and measure the students of a pipeline on the valid and the test fold, or out-of-fold."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from postbias.errors import ArtifactError
from postbias.evaluation.evaluation_set import (
    CrossFittedPosts,
    EvaluationSet,
    EvaluationSets,
    StudentResults,
    measure_student,
)
from postbias.evaluation.labelled_folds import load_labelled_folds, pool_folds, score_folds
from postbias.evaluation.out_of_fold_predictions import predict_out_of_fold, read_out_of_fold
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.cross_fitting_groups import assign_cross_fitting_groups
from postbias.posts.schema import CROSS_FITTED_FOLDS, SPLIT
from postbias.posts.shards import read_table
from postbias.scoring.manifest import Precision
from postbias.scoring.scorer import Scorer


def measure_students(
    paths: Paths, params: Params
) -> tuple[dict[str, StudentResults], EvaluationSets]:
    """Score and measure every student.

    A student that was trained on the valid fold is measured there by its out-of-fold scores.

    Args:
        paths: The repository, with posts, labels, folds and students.

    Returns:
        Results by modality, and the posts that they were measured on.

    Raises:
        ArtifactError: If the students score different axes.
        CorpusError: If train, valid or test is empty, or posts are missing.
    """
    modalities = params.train.modalities
    with ExitStack() as stack:

        def open_scorer(modality: str, precision: Precision) -> Scorer:
            folder = paths.students / modality
            scorer = Scorer.open(
                folder,
                precision=precision,
                threads=params.threads,
                device=params.infer.device,
                image_texts=paths.image_texts,
            )
            return stack.enter_context(scorer)

        shipped = {m: open_scorer(m, params.infer.precision) for m in modalities}
        fp32 = {m: open_scorer(m, "fp32") for m in modalities}
        axes = shipped[modalities[0]].manifest.axes
        if others := [name for name, s in shipped.items() if s.manifest.axes != axes]:
            raise ArtifactError(
                "the students score different axes",
                seen=others,
                do="run `dvc repro` to train all of them",
            )
        learned = ("train",) if params.train.cross_fit is None else CROSS_FITTED_FOLDS
        folds = load_labelled_folds(paths, axes, learned)
        tasks = []
        for modality in modalities:
            tasks += [(shipped[modality], folds["valid"])] if params.train.cross_fit is None else []
            tasks += [(shipped[modality], folds["test"]), (fp32[modality], folds["test"])]
        scored = iter(score_folds(paths, tasks, axes))
        digests = {modality: shipped[modality].artifact.digest for modality in modalities}
    valid_rng, test_rng, crossed_rng = np.random.default_rng(params.seed).spawn(3)
    replications = params.evaluate.bootstrap
    crossed = None
    if params.train.cross_fit is not None:
        pooled = EvaluationSet.create(pool_folds(folds), axes, replications, crossed_rng)
        split = read_table(paths.split, SPLIT)
        groups = assign_cross_fitting_groups(split, params.train.cross_fit, params.seed)
        crossed = CrossFittedPosts(pooled, groups)
    sets = EvaluationSets(
        valid=EvaluationSet.create(folds["valid"], axes, replications, valid_rng),
        test=EvaluationSet.create(folds["test"], axes, replications, test_rng),
        cross_fitted=crossed,
        folds=folds,
    )
    students: dict[str, StudentResults] = {}
    for modality in modalities:
        if crossed is None:
            predictions = (next(scored), next(scored), next(scored))
            students[modality] = measure_student(sets, digests[modality], predictions)
            continue
        scores, settings = read_out_of_fold(paths, modality, axes), (axes, params.evaluate.coverage)
        on_valid, on_all = (
            predict_out_of_fold(scores, fold, crossed.posts.fold, settings)
            for fold in (folds["valid"], crossed.posts.fold)
        )
        predictions = (on_valid, next(scored), next(scored))
        student = measure_student(sets, digests[modality], predictions)
        out_of_fold = {"out_of_fold": crossed.posts.measure(on_all.by_axis)}
        students[modality] = replace(student, measured={**student.measured, **out_of_fold})
    return students, sets
