"""Metrics of scores against labels, on the data and on all bootstrap resamples.

A resample is a set of weights: how often each post was drawn. All metrics except the rank metrics
(`postbias.stats.ranks`) are functions of weighted sums and, since whole authors are drawn, of sums
per author: thousands of replicates of all of them are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postbias.axes import BAND_NAMES, Axis
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.ranks import roc_auc, spearman_correlation

#: Error and agreement metrics, by their names in `evaluate.json`.
POINT_METRICS = (
    "mae",
    "rmse",
    "r2",
    "pearson",
    "spearman",
    "within_05",
    "within_1",
    "within_2",
    "band_accuracy",
    "qwk",
    "auc_high",
)
#: Interval metrics; `evaluate.json` appends their nominal coverage: `coverage_90`, `width_90`.
INTERVAL_METRICS = ("coverage", "width")

#: Metrics for which lower is better.
LOWER_IS_BETTER = frozenset({"mae", "rmse"})


_WITHIN = {"within_05": 0.5, "within_1": 1.0, "within_2": 2.0}
# A score of 7.3 is within 0.5 of a label of 6.8 despite binary rounding.
_TOLERANCE = 1e-9
_N_BANDS = len(BAND_NAMES)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores of the posts of a fold on one axis; NaN for a post without a score.

    Attributes:
        values: Scores. (n,)
        lo: Lower limits of their prediction intervals; NaN without an interval. (n,)
        hi: Upper limits. (n,)
    """

    values: Array
    lo: Array
    hi: Array

    @property
    def is_scored(self) -> npt.NDArray[np.bool_]:
        """Mask of the posts that have a score."""
        return np.isfinite(self.values)

    def restrict(self, rows: npt.NDArray[np.bool_]) -> Predictions:
        """Set the scores of all posts outside the mask to NaN; the length stays the same."""
        return Predictions(*(np.where(rows, x, np.nan) for x in (self.values, self.lo, self.hi)))


def compute_metrics(
    labels: Array, predictions: Predictions, axis: Axis, resamples: Resamples
) -> dict[str, Array]:
    """Compute every metric on the data and on every resample, over the posts that have a score.

    Args:
        labels: The teacher's labels. (n,)
        predictions: The model's scores and intervals.
        resamples: Resamples of authors.

    Returns:
        Replicates by metric; NaN where undefined, such as a correlation with a constant. (1 + R,)
    """
    rows = predictions.is_scored
    labels, authors = labels[rows], resamples.authors[rows]
    kept = Predictions(predictions.values[rows], predictions.lo[rows], predictions.hi[rows])
    sums = _resample_sums(_summands(labels, kept, axis), authors, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = _metrics_from_sums(sums, labels, kept.values)
    is_high = band_indices(labels, axis) == _N_BANDS - 1
    return measured | {
        "spearman": spearman_correlation(labels, kept.values, authors, resamples),
        "auc_high": roc_auc(kept.values, is_high, authors, resamples),
    }


def mean_absolute_error(labels: Array, predictions: Predictions, resamples: Resamples) -> Array:
    """Compute the MAE only, as in `compute_metrics`: faster for many paired comparisons.

    Args:
        labels: The teacher's labels. (n,)
        predictions: The model's scores.
        resamples: Resamples of authors.

    Returns:
        Replicates of the MAE. (1 + R,)
    """
    return resampled_mean(np.abs(predictions.values - labels), resamples)


def resampled_mean(values: Array, resamples: Resamples) -> Array:
    """Compute the mean of a quantity on the data and on every resample.

    Args:
        values: The quantity for each post; NaN for a post that is left out. (n,)
        resamples: Resamples of authors.

    Returns:
        Replicates of the mean; NaN where no post is left. (1 + R,)
    """
    rows = np.isfinite(values)
    summands = {"total": values[rows], "n": np.ones(np.count_nonzero(rows))}
    sums = _resample_sums(summands, resamples.authors[rows], resamples)
    with np.errstate(invalid="ignore"):
        mean: Array = sums["total"] / sums["n"]
    return mean


def calibration_slope(labels: Array, predictions: Predictions, resamples: Resamples) -> Array:
    """Compute the least-squares slope of the label by the score; 1 for calibrated scores.

    Args:
        labels: The teacher's labels. (n,)
        predictions: The model's scores.
        resamples: Resamples of authors.

    Returns:
        Replicates of the slope; NaN where the scores do not vary. (1 + R,)
    """
    scores = predictions.values - np.mean(predictions.values[predictions.is_scored])
    labels = np.where(predictions.is_scored, labels, np.nan)
    x, y, xy, xx = (
        resampled_mean(each, resamples) for each in (scores, labels, scores * labels, scores**2)
    )
    variance = xx - x**2
    with np.errstate(invalid="ignore", divide="ignore"):
        slope: Array = np.where(variance > _TOLERANCE, (xy - x * y) / variance, np.nan)
    return slope


def band_indices(values: Array, axis: Axis) -> npt.NDArray[np.intp]:
    """Return the index of the band of each value, as in `Axis.band`.

    Args:
        values: Scores or labels. (n,)

    Returns:
        0 for low, 1 for moderate, 2 for high; a value on an edge belongs to the higher band. (n,)
    """
    return np.digitize(values, axis.band_thresholds)


def calibration_curve(
    labels: Array, values: Array, max_bins: int = 10
) -> list[tuple[float, float, int]]:
    """Compare the mean label with the mean score in bins of similar scores.

    Args:
        labels: The teacher's labels. (n,)
        values: Scores. (n,)
        max_bins: Maximum number of bins; they hold about the same number of posts, and equal scores
            share one bin.

    Returns:
        Mean score, mean label and number of posts of each bin, by ascending score.
    """
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, max_bins + 1)[1:-1]))
    bins = np.digitize(values, edges)
    members = [bins == index for index in np.unique(bins)]
    return [(float(values[b].mean()), float(labels[b].mean()), int(b.sum())) for b in members]


def advantage_over(metric: str, replicates: Array, other: Array) -> Array:
    """Return how much better one model is than another by a metric; positive is better.

    Args:
        metric: Name of the metric.
        replicates: Replicates of the model. (1 + R,)
        other: Replicates of the other model. (1 + R,)

    Returns:
        Replicates of the advantage. (1 + R,)
    """
    return other - replicates if metric in LOWER_IS_BETTER else replicates - other


def _resample_sums(
    summands: dict[str, Array], authors: npt.NDArray[np.intp], resamples: Resamples
) -> dict[str, Array]:
    """Sum each column over the posts of every resample, (n,) to (1 + R,)."""
    per_author = np.stack(
        [
            np.bincount(authors, weights=column, minlength=resamples.n_authors)
            for column in summands.values()
        ],
        axis=1,
    )  # (A, K)
    sums = np.concatenate([chunk @ per_author for chunk in resamples.iter_chunks()])  # (1 + R, K)
    return dict(zip(summands, sums.T, strict=True))


def _summands(labels: Array, predictions: Predictions, axis: Axis) -> dict[str, Array]:
    """Return the columns to sum over posts, by name, (n,) each."""
    values = predictions.values
    error = values - labels
    # Shifted by one of the values: else rounding swamps the squares of a narrow spread.
    x = values - (values[0] if len(values) else 0.0)
    y = labels - (labels[0] if len(labels) else 0.0)
    has_interval = np.isfinite(predictions.lo) & np.isfinite(predictions.hi)
    is_covered = (predictions.lo <= labels + _TOLERANCE) & (labels <= predictions.hi + _TOLERANCE)
    width = np.where(has_interval, predictions.hi - predictions.lo, 0.0)
    band_x, band_y = band_indices(values, axis), band_indices(labels, axis)
    columns = {
        "n": np.ones(len(labels)),
        "absolute": np.abs(error),
        "squared": error**2,
        "x": x,
        "y": y,
        "xx": x**2,
        "yy": y**2,
        "xy": x * y,
        "has_interval": has_interval,
        "covered": has_interval & is_covered,
        "width": width,
        "same_band": band_x == band_y,
        "band_distance": (band_x - band_y) ** 2,
    }
    columns |= {name: np.abs(error) <= limit + _TOLERANCE for name, limit in _WITHIN.items()}
    for band in range(_N_BANDS):
        columns |= {f"x_in_{band}": band_x == band, f"y_in_{band}": band_y == band}
    return {name: column.astype(np.float64) for name, column in columns.items()}


def _metrics_from_sums(sums: dict[str, Array], labels: Array, values: Array) -> dict[str, Array]:
    """Compute the metrics from weighted sums, (1 + R,) each."""
    n = sums["n"]
    squares_y = _sum_of_squares(sums["yy"], sums["y"], n, labels)
    squares_x = _sum_of_squares(sums["xx"], sums["x"], n, values)
    covariance = sums["xy"] - sums["x"] * sums["y"] / n
    return {
        "mae": sums["absolute"] / n,
        "rmse": np.sqrt(sums["squared"] / n),
        "r2": 1 - sums["squared"] / squares_y,
        "pearson": np.clip(covariance / np.sqrt(squares_x * squares_y), -1, 1),
        "band_accuracy": sums["same_band"] / n,
        "qwk": _weighted_kappa(sums),
        "coverage": sums["covered"] / sums["has_interval"],
        "width": sums["width"] / sums["has_interval"],
        **{name: sums[name] / n for name in _WITHIN},
    }


def _sum_of_squares(squares: Array, total: Array, n: Array, values: Array) -> Array:
    """Return the sum of squares around the mean; NaN where it is zero up to rounding."""
    centered = squares - total**2 / n
    smallest = 1e-12 * n * (np.ptp(values) if len(values) else 0.0) ** 2
    return np.where(centered > smallest, centered, np.nan)


def _weighted_kappa(sums: dict[str, Array]) -> Array:
    """Return Cohen's kappa of the bands with quadratic weights."""
    expected = np.zeros_like(sums["n"])
    for i in range(_N_BANDS):
        for j in range(_N_BANDS):
            expected += (i - j) ** 2 * sums[f"x_in_{i}"] * sums[f"y_in_{j}"]
    return np.where(expected > 0, 1 - sums["band_distance"] * sums["n"] / expected, np.nan)
