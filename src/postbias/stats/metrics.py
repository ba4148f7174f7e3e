"""How near scores are to labels, on the data and on every resample of it at once.

A resample is a set of weights: how often each post was drawn. All metrics but those of ranks are
functions of weighted sums, and since authors are drawn whole, of sums per author: thousands of
replications of all of them are one matrix product. Those of ranks rank each resample anew, ties and
all, as if its rows had been written out. Knows nothing of students, folds or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postbias.axes import BAND_EDGES, Axis
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.ranks import auc, spearman

#: Error metrics and agreement metrics, as they are named in `evaluate.json`.
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
#: Metrics of intervals; `evaluate.json` adds their nominal coverage: `coverage_90`, `width_90`.
INTERVAL_METRICS = ("coverage", "width")

#: Metrics of which less is better.
LESS_IS_BETTER = frozenset({"mae", "rmse"})


_WITHIN = {"within_05": 0.5, "within_1": 1.0, "within_2": 2.0}
# A score of 7.3 is within 0.5 of a label of 6.8, whatever binary fractions make of it.
_TOLERANCE = 1e-9
_N_BANDS = len(BAND_EDGES) + 1


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one model says of each post of a fold; NaN for a post that it cannot score.

    Attributes:
        values: Scores. (n,)
        lo: Lower ends of their intervals; NaN where there is none. (n,)
        hi: Upper ends. (n,)
    """

    values: Array
    lo: Array
    hi: Array

    @property
    def is_scored(self) -> npt.NDArray[np.bool_]:
        """Whether each post has a score."""
        return np.isfinite(self.values)

    def only(self, rows: npt.NDArray[np.bool_]) -> Predictions:
        """Forget the scores of all other posts.

        Args:
            rows: The posts to keep. (n,)

        Returns:
            Predictions of the same length.
        """
        return Predictions(*(np.where(rows, x, np.nan) for x in (self.values, self.lo, self.hi)))


def measure(
    labels: Array, predictions: Predictions, axis: Axis, resamples: Resamples
) -> dict[str, Array]:
    """Compute every metric on the data and on every resample, over the posts that have a score.

    Args:
        labels: What the teacher said. (n,)
        predictions: What the model says.
        axis: What is scored, and its range.
        resamples: The draws of authors.

    Returns:
        Per metric its value on the data, then one per replication; NaN where it is not defined,
        such as a correlation with a constant. (1 + R,)
    """
    rows = predictions.is_scored
    labels, authors = labels[rows], resamples.authors[rows]
    kept = Predictions(predictions.values[rows], predictions.lo[rows], predictions.hi[rows])
    sums = _sums(_columns(labels, kept, axis), authors, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = _from_sums(sums, labels, kept.values)
    is_high = bands(labels, axis) == _N_BANDS - 1
    return measured | {
        "spearman": spearman(labels, kept.values, authors, resamples),
        "auc_high": auc(kept.values, is_high, authors, resamples),
    }


def mean_absolute_error(labels: Array, predictions: Predictions, resamples: Resamples) -> Array:
    """Compute the MAE alone, as `measure` does, for the many pairs that are compared by it.

    Args:
        labels: What the teacher said. (n,)
        predictions: What the model says.
        resamples: The draws of authors.

    Returns:
        The MAE on the data, then per replication. (1 + R,)
    """
    return mean_of(np.abs(predictions.values - labels), resamples)


def mean_of(values: Array, resamples: Resamples) -> Array:
    """Compute the mean of a number that some posts have.

    Args:
        values: Its value for each post; NaN for a post that does not count. (n,)
        resamples: The draws of authors.

    Returns:
        The mean on the data, then per replication; NaN where no post counts. (1 + R,)
    """
    rows = np.isfinite(values)
    counted = {"total": values[rows], "n": np.ones(np.count_nonzero(rows))}
    sums = _sums(counted, resamples.authors[rows], resamples)
    with np.errstate(invalid="ignore"):
        mean: Array = sums["total"] / sums["n"]
    return mean


def bands(values: Array, axis: Axis) -> npt.NDArray[np.intp]:
    """Return the band of each value, as `Axis.band` names it.

    Args:
        values: Scores or labels. (n,)
        axis: What is scored, and its range.

    Returns:
        0 for low, 1 for moderate, 2 for high; a value on an edge belongs to the higher band. (n,)
    """
    edges = [axis.low + share * (axis.high - axis.low) for share in BAND_EDGES]
    return np.digitize(values + _TOLERANCE, edges)


def calibration(labels: Array, values: Array, most: int = 10) -> list[tuple[float, float, int]]:
    """Compare mean label and mean score among posts of similar score.

    Args:
        labels: What the teacher said. (n,)
        values: Scores. (n,)
        most: Bins at most, of about equal numbers of posts; equal scores share one.

    Returns:
        Mean score, mean label and number of posts of each bin, by ascending score.
    """
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, most + 1)[1:-1]))
    bins = np.digitize(values, edges)
    chosen = [bins == one for one in np.unique(bins)]
    return [(float(values[b].mean()), float(labels[b].mean()), int(b.sum())) for b in chosen]


def better_by(metric: str, replicates: Array, other: Array) -> Array:
    """Return by how much one model is better than another, whichever way the metric goes.

    Args:
        metric: Name of the metric.
        replicates: The model's replicates. (1 + R,)
        other: The other's. (1 + R,)

    Returns:
        The advantage per replication. (1 + R,)
    """
    return other - replicates if metric in LESS_IS_BETTER else replicates - other


def _sums(
    columns: dict[str, Array], authors: npt.NDArray[np.intp], resamples: Resamples
) -> dict[str, Array]:
    """Sum columns over the posts of every resample: each (n,) becomes (1 + R,)."""
    per_author = np.stack(
        [
            np.bincount(authors, weights=column, minlength=resamples.n_authors)
            for column in columns.values()
        ],
        axis=1,
    )  # (A, K)
    sums = np.concatenate([chunk @ per_author for chunk in resamples.chunks()])  # (1 + R, K)
    return dict(zip(columns, sums.T, strict=True))


def _columns(labels: Array, predictions: Predictions, axis: Axis) -> dict[str, Array]:
    """Return what has to be summed over posts, by name; each (n,)."""
    values = predictions.values
    error = values - labels
    # Around a middle value, or the squares of a narrow spread drown in rounding.
    x = values - (values[0] if len(values) else 0.0)
    y = labels - (labels[0] if len(labels) else 0.0)
    has_interval = np.isfinite(predictions.lo) & np.isfinite(predictions.hi)
    is_covered = (predictions.lo <= labels + _TOLERANCE) & (labels <= predictions.hi + _TOLERANCE)
    width = np.where(has_interval, predictions.hi - predictions.lo, 0.0)
    band_x, band_y = bands(values, axis), bands(labels, axis)
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
    columns |= {name: np.abs(error) <= most + _TOLERANCE for name, most in _WITHIN.items()}
    for band in range(_N_BANDS):
        columns |= {f"x_in_{band}": band_x == band, f"y_in_{band}": band_y == band}
    return {name: column.astype(np.float64) for name, column in columns.items()}


def _from_sums(sums: dict[str, Array], labels: Array, values: Array) -> dict[str, Array]:
    """Compute the metrics from weighted sums; each (1 + R,)."""
    n = sums["n"]
    spread_y = _spread(sums["yy"], sums["y"], n, labels)
    spread_x = _spread(sums["xx"], sums["x"], n, values)
    covariance = sums["xy"] - sums["x"] * sums["y"] / n
    return {
        "mae": sums["absolute"] / n,
        "rmse": np.sqrt(sums["squared"] / n),
        "r2": 1 - sums["squared"] / spread_y,
        "pearson": np.clip(covariance / np.sqrt(spread_x * spread_y), -1, 1),
        "band_accuracy": sums["same_band"] / n,
        "qwk": _kappa(sums),
        "coverage": sums["covered"] / sums["has_interval"],
        "width": sums["width"] / sums["has_interval"],
        **{name: sums[name] / n for name in _WITHIN},
    }


def _spread(squares: Array, total: Array, n: Array, values: Array) -> Array:
    """Return the sum of squares around the mean; NaN where it is a rounded zero."""
    spread = squares - total**2 / n
    smallest = 1e-12 * n * (np.ptp(values) if len(values) else 0.0) ** 2
    return np.where(spread > smallest, spread, np.nan)


def _kappa(sums: dict[str, Array]) -> Array:
    """Return Cohen's kappa of the bands with quadratic weights."""
    expected = np.zeros_like(sums["n"])
    for i in range(_N_BANDS):
        for j in range(_N_BANDS):
            expected += (i - j) ** 2 * sums[f"x_in_{i}"] * sums[f"y_in_{j}"]
    return np.where(expected > 0, 1 - sums["band_distance"] * sums["n"] / expected, np.nan)
