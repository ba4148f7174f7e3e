"""Diagnostics of the students on the test fold, beyond their metrics, and the teacher's noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from postbias.evaluation.ablation import (
    INPUTS,
    MissingInputResult,
    ShuffledInputResult,
    measure_missing_inputs,
    measure_shuffled_inputs,
    sample_posts_with_both,
    shuffle_input,
)
from postbias.evaluation.calibration_scores import (
    CalibrationScores,
    collect_recentred,
    score_calibration_fold,
)
from postbias.evaluation.counterfactuals import (
    CaptionSample,
    CounterfactualResult,
    measure_counterfactuals,
)
from postbias.evaluation.coverage import CalibrationSample, IntervalCoverage, measure_coverage
from postbias.evaluation.evaluation_set import EvaluationSet, StudentResults
from postbias.evaluation.explained_posts import draw_explained_posts
from postbias.evaluation.faithfulness import FaithfulnessResult, measure_faithfulness
from postbias.evaluation.image_pairs import ImagePair, load_image_pairs, redraw_image_pairs
from postbias.evaluation.image_swaps import (
    PAIRED,
    REDRAWN,
    ImageSwapResult,
    ImageSwapSettings,
    measure_image_swaps,
)
from postbias.evaluation.interval_languages import CaptionLanguages
from postbias.evaluation.labelled_folds import (
    LabelledFold,
    labels_by_id,
    pool_folds,
    read_inputs,
)
from postbias.evaluation.out_of_fold_predictions import read_out_of_fold
from postbias.evaluation.posts_with_text import classify_image_text
from postbias.evaluation.slices import SliceResult, classify_posts, measure_slices
from postbias.evaluation.teacher_noise import TeacherNoise, measure_teacher_noise
from postbias.evaluation.word_swaps import load_word_pairs
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.languages import identify_languages
from postbias.scoring.manifest import Interval, Manifest
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import resample_authors

logger = logging.getLogger(__name__)

#: Maximum number of test posts that are shuffled or reworded; bounds time and memory.
MAX_POSTS = 500


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Diagnostics of all students.

    Attributes:
        teacher_noise: By axis; `None` if too few labels were repeated.
        slices: By student.
        coverage: Interval coverage by student, axis and group of modalities.
        language_intervals: Intervals by language of the main axis, by student and modalities.
        shuffled: Modality ablation of the fusion student by shuffled input; empty without one.
        missing: Modality ablation of the fusion student by removed input; empty without one.
        counterfactuals: By student that reads captions.
        image_swaps: By student that reads images, then by source of the images.
        faithfulness: Faithfulness of explanations by student.
    """

    teacher_noise: Mapping[str, TeacherNoise | None]
    slices: Mapping[str, Sequence[SliceResult]]
    coverage: Mapping[str, Mapping[str, Mapping[str, IntervalCoverage]]]
    language_intervals: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    shuffled: Mapping[str, ShuffledInputResult]
    missing: Mapping[str, MissingInputResult]
    counterfactuals: Mapping[str, CounterfactualResult]
    image_swaps: Mapping[str, Mapping[str, ImageSwapResult]]
    faithfulness: Mapping[str, FaithfulnessResult]


def diagnose_students(
    paths: Paths,
    params: Params,
    test: EvaluationSet,
    folds: Mapping[str, LabelledFold],
    students: Mapping[str, StudentResults],
) -> Diagnostics:
    """Run all diagnostics; reads posts, labels, students and word pairs.

    Args:
        students: Results by student.
    """
    evaluate = params.evaluate
    rng_noise, rng_rows, rng_shuffle, rng_calib, rng_orders, rng_images = np.random.default_rng(
        params.seed
    ).spawn(8)[2:]
    logger.info(
        "slices, interval coverage, modality ablation, counterfactual captions and images, "
        "explanations"
    )
    languages = identify_languages(test.fold.captions)
    dimensions = classify_posts(paths, test.fold, languages)
    dimensions |= classify_image_text(paths, params, test.fold)
    captions = CaptionSample(
        rows=np.sort(rng_rows.permutation(len(test.fold))[:MAX_POSTS]),
        languages=languages,
        pairs=load_word_pairs(paths.root / evaluate.audit.word_pairs),
        orientation=evaluate.audit.orientation,
    )
    image_pairs = _collect_image_pairs(paths, params, test.fold, rng_images)
    coverage, shuffled, missing, counterfactuals, faithfulness = {}, {}, {}, {}, {}
    image_swaps, language_intervals = {}, {}
    sample = draw_explained_posts(paths, test.fold, rng_orders)
    by_student = {name: student.test for name, student in students.items()}
    for name, student in students.items():
        with _open_shipped(paths, params, name) as scorer:
            if params.train.cross_fit is None:
                held_out = folds["calib"]
                scores = score_calibration_fold(scorer, paths.sampled_posts, labels_by_id(held_out))
            else:
                held_out = pool_folds(folds)
                out_of_fold = read_out_of_fold(paths, name, test.axes)
                scores = collect_recentred(out_of_fold, labels_by_id(held_out))
            calib = _resample_calib(scores, held_out, (test, evaluate.coverage), rng_calib)
            calib = _add_languages(calib, held_out, scorer.manifest)
            coverage[name] = measure_coverage(test, student.test, scorer.manifest, calib)
            by_language = scorer.manifest.language_intervals.get(test.axes[0].name, {})
            language_intervals[name] = by_language
            if scorer.manifest.has_text:
                counterfactuals[name] = measure_counterfactuals(test, scorer, captions)
            if scorer.manifest.has_image:
                image_swaps[name] = _swap_images(scorer, image_pairs, params)
            faithfulness[name] = measure_faithfulness(
                test, scorer, sample, (rng_orders, evaluate.gate.alpha)
            )
            if scorer.manifest.has_text and scorer.manifest.has_image:
                rows = sample_posts_with_both(student.test, MAX_POSTS, rng_rows)
                posts = read_inputs(paths, test.fold, rows)
                permuted = {part: shuffle_input(posts, part, rng_shuffle) for part in INPUTS}
                metric = evaluate.main_metric
                shuffled = measure_shuffled_inputs(test, scorer, student.test, permuted, metric)
                missing = measure_missing_inputs(test, scorer, by_student, posts, metric)
    return Diagnostics(
        teacher_noise=measure_teacher_noise(paths, folds, test.axes, evaluate.bootstrap, rng_noise),
        slices={
            name: measure_slices(test, student.test, dimensions, evaluate.main_metric)
            for name, student in students.items()
        },
        coverage=coverage,
        language_intervals=language_intervals,
        shuffled=shuffled,
        missing=missing,
        counterfactuals=counterfactuals,
        image_swaps=image_swaps,
        faithfulness=faithfulness,
    )


def _collect_image_pairs(
    paths: Paths, params: Params, fold: LabelledFold, rng: np.random.Generator
) -> dict[str, Sequence[ImagePair]]:
    """Collect paired images by source; empty for a source that has none."""
    rows = np.sort(rng.permutation(len(fold))[:MAX_POSTS]).tolist()
    folder = paths.root / params.evaluate.audit.image_pairs
    return {
        REDRAWN: redraw_image_pairs(paths, fold, rows) or [],
        PAIRED: load_image_pairs(folder),
    }


def _swap_images(
    scorer: Scorer, pairs: Mapping[str, Sequence[ImagePair]], params: Params
) -> dict[str, ImageSwapResult]:
    evaluate = params.evaluate
    settings = ImageSwapSettings(evaluate.audit.orientation, evaluate.bootstrap, params.seed)
    measured = {
        # Redrawn images of one topic differ in the symbol, too.
        source: measure_image_swaps(scorer, images, replace(settings, has_control=source == PAIRED))
        for source, images in pairs.items()
    }
    return {source: result for source, result in measured.items() if result is not None}


def _open_shipped(paths: Paths, params: Params, name: str) -> Scorer:
    return Scorer.open(
        paths.students / name,
        precision=params.infer.precision,
        threads=params.threads,
        device=params.infer.device,
        image_texts=paths.image_texts,
    )


def _resample_calib(
    scores: CalibrationScores,
    fold: LabelledFold,
    settings: tuple[EvaluationSet, float],
    rng: np.random.Generator,
) -> CalibrationSample:
    """Resample the authors of the residuals as often as those of test."""
    test, nominal = settings
    author_of = dict(zip(fold.post_ids, fold.authors, strict=True))
    authors = [author_of[post_id] for post_id in scores.post_ids]
    resamples = resample_authors(authors, len(test.resamples.counts) - 1, rng)
    return CalibrationSample(scores, resamples, nominal)


def _add_languages(
    calib: CalibrationSample, fold: LabelledFold, manifest: Manifest
) -> CalibrationSample:
    """Add the languages of the calib posts, if the student's intervals depend on them."""
    if not manifest.language_intervals:
        return calib
    by_modalities = next(iter(manifest.language_intervals.values()))  # the same on all axes
    groups = {used: tuple(codes) for used, codes in by_modalities.items()}
    return replace(calib, languages=CaptionLanguages.of_fold(fold), language_groups=groups)
