"""Where students and baselines are measured on the same posts and the same draws of authors.

Knows what was measured, not what follows from it: see `postbias.evaluation.evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.axes import Axis
from postbias.evaluation.baselines import TfidfRidge, best_constants, tfidf_ridge
from postbias.evaluation.labelled_folds import Fold, Scored
from postbias.stats.bootstrap import Array, Resamples, draw
from postbias.stats.conformal import fit_intervals
from postbias.stats.metrics import INTERVAL_METRICS, POINT_METRICS, Predictions, measure

CONSTANT, TFIDF = "constant", "tfidf_ridge"

#: Replicates by axis, then metric. (1 + R,)
Measured = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class StudentEvidence:
    """What one student showed.

    Attributes:
        digest: Of its artifact.
        valid: Its scores of the valid fold, as it ships (int8).
        test: Its scores of the test fold, as it ships.
        test_fp32: The same in full precision.
        measured: Replicates of every metric, by `valid`, `test` and `test_fp32`.
    """

    digest: str
    valid: Scored
    test: Scored
    test_fp32: Scored
    measured: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class BaselineEvidence:
    """What the baselines showed on the test fold.

    Attributes:
        constants: Per axis the best constant of each metric, found on train.
        tfidf: What TF-IDF with ridge predicts for every fold but train.
        predictions: Its predictions of the test fold with intervals from calib, by axis.
        measured: Replicates of every metric, by `constant` and `tfidf_ridge`.
    """

    constants: Mapping[str, Mapping[str, float]]
    tfidf: TfidfRidge
    predictions: Mapping[str, Predictions]
    measured: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Bench:
    """A fold and its draws.

    Attributes:
        fold: The posts, with labels.
        axes: The axes, the main one first.
        resamples: The draws of authors, shared by all that is measured here.
    """

    fold: Fold
    axes: tuple[Axis, ...]
    resamples: Resamples

    @classmethod
    def of(cls, fold: Fold, axes: tuple[Axis, ...], n: int, rng: np.random.Generator) -> Bench:
        """Draw the authors of a fold.

        Args:
            fold: The posts.
            axes: The axes.
            n: Replications.
            rng: Where the randomness comes from.

        Returns:
            The bench.
        """
        return cls(fold, axes, draw(fold.authors, n, rng))

    def measure(self, predictions: Mapping[str, Predictions]) -> dict[str, dict[str, Array]]:
        """Measure what a model predicts, over the posts that it can score.

        Args:
            predictions: Its predictions by axis.

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
            predictions: What is said of each post.

        Returns:
            Replicates by metric. (1 + R,)
        """
        labels = self.fold.labels[:, column]
        return measure(labels, predictions, self.axes[column], self.resamples)

    def measure_constant(
        self, column: int, constants: Mapping[str, float], rows: Predictions | None = None
    ) -> dict[str, Array]:
        """Measure the best constant of each metric.

        Args:
            column: Index of the axis.
            constants: As found by `best_constants` on the train fold.
            rows: Measure it on the posts that have a score here; on all if not given.

        Returns:
            Replicates by metric, each of its own constant. (1 + R,)
        """
        by_value: dict[float, dict[str, Array]] = {}
        for metric in POINT_METRICS:
            if constants[metric] not in by_value:
                said = self.constant(constants, metric)
                said = said if rows is None else said.only(rows.is_scored)
                by_value[constants[metric]] = self.measure_axis(column, said)
        measured = {metric: by_value[constants[metric]][metric] for metric in POINT_METRICS}
        return measured | {name: by_value[constants["mae"]][name] for name in INTERVAL_METRICS}

    def constant(self, constants: Mapping[str, float], metric: str) -> Predictions:
        """Say the constant that is best for a metric of every post.

        Args:
            constants: As found by `best_constants` on the train fold.
            metric: The metric.

        Returns:
            The same score and interval for every post.
        """
        n, said = len(self.fold), (constants[metric], constants["lo"], constants["hi"])
        return Predictions(*(np.full(n, x) for x in said))


def measure_student(
    benches: tuple[Bench, Bench], digest: str, scored: tuple[Scored, Scored, Scored]
) -> StudentEvidence:
    """Measure one student on valid and test.

    Args:
        benches: Of the valid and of the test fold.
        digest: Of its artifact.
        scored: Its scores of valid and test as it ships, and of test in fp32.

    Returns:
        What it showed.
    """
    valid, test = benches
    measured = {
        "valid": valid.measure(scored[0].by_axis),
        "test": test.measure(scored[1].by_axis),
        "test_fp32": test.measure(scored[2].by_axis),
    }
    return StudentEvidence(digest, *scored, measured=measured)


def measure_baselines(test: Bench, folds: Mapping[str, Fold], coverage: float) -> BaselineEvidence:
    """Fit the baselines on train and measure them on test.

    Args:
        test: The bench of the test fold.
        folds: All folds: train to learn from, valid to choose from, calib for intervals.
        coverage: Nominal coverage of their intervals.

    Returns:
        What they showed.
    """
    train = folds["train"].labels
    constants = {
        axis.name: best_constants(train[:, column], axis, coverage)
        for column, axis in enumerate(test.axes)
    }
    constant = {
        axis.name: test.measure_constant(column, constants[axis.name])
        for column, axis in enumerate(test.axes)
    }
    tfidf = tfidf_ridge(
        {fold: posts.captions for fold, posts in folds.items()},
        {fold: posts.labels for fold, posts in folds.items()},
        test.axes,
    )
    predictions = {
        axis.name: _with_interval(tfidf, column, folds["calib"], (axis, coverage))
        for column, axis in enumerate(test.axes)
    }
    measured = {CONSTANT: constant, TFIDF: test.measure(predictions)}
    return BaselineEvidence(constants, tfidf, predictions, measured)


def _with_interval(
    tfidf: TfidfRidge, column: int, calib: Fold, how: tuple[Axis, float]
) -> Predictions:
    """Give TF-IDF's predictions the intervals that a student's scores have."""
    axis, coverage = how
    residuals = calib.labels[:, column] - tfidf.predictions["calib"][:, column]
    group = ["text"] * len(calib)
    offsets = fit_intervals(residuals, group, coverage, span=axis.high - axis.low)["text"]
    values = tfidf.predictions["test"][:, column]
    return Predictions(
        values,
        np.clip(values + offsets["lo"], axis.low, axis.high),
        np.clip(values + offsets["hi"], axis.low, axis.high),
    )
