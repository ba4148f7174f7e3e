"""The TF-IDF baseline with as many labels as a cross-fitted student: all but those of test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from postbias.axes import Axis
from postbias.evaluation.baselines import TfidfRidgePredictions, predict_tfidf_ridge
from postbias.evaluation.labelled_folds import LATER, LabelledFold, join_folds, pool_folds
from postbias.posts.schema import CROSS_FITTED_FOLDS


def predict_tfidf_cross_fitted(
    folds: Mapping[str, LabelledFold],
    texts: Mapping[str, Sequence[str]],
    axes: Sequence[Axis],
    groups: Mapping[str, int],
) -> TfidfRidgePredictions:
    """Cross-fit TF-IDF with ridge regression as the students are, and predict the test fold.

    Args:
        folds: All folds, and `LATER`, if there are later rounds.
        texts: Text of every post by fold.
        axes: Scored axes.
        groups: Group of each post of train, valid and calib, of all rounds.

    Returns:
        Predictions of `calib`: out-of-fold, of the posts of `pool_folds`; and of `test`, fitted on
        these posts, with the median penalty of all groups.
    """
    names = [fold for fold in (*CROSS_FITTED_FOLDS, LATER) if fold in folds]
    pooled = join_folds([folds[fold] for fold in names])
    text_of = {
        post_id: text
        for fold in names
        for post_id, text in zip(folds[fold].post_ids, texts[fold], strict=True)
    }
    pooled_texts = [text_of[post_id] for post_id in pooled.post_ids]
    group_of = np.array([groups[post_id] for post_id in pooled.post_ids])
    is_valid = np.isin(np.array(pooled.post_ids), np.array(folds["valid"].post_ids))
    out_of_fold = np.full(pooled.labels.shape, np.nan)
    penalties = []
    for group in np.unique(group_of):
        held_out = group_of == group
        parts = {"train": ~held_out & ~is_valid, "valid": ~held_out & is_valid, "held": held_out}
        fitted = predict_tfidf_ridge(
            {part: [pooled_texts[i] for i in np.flatnonzero(rows)] for part, rows in parts.items()},
            {part: pooled.labels[rows] for part, rows in parts.items()},
            axes,
        )
        out_of_fold[held_out] = fitted.predictions["held"]
        penalties.append(fitted.penalties)
    chosen = [_median(values) for values in zip(*penalties, strict=True)]
    final = predict_tfidf_ridge(
        {"train": pooled_texts, "valid": texts["valid"], "test": texts["test"]},
        {"train": pooled.labels, "valid": folds["valid"].labels},
        axes,
        penalties=chosen,
    )
    is_measured = np.isin(np.array(pooled.post_ids), np.array(pool_folds(folds).post_ids))
    predictions = {"calib": out_of_fold[is_measured], "test": final.predictions["test"]}
    return TfidfRidgePredictions(predictions, final.penalties, final.n_terms)


def _median(penalties: Sequence[float | None]) -> float:
    """Return the upper median of the penalties, ignoring groups without terms to learn from."""
    known = sorted(penalty for penalty in penalties if penalty is not None)
    return known[len(known) // 2] if known else 1.0
