"""Metrics of students and baselines on the same posts of a fold and the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postbias.axes import Axis
from postbias.evaluation.baselines import (
    TfidfRidgePredictions,
    find_best_constants,
    predict_tfidf_ridge,
)
from postbias.evaluation.cross_fitted_baseline import predict_tfidf_cross_fitted
from postbias.evaluation.labelled_folds import LATER, FoldPredictions, LabelledFold
from postbias.stats.bootstrap import Array, Resamples, resample_authors
from postbias.stats.conformal import fit_intervals
from postbias.stats.metrics import (
    INTERVAL_METRICS,
    POINT_METRICS,
    Predictions,
    compute_metrics,
)

CONSTANT, TFIDF = "constant", "tfidf_ridge"

#: Replicates by axis, then metric. (1 + R,)
Measured = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class StudentResults:
    """Predictions and metrics of one student.

    Attributes:
        digest: Digest of its artifact.
        valid: Predictions of the valid fold, as shipped (int8).
        test: Predictions of the test fold, as shipped.
        test_fp32: Predictions of the test fold in full precision.
        measured: Replicates of every metric, by `valid`, `test`, `test_fp32` and, if cross-fitted,
            `out_of_fold`.
    """

    digest: str
    valid: FoldPredictions
    test: FoldPredictions
    test_fp32: FoldPredictions
    measured: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class BaselineResults:
    """Predictions and metrics of the baselines.

    Attributes:
        constants: Best constant of each metric by axis, found on train.
        tfidf: Predictions of TF-IDF with ridge regression for every fold.
        predictions: Its predictions of the test fold by axis, with intervals fitted on calib.
        measured: Replicates of every metric, by `constant` and `tfidf_ridge`, then `test` and, if
            cross-fitted, `out_of_fold`.
    """

    constants: Mapping[str, Mapping[str, float]]
    tfidf: TfidfRidgePredictions
    predictions: Mapping[str, Predictions]
    measured: Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A fold with resamples of its authors, shared by all models measured on it.

    Attributes:
        fold: The labelled posts.
        axes: Scored axes, the main axis first.
        resamples: Resamples of authors.
    """

    fold: LabelledFold
    axes: tuple[Axis, ...]
    resamples: Resamples

    @classmethod
    def create(
        cls,
        fold: LabelledFold,
        axes: tuple[Axis, ...],
        replications: int,
        rng: np.random.Generator,
    ) -> EvaluationSet:
        """Resample the authors of a fold."""
        return cls(fold, axes, resample_authors(fold.authors, replications, rng))

    def measure(self, predictions: Mapping[str, Predictions]) -> dict[str, dict[str, Array]]:
        """Measure predictions over the posts that have a score.

        Args:
            predictions: Predictions by axis.

        Returns:
            Replicates by axis, then metric. (1 + R,)
        """
        return {
            axis.name: self.measure_axis(column, predictions[axis.name])
            for column, axis in enumerate(self.axes)
        }

    def measure_axis(self, column: int, predictions: Predictions) -> dict[str, Array]:
        """Measure predictions of one axis.

        Args:
            column: Index of the axis.
            predictions: Predictions of that axis.

        Returns:
            Replicates by metric. (1 + R,)
        """
        labels = self.fold.labels[:, column]
        return compute_metrics(labels, predictions, self.axes[column], self.resamples)

    def measure_constant(
        self, column: int, constants: Mapping[str, float], rows: Predictions | None = None
    ) -> dict[str, Array]:
        """Measure the best constant of each metric.

        Args:
            column: Index of the axis.
            constants: Result of `find_best_constants` on the train fold.
            rows: If given, measure on the posts that have a score here, else on all.

        Returns:
            Replicates by metric, each of its own constant. (1 + R,)
        """
        by_value: dict[float, dict[str, Array]] = {}
        for metric in POINT_METRICS:
            if constants[metric] not in by_value:
                constant = self.predict_constant(constants, metric)
                constant = constant if rows is None else constant.restrict(rows.is_scored)
                by_value[constants[metric]] = self.measure_axis(column, constant)
        measured = {metric: by_value[constants[metric]][metric] for metric in POINT_METRICS}
        return measured | {name: by_value[constants["mae"]][name] for name in INTERVAL_METRICS}

    def predict_constant(self, constants: Mapping[str, float], metric: str) -> Predictions:
        """Predict the best constant of a metric, with its interval, for every post."""
        values = constants[metric], constants["lo"], constants["hi"]
        return Predictions(*(np.full(len(self.fold), value) for value in values))


@dataclass(frozen=True, slots=True)
class CrossFittedPosts:
    """The posts of train, valid and calib, of which cross-fitted students have out-of-fold scores.

    Attributes:
        posts: All of them, with their resamples.
        groups: Group of each post by id.
    """

    posts: EvaluationSet
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EvaluationSets:
    """The posts that students are measured on.

    Attributes:
        valid: The valid fold.
        test: The test fold.
        cross_fitted: The posts with out-of-fold scores; None without cross-fitting.
        folds: All folds.
    """

    valid: EvaluationSet
    test: EvaluationSet
    cross_fitted: CrossFittedPosts | None
    folds: Mapping[str, LabelledFold]


def measure_student(
    sets: EvaluationSets,
    digest: str,
    predictions: tuple[FoldPredictions, FoldPredictions, FoldPredictions],
) -> StudentResults:
    """Measure one student on valid and test.

    Args:
        sets: The posts.
        digest: Digest of its artifact.
        predictions: Of valid and test as shipped, and of test in fp32.

    Returns:
        Its predictions and metrics.
    """
    valid, test = sets.valid, sets.test
    measured = {
        "valid": valid.measure(predictions[0].by_axis),
        "test": test.measure(predictions[1].by_axis),
        "test_fp32": test.measure(predictions[2].by_axis),
    }
    return StudentResults(digest, *predictions, measured=measured)


def measure_baselines(
    sets: EvaluationSets, texts: Mapping[str, Sequence[str]], coverage: float
) -> BaselineResults:
    """Fit the baselines on train, their intervals on calib, and measure them on test.

    If the students are cross-fitted, so are the baselines.

    Args:
        sets: All posts; valid is used to choose the ridge penalty.
        texts: Text of every post by fold, for TF-IDF.
        coverage: Nominal coverage of the intervals.

    Returns:
        Their predictions and metrics.
    """
    test, folds, crossed = sets.test, sets.folds, sets.cross_fitted
    if crossed is None:
        train, calib = folds["train"], folds["calib"]
        labels = {fold: posts.labels for fold, posts in folds.items()}
        seen = dict(texts)
        if LATER in folds:
            seen["train"] = [*texts["train"], *seen.pop(LATER)]
            labels["train"] = np.concatenate([labels["train"], labels.pop(LATER)])
        tfidf = predict_tfidf_ridge(seen, labels, test.axes)
    else:
        train = calib = crossed.posts.fold
        tfidf = predict_tfidf_cross_fitted(folds, texts, test.axes, crossed.groups)
    constants = {
        axis.name: find_best_constants(train.labels[:, column], axis, coverage)
        for column, axis in enumerate(test.axes)
    }
    constant = {
        axis.name: test.measure_constant(column, constants[axis.name])
        for column, axis in enumerate(test.axes)
    }
    predictions = {
        axis.name: _add_intervals(tfidf, column, calib, (axis, coverage))
        for column, axis in enumerate(test.axes)
    }
    measured = {CONSTANT: {"test": constant}, TFIDF: {"test": test.measure(predictions)}}
    if crossed is not None:
        measured[TFIDF]["out_of_fold"] = crossed.posts.measure(_without_intervals(tfidf, test.axes))
    return BaselineResults(constants, tfidf, predictions, measured)


def _without_intervals(
    tfidf: TfidfRidgePredictions, axes: Sequence[Axis]
) -> dict[str, Predictions]:
    """Return the out-of-fold predictions by axis."""
    columns = tfidf.predictions["calib"].T
    unknown = np.full_like(columns[0], np.nan)
    pairs = zip(axes, columns, strict=True)
    return {axis.name: Predictions(values, unknown, unknown) for axis, values in pairs}


def _add_intervals(
    tfidf: TfidfRidgePredictions,
    column: int,
    calib: LabelledFold,
    settings: tuple[Axis, float],
) -> Predictions:
    """Add prediction intervals like those of a student to the predictions of the test fold."""
    axis, coverage = settings
    residuals = calib.labels[:, column] - tfidf.predictions["calib"][:, column]
    group = ["text"] * len(calib)
    offsets = fit_intervals(residuals, group, coverage, span=axis.high - axis.low)["text"]
    values = tfidf.predictions["test"][:, column]
    return Predictions(
        values,
        np.clip(values + offsets["lo"], axis.low, axis.high),
        np.clip(values + offsets["hi"], axis.low, axis.high),
    )
