"""Baselines for students: the best constant for each metric, and TF-IDF with ridge regression."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from postbias.axes import BAND_EDGES, Axis
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import POINT_METRICS, band_indices

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

#: Ridge penalties, of which the best on the valid fold is used.
RIDGE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
#: Words; every emoji, punctuation mark and character of a script without spaces is its own token.
TOKEN_PATTERN = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]"

_WITHIN = {"within_05": 0.5, "within_1": 1.0, "within_2": 2.0}


@dataclass(frozen=True, slots=True)
class TfidfRidgePredictions:
    """Predictions of ridge regression on the TF-IDF weights of words and word pairs.

    Attributes:
        predictions: Predictions by fold, one column per axis. (n, A)
        penalties: Chosen penalty per axis; `None` if there were no terms to learn from.
        n_terms: Size of the vocabulary.
    """

    predictions: Mapping[str, Array]
    penalties: tuple[float | None, ...]
    n_terms: int


def find_best_constants(labels: Array, axis: Axis, nominal: float) -> dict[str, float]:
    """Find the constant prediction that is best for each metric.

    On real teacher scores, one constant is within 1.0 of 76% of the labels, so a share within a
    limit proves nothing by itself.

    Args:
        labels: Labels of the train fold. (n,)
        nominal: Nominal coverage of the constant interval.

    Returns:
        The constant for each point metric (the mean for correlations, which no constant has), and
        `lo` and `hi`: the interval that covers a share `nominal` of the labels.
    """
    mean = float(np.mean(labels))
    tail = (1 - nominal) / 2
    best = dict.fromkeys(POINT_METRICS, mean)
    best["mae"] = float(np.median(labels))
    best |= {metric: _densest_window(labels, limit) for metric, limit in _WITHIN.items()}
    best["band_accuracy"] = best["qwk"] = _middle_of_largest_band(labels, axis)
    lo, hi = np.quantile(labels, [tail, 1 - tail])
    return best | {"lo": float(lo), "hi": float(hi)}


def predict_tfidf_ridge(
    captions: Mapping[str, Sequence[str]],
    labels: Mapping[str, Array],
    axes: Sequence[Axis],
    *,
    penalties: Sequence[float] | None = None,
) -> TfidfRidgePredictions:
    """Fit TF-IDF with ridge regression on train, choose the penalty on valid, predict every fold.

    Args:
        captions: Captions by fold.
        labels: Labels of at least `train` and `valid`, one column per axis. (n, A)
        axes: Scored axes; predictions are clipped to their ranges, as a student's are.
        penalties: Penalty per axis; None to choose it on valid.

    Returns:
        Predictions for every fold in `captions`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=2,
        sublinear_tf=True,
        token_pattern=TOKEN_PATTERN,
        dtype=np.float64,
    )
    try:
        terms = {"train": vectorizer.fit_transform(captions["train"])}
    except ValueError:  # the vocabulary is empty; scikit-learn has no specific exception
        logger.warning("captions of the train fold share no word: TF-IDF predicts the mean label")
        mean = labels["train"].mean(axis=0)
        constant = {fold: np.tile(mean, (len(texts), 1)) for fold, texts in captions.items()}
        return TfidfRidgePredictions(constant, (None,) * len(axes), 0)
    terms |= {f: vectorizer.transform(c) for f, c in captions.items() if f != "train" and len(c)}
    fitted = [
        _fit_ridge(
            terms,
            labels,
            (column, axis),
            RIDGE_PENALTIES if penalties is None else penalties[column : column + 1],
        )
        for column, axis in enumerate(axes)
    ]
    empty = np.empty(0)
    predictions = {
        fold: np.stack([by_fold.get(fold, empty) for _, by_fold in fitted], axis=1)
        for fold in captions
    }
    return TfidfRidgePredictions(
        predictions, tuple(penalty for penalty, _ in fitted), len(vectorizer.vocabulary_)
    )


def _fit_ridge(
    terms: Mapping[str, csr_matrix],
    labels: Mapping[str, Array],
    numbered_axis: tuple[int, Axis],
    penalties: Sequence[float],
) -> tuple[float, dict[str, Array]]:
    """Return the penalty with the smallest squared error on valid, and its predictions by fold."""
    from sklearn.linear_model import Ridge

    column, axis = numbered_axis
    best: tuple[float, float, Ridge] | None = None
    for penalty in penalties:
        model = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-6)
        model.fit(terms["train"], labels["train"][:, column])
        predicted = np.clip(model.predict(terms["valid"]), axis.low, axis.high)
        loss = float(np.mean((predicted - labels["valid"][:, column]) ** 2))
        if best is None or loss < best[0]:
            best = (loss, penalty, model)
    assert best is not None
    _, penalty, model = best
    by_fold = {f: np.clip(model.predict(x), axis.low, axis.high) for f, x in terms.items()}
    return penalty, by_fold


def _densest_window(labels: Array, limit: float) -> float:
    """Return the constant with the most labels within `limit`: the middle of a window of labels."""
    ordered = np.sort(labels)
    ends = np.searchsorted(ordered, ordered + 2 * limit + 1e-9, side="right")
    first = int(np.argmax(ends - np.arange(len(ordered))))
    return float((ordered[first] + ordered[ends[first] - 1]) / 2)


def _middle_of_largest_band(labels: Array, axis: Axis) -> float:
    edges = (0.0, *BAND_EDGES, 1.0)
    band = int(np.argmax(np.bincount(band_indices(labels, axis), minlength=len(edges) - 1)))
    return axis.low + (edges[band] + edges[band + 1]) / 2 * (axis.high - axis.low)
