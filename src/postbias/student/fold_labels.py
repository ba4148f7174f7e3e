"""Read the labels of the folds that training may use."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from postbias.posts.schema import EXCLUDED, FIRST_ROUND, SPLIT, axes_in_schema, labels_schema
from postbias.posts.shards import iter_posts, list_shards, read_table

if TYPE_CHECKING:
    from postbias.paths import Paths

_ID_BATCH = 10_000

#: Labels (A,) by post id.
LabelsByPost = dict[str, NDArray[np.float32]]


def read_fold_labels(paths: Paths, *, share: float = 1.0) -> dict[str, LabelsByPost]:
    """Read the labels of the folds that training may use.

    Args:
        share: Share of the train fold to keep, for a learning curve. Posts are chosen by the hash
            of their ids, so that smaller shares are subsets of larger ones.

    Returns:
        For `train`, `valid` and `calib`: labels (A,) by post id, in the order of the split.
    """
    labels = read_table(paths.labels)
    axes = axes_in_schema(labels.schema, companion="_sd")
    labels = read_table(paths.labels, labels_schema(axes))
    values = np.column_stack([labels[axis].to_numpy() for axis in axes]).astype(np.float32)
    by_id = dict(zip(labels["post_id"].to_pylist(), values, strict=True))
    folds: dict[str, LabelsByPost] = {"train": {}, "valid": {}, "calib": {}}
    split = read_table(paths.split, SPLIT)
    for post_id, fold in zip(split["post_id"].to_pylist(), split["fold"].to_pylist(), strict=True):
        if fold in folds:
            folds[fold][post_id] = by_id[post_id]
    if share < 1:
        ranked = sorted(folds["train"], key=lambda p: hashlib.sha256(p.encode()).digest())
        kept = set(ranked[: round(share * len(ranked))])
        folds["train"] = {p: values for p, values in folds["train"].items() if p in kept}
    return folds


def keep_first_round(paths: Paths, labels: LabelsByPost) -> LabelsByPost:
    """Keep the labels of posts of the first round of sampling.

    Later rounds follow the expected errors, so residuals of their posts do not represent those of
    all posts, nor does their content.

    Args:
        labels: Labels (A,) by post id.
    """
    first = read_first_round(paths)
    return {post_id: values for post_id, values in labels.items() if post_id in first}


def read_first_round(paths: Paths) -> frozenset[str]:
    """Read the ids of the posts in folds that were drawn in the first round of sampling."""
    split = read_table(paths.split, SPLIT, ["post_id", "round"])
    rows = zip(split["post_id"].to_pylist(), split["round"].to_pylist(), strict=True)
    return frozenset(post_id for post_id, number in rows if number == FIRST_ROUND)


def read_unlabelled_ids(paths: Paths) -> list[str]:
    """Read the ids of the posts whose label is in no fold.

    The stage `sample` has drawn them from all posts.
    """
    split = read_table(paths.split, SPLIT, ["post_id", "fold"])
    fold_of = dict(zip(split["post_id"].to_pylist(), split["fold"].to_pylist(), strict=True))
    return [
        post_id
        for batch in iter_posts(list_shards(paths.sampled_posts), ["post_id"], _ID_BATCH)
        for post_id in batch["post_id"].to_pylist()
        if fold_of.get(post_id, EXCLUDED) == EXCLUDED
    ]
