"""Load the labelled posts of each fold, and score folds with students."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from postbias.axes import Axis
from postbias.errors import CorpusError, CountsError, LabelsError
from postbias.paths import Paths
from postbias.posts.authorship import AuthorCounts, count_authors
from postbias.posts.schema import (
    CROSS_FITTED_FOLDS,
    EXCLUDED,
    FIRST_ROUND,
    FOLDS,
    SPLIT,
    axes_in_schema,
)
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    iter_posts,
    list_shards,
    read_selected_posts,
    read_table,
)
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions

#: Posts of later rounds of active sampling that students learn from.
LATER = "later"


@dataclass(frozen=True, slots=True)
class LabelledFold:
    """The labelled posts of one fold, ordered by post id.

    Attributes:
        post_ids: Ids, ascending. (n,)
        authors: Author of each post. (n,)
        captions: Caption of each post. (n,)
        labels: Labels, one column per axis. (n, A)
    """

    post_ids: tuple[str, ...]
    authors: tuple[str, ...]
    captions: tuple[str, ...]
    labels: Array

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.post_ids)

    def count_authors(self, rows: Iterable[int] | None = None) -> AuthorCounts:
        """Count the authors of some posts, by row number, or of all."""
        kept = range(len(self)) if rows is None else list(rows)
        return count_authors([self.authors[i] for i in kept], [self.post_ids[i] for i in kept])


@dataclass(frozen=True, slots=True)
class FoldPredictions:
    """One student's predictions of a fold.

    Attributes:
        by_axis: Predictions by axis, in the order of the fold.
        unscored: Number of posts without a score, by reason.
        modalities: Modalities that each score was computed from; `None` without a score. (n,)
    """

    by_axis: Mapping[str, Predictions]
    unscored: Mapping[str, int]
    modalities: tuple[str | None, ...]

    @property
    def modality_counts(self) -> dict[str, int]:
        """Number of scored posts by the modalities that the score was computed from."""
        return dict(sorted(Counter(used for used in self.modalities if used).items()))


def load_labelled_folds(
    paths: Paths, axes: Sequence[Axis], learned: Sequence[str] = ("train",)
) -> dict[str, LabelledFold]:
    """Load the labelled posts of every fold with their captions.

    The posts of later rounds of active sampling were chosen for large expected errors, so nothing
    is measured on them; but what is compared with the students may learn from them as they do.

    Args:
        axes: The axes that the students score.
        learned: Folds that the students are trained on.

    Returns:
        Posts of the first round by fold; only `calib` may be empty. And `LATER`, the posts of later
        rounds in the folds `learned`, if there are any.

    Raises:
        CorpusError: If train, valid or test is empty, or posts are missing.
        LabelsError: If labels of an axis or of a post in the split are missing.
    """
    labels, split = read_table(paths.labels), read_table(paths.split, SPLIT)
    names = [axis.name for axis in axes]
    if missing := set(names) - set(axes_in_schema(labels.schema, companion="_sd")):
        raise LabelsError(
            f"{paths.labels} lacks axes that the students score",
            seen=sorted(missing),
            do="run `dvc repro`, so that students and labels use the same rubric",
        )
    labels = labels.filter(pc.equal(labels["status"], OK)).select(["post_id", *names])
    split = split.filter(pc.not_equal(split["fold"], EXCLUDED))
    joined = split.join(labels, "post_id").sort_by("post_id")
    if joined.num_rows and joined[names[0]].null_count:
        raise LabelsError(
            f"{joined[names[0]].null_count} posts of {paths.split} have no label",
            do="run `dvc repro`, so that split and labels match",
        )
    captions = read_selected_posts(paths.sampled_posts, joined["post_id"].to_pylist(), ["caption"])
    joined = joined.append_column("caption", captions["caption"])
    is_first = pc.equal(joined["round"], FIRST_ROUND)
    first, later = joined.filter(is_first), joined.filter(pc.invert(is_first))
    folds = {
        fold: _build_fold(first.filter(pc.equal(first["fold"], fold)), names) for fold in FOLDS
    }
    later = later.filter(pc.is_in(later["fold"], value_set=pa.array(learned)))
    if later.num_rows:
        folds[LATER] = _build_fold(later, names)
    for fold in ("train", "valid", "test"):
        if not folds[fold]:
            raise CorpusError(
                f"no labelled post in the {fold} fold",
                seen={name: len(posts) for name, posts in folds.items()},
                do="label more posts or change split.shares",
            )
    return folds


def _build_fold(table: pa.Table, names: Sequence[str]) -> LabelledFold:
    columns = [table[name].to_numpy(zero_copy_only=False) for name in names]
    return LabelledFold(
        post_ids=tuple(table["post_id"].to_pylist()),
        authors=tuple(table["author"].to_pylist()),
        captions=tuple(table["caption"].to_pylist()),
        labels=np.stack(columns, axis=1).astype(np.float64),
    )


def pool_folds(folds: Mapping[str, LabelledFold]) -> LabelledFold:
    """Join the folds that cross-fitted students are trained on, ordered by post id."""
    return join_folds([folds[fold] for fold in CROSS_FITTED_FOLDS])


def join_folds(parts: Sequence[LabelledFold]) -> LabelledFold:
    """Join folds, ordered by post id."""
    ids, authors, captions = (
        [value for part in parts for value in getattr(part, name)]
        for name in ("post_ids", "authors", "captions")
    )
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return LabelledFold(
        post_ids=tuple(ids[i] for i in order),
        authors=tuple(authors[i] for i in order),
        captions=tuple(captions[i] for i in order),
        labels=np.concatenate([part.labels for part in parts])[order],
    )


def labels_by_id(fold: LabelledFold) -> dict[str, Array]:
    """Return the labels (A,) by post id."""
    return dict(zip(fold.post_ids, fold.labels, strict=True))


def fold_digest(fold: LabelledFold) -> str:
    """Return the SHA-256 of a fold's posts and labels; results are comparable if it is equal."""
    content = hashlib.sha256()
    for post_id, labels in zip(fold.post_ids, fold.labels, strict=True):
        content.update(f"{post_id}\0{','.join(f'{label:.6g}' for label in labels)}\n".encode())
    return content.hexdigest()


def score_folds(
    paths: Paths, tasks: Sequence[tuple[Scorer, LabelledFold]], axes: Sequence[Axis]
) -> list[FoldPredictions]:
    """Score folds in one pass over the shards, in constant memory.

    Args:
        paths: The repository; images are read only if a scorer uses them.
        tasks: Scorers, each with the fold to score.

    Returns:
        Predictions of each task.

    Raises:
        CountsError: If a post has neither a score nor a reason.
    """
    wanted = {post_id for _, fold in tasks for post_id in fold.post_ids}
    has_image = any(scorer.manifest.reads_images for scorer, _ in tasks)
    ids_of = [frozenset(fold.post_ids) for _, fold in tasks]
    results: list[dict[str, PostScore]] = [{} for _ in tasks]
    with tqdm(total=len(wanted), desc="scoring", unit="post", disable=None) as progress:
        for posts in iter_inputs(paths, wanted, has_image=has_image):
            for (scorer, _), ids, scores in zip(tasks, ids_of, results, strict=True):
                selected = {post_id: post for post_id, post in posts.items() if post_id in ids}
                scores |= zip(selected, scorer.score(list(selected.values())), strict=True)
            progress.update(len(posts))
    return [
        _arrange_scores(fold, scores, axes)
        for (_, fold), scores in zip(tasks, results, strict=True)
    ]


def iter_inputs(
    paths: Paths, wanted: set[str], *, has_image: bool
) -> Iterator[dict[str, PostInput]]:
    """Read the inputs of some posts, in shard order.

    Args:
        wanted: Ids of the posts.
        has_image: Whether to read images.

    Yields:
        Up to `BATCH_SIZE` posts by id.
    """
    columns = ["post_id", "caption", *(["images"] if has_image else [])]
    ids = pa.array(sorted(wanted), pa.string())
    buffer: dict[str, PostInput] = {}
    for batch in iter_posts(list_shards(paths.sampled_posts), columns, ROW_GROUP_POSTS):
        for row in batch.filter(pc.is_in(batch["post_id"], value_set=ids)).to_pylist():
            images = tuple(image["bytes"] or b"" for image in row.get("images", ()))
            buffer[row["post_id"]] = PostInput(row["caption"], images)
            if len(buffer) == BATCH_SIZE:
                yield buffer
                buffer = {}
    if buffer:
        yield buffer


def read_inputs(
    paths: Paths, fold: LabelledFold, rows: Iterable[int] | np.ndarray
) -> dict[int, PostInput]:
    """Read the inputs of some posts of a fold, by row number."""
    row_of = {fold.post_ids[row]: int(row) for row in rows}
    return {
        row_of[post_id]: post
        for posts in iter_inputs(paths, set(row_of), has_image=True)
        for post_id, post in posts.items()
    }


def to_predictions(results: Sequence[PostScore], axis: str) -> Predictions:
    """Convert the results of a scorer to predictions of one axis; NaN where there is no score."""
    rows = [
        [np.nan if end is None else end for end in result.scores[axis]]
        if result.status == OK
        else [np.nan] * 3
        for result in results
    ]
    return Predictions(*np.array(rows, np.float64).reshape(-1, 3).T)


def _arrange_scores(
    fold: LabelledFold, scores: Mapping[str, PostScore], axes: Sequence[Axis]
) -> FoldPredictions:
    """Arrange one student's scores in the order of the fold."""
    if len(scores) != len(fold):
        raise CountsError(
            "not all posts of a fold were scored or rejected",
            seen=f"{len(scores)} of {len(fold)}",
            do="run `dvc repro`, so that posts and split match",
        )
    results = [scores[post_id] for post_id in fold.post_ids]
    return FoldPredictions(
        {axis.name: to_predictions(results, axis.name) for axis in axes},
        unscored=dict(sorted(Counter(r.status for r in results if r.status != OK).items())),
        modalities=tuple(result.modalities for result in results),
    )
