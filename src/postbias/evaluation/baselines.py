"""What a student has to beat: the best constant of each metric, and TF-IDF with ridge regression.

"Within 1.0 of the label" proves nothing by itself: on real teacher scores one number for everyone
reaches 76%. So each metric stands beside the constant that is best for it, chosen on the train fold
(the median for the absolute error, the mean for the squared one), and beside a model that only
counts words. Knows nothing of students or files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from postbias.axes import BAND_EDGES, Axis
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import POINT_METRICS, bands

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

#: Strengths of the ridge penalty that the valid fold chooses from.
ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

#: Words, and each emoji, punctuation mark or character of a script without spaces for itself.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
TOKEN = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]"

_WITHIN = {"within_05": 0.5, "within_1": 1.0, "within_2": 2.0}


@dataclass(frozen=True, slots=True)
class TfidfRidge:
    """Predictions of TF-IDF (words and pairs of words) with ridge regression.

    Attributes:
        predictions: Per fold asked for, one row per caption and one column per axis. (n, A)
        alphas: Penalty chosen per axis; none where there was no word to learn from.
        n_terms: Words and pairs of words that it counts.
    """

    predictions: Mapping[str, Array]
    alphas: tuple[float | None, ...]
    n_terms: int


def best_constants(labels: Array, axis: Axis, nominal: float) -> dict[str, float]:
    """Find the constant that is best for each metric.

    Args:
        labels: Labels of the train fold. (n,)
        axis: What is scored, and its range.
        nominal: Nominal coverage of the constant interval.

    Returns:
        Per point metric its constant; `lo` and `hi`: the interval that holds a share `nominal` of
        the labels. A constant has no correlation with anything: there the mean stands for all.
    """
    mean = float(np.mean(labels))
    tail = (1 - nominal) / 2
    best = dict.fromkeys(POINT_METRICS, mean)
    best["mae"] = float(np.median(labels))
    best |= {metric: _densest(labels, reach) for metric, reach in _WITHIN.items()}
    best["band_accuracy"] = best["qwk"] = _middle_of_largest_band(labels, axis)
    lo, hi = np.quantile(labels, [tail, 1 - tail])
    return best | {"lo": float(lo), "hi": float(hi)}


def tfidf_ridge(
    captions: Mapping[str, Sequence[str]], labels: Mapping[str, Array], axes: Sequence[Axis]
) -> TfidfRidge:
    """Learn words on the train fold, choose the penalty on valid, predict every fold.

    Args:
        captions: Captions per fold; an empty one is predicted from no word at all.
        labels: Labels of at least `train` and `valid`, one column per axis. (n, A)
        axes: What is scored; predictions are clipped to each range as a student's are.

    Returns:
        Predictions for every fold in `captions`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=TOKEN, dtype=np.float64
    )
    try:
        terms = {"train": words.fit_transform(captions["train"])}
    except ValueError:  # no caption, or no word twice: sklearn has no type for it
        logger.warning("the captions of the train fold share no word: TF-IDF knows the mean only")
        mean = labels["train"].mean(axis=0)
        constant = {fold: np.tile(mean, (len(texts), 1)) for fold, texts in captions.items()}
        return TfidfRidge(constant, (None,) * len(axes), 0)
    terms |= {f: words.transform(c) for f, c in captions.items() if f != "train" and len(c)}
    fitted = [_ridge(terms, labels, column, axis) for column, axis in enumerate(axes)]
    nothing = np.empty(0)
    predictions = {
        fold: np.stack([columns.get(fold, nothing) for _, columns in fitted], axis=1)
        for fold in captions
    }
    return TfidfRidge(predictions, tuple(alpha for alpha, _ in fitted), len(words.vocabulary_))


def _ridge(
    terms: Mapping[str, csr_matrix], labels: Mapping[str, Array], column: int, axis: Axis
) -> tuple[float, dict[str, Array]]:
    """Return the best penalty on valid and the predictions that it gives."""
    from sklearn.linear_model import Ridge

    best: tuple[float, float, Ridge] | None = None
    for alpha in ALPHAS:
        model = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-6)
        model.fit(terms["train"], labels["train"][:, column])
        seen = np.clip(model.predict(terms["valid"]), axis.low, axis.high)
        loss = float(np.mean((seen - labels["valid"][:, column]) ** 2))
        if best is None or loss < best[0]:
            best = (loss, alpha, model)
    assert best is not None
    _, alpha, model = best
    predicted = {f: np.clip(model.predict(x), axis.low, axis.high) for f, x in terms.items()}
    return alpha, predicted


def _densest(labels: Array, reach: float) -> float:
    """Return the value with the most labels within reach: the middle of the densest window."""
    ordered = np.sort(labels)
    ends = np.searchsorted(ordered, ordered + 2 * reach + 1e-9, side="right")
    first = int(np.argmax(ends - np.arange(len(ordered))))
    return float((ordered[first] + ordered[ends[first] - 1]) / 2)


def _middle_of_largest_band(labels: Array, axis: Axis) -> float:
    edges = (0.0, *BAND_EDGES, 1.0)
    band = int(np.argmax(np.bincount(bands(labels, axis), minlength=len(edges) - 1)))
    return axis.low + (edges[band] + edges[band + 1]) / 2 * (axis.high - axis.low)
