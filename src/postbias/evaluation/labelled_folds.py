"""The labelled posts of each fold, and what students make of them.

Joins labels and split, reads captions, and scores posts in one pass over the shards with as many
scorers as there are, in constant memory. Knows nothing of metrics.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from postbias.axes import Axis
from postbias.errors import CorpusError, CountsError, LabelsError
from postbias.paths import Paths
from postbias.posts.schema import EXCLUDED, FOLDS, SPLIT, axes_in_schema
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    iter_posts,
    list_shards,
    read_table,
    read_selected_posts,
)
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions


@dataclass(frozen=True, slots=True)
class Fold:
    """The labelled posts of one fold, by post id.

    Attributes:
        post_ids: Ids, ascending.
        authors: Their authors.
        captions: Their captions.
        labels: One column per axis. (n, A)
    """

    post_ids: tuple[str, ...]
    authors: tuple[str, ...]
    captions: tuple[str, ...]
    labels: Array

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.post_ids)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one student says of a fold.

    Attributes:
        by_axis: Predictions per axis, in the order of the fold's posts.
        unscored: How many posts have no score, by reason.
        groups: Per post the modalities that its score was made from; None where it has none.
    """

    by_axis: Mapping[str, Predictions]
    unscored: Mapping[str, int]
    groups: tuple[str | None, ...]

    @property
    def modalities(self) -> dict[str, int]:
        """How many posts have a score, by the modalities it was made from."""
        return dict(sorted(Counter(group for group in self.groups if group).items()))


def load_folds(paths: Paths, axes: Sequence[Axis]) -> dict[str, Fold]:
    """Read the labelled posts of every fold.

    Args:
        paths: The repository; reads labels, split and captions.
        axes: The axes that the students score.

    Returns:
        One entry per fold; `calib` may be empty.

    Raises:
        CorpusError: If train, valid or test has no post, or posts are missing.
        LabelsError: If the labels lack an axis or a post of the split.
    """
    labels, split = read_table(paths.labels), read_table(paths.split, SPLIT)
    names = [axis.name for axis in axes]
    if missing := set(names) - set(axes_in_schema(labels.schema, companion="_sd")):
        raise LabelsError(
            f"{paths.labels} has no axis that the students score",
            seen=sorted(missing),
            do="run `dvc repro`, so that students and labels are of one rubric",
        )
    labels = labels.filter(pc.equal(labels["status"], OK)).select(["post_id", *names])
    split = split.filter(pc.not_equal(split["fold"], EXCLUDED))
    joined = split.join(labels, "post_id").sort_by("post_id")
    if joined.num_rows and joined[names[0]].null_count:
        raise LabelsError(
            f"{joined[names[0]].null_count} posts of {paths.split} have no label",
            do="run `dvc repro`, so that split and labels match",
        )
    captions = read_selected_posts(paths.posts, joined["post_id"].to_pylist(), ["caption"])
    joined = joined.append_column("caption", captions["caption"])
    folds = {fold: _fold(joined.filter(pc.equal(joined["fold"], fold)), names) for fold in FOLDS}
    for fold in ("train", "valid", "test"):
        if not folds[fold]:
            raise CorpusError(
                f"no labelled post in the {fold} fold",
                seen={name: len(posts) for name, posts in folds.items()},
                do="label more posts or change split.shares",
            )
    return folds


def _fold(table: pa.Table, names: Sequence[str]) -> Fold:
    columns = [table[name].to_numpy(zero_copy_only=False) for name in names]
    return Fold(
        post_ids=tuple(table["post_id"].to_pylist()),
        authors=tuple(table["author"].to_pylist()),
        captions=tuple(table["caption"].to_pylist()),
        labels=np.stack(columns, axis=1).astype(np.float64),
    )


def fold_digest(fold: Fold) -> str:
    """Name a fold by its posts and labels: two students judged on the same name can be compared.

    Args:
        fold: The fold.

    Returns:
        sha256, in hexadecimal.
    """
    content = hashlib.sha256()
    for post_id, labels in zip(fold.post_ids, fold.labels, strict=True):
        content.update(f"{post_id}\0{','.join(f'{label:.6g}' for label in labels)}\n".encode())
    return content.hexdigest()


def score_folds(
    paths: Paths, work: Sequence[tuple[Scorer, Fold]], axes: Sequence[Axis]
) -> list[Scored]:
    """Score folds in one pass over the shards.

    Args:
        paths: The repository; reads the posts, images only if a scorer looks at them.
        work: Scorers, each with a fold that it has to score.
        axes: The axes to keep.

    Returns:
        One result per piece of work, in the same order.

    Raises:
        CountsError: If a post was neither scored nor given a reason.
    """
    wanted = {post_id for _, fold in work for post_id in fold.post_ids}
    has_image = any(scorer.manifest.has_image for scorer, _ in work)
    ids_of = [frozenset(fold.post_ids) for _, fold in work]
    results: list[dict[str, PostScore]] = [{} for _ in work]
    with tqdm(total=len(wanted), desc="scoring", unit="post", disable=None) as progress:
        for posts in read_inputs(paths, wanted, has_image=has_image):
            for (scorer, _), ids, found in zip(work, ids_of, results, strict=True):
                chosen = {post_id: post for post_id, post in posts.items() if post_id in ids}
                found |= zip(chosen, scorer.score(list(chosen.values())), strict=True)
            progress.update(len(posts))
    return [_scored(fold, found, axes) for (_, fold), found in zip(work, results, strict=True)]


def read_inputs(
    paths: Paths, wanted: set[str], *, has_image: bool
) -> Iterator[dict[str, PostInput]]:
    """Read what students see of some posts, in shard order.

    Args:
        paths: The repository.
        wanted: Ids of the posts.
        has_image: Whether to read images too.

    Yields:
        Some of the posts by id; all of them hold no more than a buffer's images at a time.
    """
    columns = ["post_id", "caption", *(["images"] if has_image else [])]
    ids = pa.array(sorted(wanted), pa.string())
    buffer: dict[str, PostInput] = {}
    for batch in iter_posts(list_shards(paths.posts), columns, ROW_GROUP_POSTS):
        for row in batch.filter(pc.is_in(batch["post_id"], value_set=ids)).to_pylist():
            images = tuple(image["bytes"] or b"" for image in row.get("images", ()))
            buffer[row["post_id"]] = PostInput(row["caption"], images)
            if len(buffer) == BATCH_SIZE:
                yield buffer
                buffer = {}
    if buffer:
        yield buffer


def predictions_of(results: Sequence[PostScore], axis: str) -> Predictions:
    """Lay results out as predictions of one axis.

    Args:
        results: What a scorer gave. (n,)
        axis: Name of the axis.

    Returns:
        One prediction per result, NaN where there is no score.
    """
    rows = [
        [np.nan if end is None else end for end in result.scores[axis]]
        if result.status == OK
        else [np.nan] * 3
        for result in results
    ]
    return Predictions(*np.array(rows, np.float64).reshape(-1, 3).T)


def _scored(fold: Fold, found: Mapping[str, PostScore], axes: Sequence[Axis]) -> Scored:
    """Lay one student's results out in the order of the fold."""
    if len(found) != len(fold):
        raise CountsError(
            "posts of a fold were not all scored or rejected",
            seen=f"{len(found)} of {len(fold)}",
            do="run `dvc repro`, so that posts and split match",
        )
    results = [found[post_id] for post_id in fold.post_ids]
    return Scored(
        {axis.name: predictions_of(results, axis.name) for axis in axes},
        unscored=dict(sorted(Counter(r.status for r in results if r.status != OK).items())),
        groups=tuple(result.modalities for result in results),
    )
