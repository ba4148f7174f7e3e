"""All that is asked of students beyond their metrics: where they are weak, what they look at.

Slices, coverage, shuffled branches, changed captions, and the teacher's own error beside them.
Everything is of the test fold, except the teacher's error, which has nothing to do with students.
Writes nothing and decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.ablation import (
    BRANCHES,
    Missing,
    Shuffled,
    check_branches,
    check_missing,
    deal,
    rows_with_both,
)
from postbias.evaluation.calibration_scores import see_calib
from postbias.evaluation.counterfactuals import Audit, Wording, audit_student
from postbias.evaluation.coverage import Calib, Coverage, measure_coverage
from postbias.evaluation.labelled_folds import Fold, read_inputs
from postbias.evaluation.measure import Bench, StudentEvidence
from postbias.evaluation.slices import Slice, describe_posts, measure_slices
from postbias.evaluation.teacher_noise import Retest, teacher_retest
from postbias.evaluation.word_swaps import load_word_pairs
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.languages import identify_languages
from postbias.scoring.scorer import PostInput, Scorer
from postbias.stats.bootstrap import draw

logger = logging.getLogger(__name__)

#: Test posts that are shuffled or reworded at most: enough to tell, and bounds time and memory.
MOST_POSTS = 500


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """What was found.

    Attributes:
        retest: The teacher's own error by axis; None where its labels were not repeated.
        slices: By student.
        coverage: By student, axis and group of modalities.
        branches: What the fusion student does with a branch shuffled; empty if there is none.
        missing: What it does on posts that lack a branch; empty if there is none.
        audits: By student that reads captions.
    """

    retest: Mapping[str, Retest | None]
    slices: Mapping[str, Sequence[Slice]]
    coverage: Mapping[str, Mapping[str, Mapping[str, Coverage]]]
    branches: Mapping[str, Shuffled]
    missing: Mapping[str, Missing]
    audits: Mapping[str, Audit]


def scrutinise(
    paths: Paths,
    params: Params,
    test: Bench,
    folds: Mapping[str, Fold],
    students: Mapping[str, StudentEvidence],
) -> Scrutiny:
    """Look at the students from all these sides.

    Args:
        paths: The repository; reads posts, labels, students and word pairs.
        params: How students are judged.
        test: The test fold and its draws.
        folds: All folds.
        students: What the students showed.

    Returns:
        What was found.
    """
    judged = params.evaluate
    rng_retest, rng_rows, rng_deal, rng_calib = np.random.default_rng(params.seed).spawn(6)[2:]
    logger.info("slices, coverage and audit")
    languages = identify_languages(test.fold.captions)
    kinds = describe_posts(paths, test.fold, languages)
    wording = Wording(
        rows=np.sort(rng_rows.permutation(len(test.fold))[:MOST_POSTS]),
        languages=languages,
        pairs=load_word_pairs(paths.root / judged.audit.word_pairs),
        orientation=judged.audit.orientation,
    )
    coverage, branches, missing, audits = {}, {}, {}, {}
    said = {name: student.test for name, student in students.items()}
    for name, student in students.items():
        with Scorer.open(
            paths.students / name,
            precision=params.infer.precision,
            threads=params.threads,
            device=params.infer.device,
        ) as scorer:
            calib = _calib(scorer, paths, folds["calib"], (test, judged.coverage), rng_calib)
            coverage[name] = measure_coverage(test, student.test, scorer.manifest.intervals, calib)
            if scorer.manifest.has_text:
                audits[name] = audit_student(test, scorer, wording)
            if scorer.manifest.has_text and scorer.manifest.has_image:
                rows = rows_with_both(student.test, MOST_POSTS, rng_rows)
                posts = _read(paths, test.fold, rows)
                dealt = {branch: deal(posts, branch, rng_deal) for branch in BRANCHES}
                branches = check_branches(test, scorer, student.test, dealt, judged.main_metric)
                missing = check_missing(test, scorer, said, posts, judged.main_metric)
    return Scrutiny(
        retest=teacher_retest(paths, folds, test.axes, judged.bootstrap, rng_retest),
        slices={
            name: measure_slices(test, student.test, kinds, judged.main_metric)
            for name, student in students.items()
        },
        coverage=coverage,
        branches=branches,
        missing=missing,
        audits=audits,
    )


def _calib(
    scorer: Scorer, paths: Paths, fold: Fold, of: tuple[Bench, float], rng: np.random.Generator
) -> Calib:
    """Look at the calib fold with a student's eyes, and draw its authors as often as test's."""
    test, nominal = of
    views = see_calib(scorer, paths.posts, dict(zip(fold.post_ids, fold.labels, strict=True)))
    author_of = dict(zip(fold.post_ids, fold.authors, strict=True))
    authors = [author_of[post_id] for post_id in views.post_ids]
    draws = draw(authors, len(test.resamples.counts) - 1, rng)
    return Calib(views, draws, nominal)


def _read(paths: Paths, fold: Fold, rows: Sequence[int] | np.ndarray) -> dict[int, PostInput]:
    """Read what a student sees of some posts, by position in the fold."""
    position = {fold.post_ids[row]: int(row) for row in rows}
    return {
        position[post_id]: post
        for posts in read_inputs(paths, set(position), has_image=True)
        for post_id, post in posts.items()
    }
