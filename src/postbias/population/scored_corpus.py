"""Join every scored post with its label, fold and inclusion probability.

Never reads images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import Axis
from postbias.errors import CorpusError, SchemaError
from postbias.paths import Paths
from postbias.population.cross_fitted_scores import CrossFittedScores, Transform
from postbias.posts.authorship import AuthorCounts, count_authors
from postbias.posts.caption_chunks import Captions, StoredCaptions
from postbias.posts.cross_fitting_groups import link_split_posts
from postbias.posts.fold_assignment import find_oversized_groups
from postbias.posts.schema import FRAME, SAMPLE, SPLIT
from postbias.posts.shards import list_shards, read_posts, read_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.scoring.post_scores import OK
from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, LEARNED, LabelDesign
from postbias.stats.strata import Bools, Ints

# Labels that the student was neither trained nor selected on.
_HELD_OUT = ("calib", "test")
_LEARNED = ("train", "valid")


@dataclass(frozen=True, slots=True)
class ScoredCorpus:
    """All posts that the champion scored and that could have been sampled, in input order.

    Attributes:
        table: `post_id`, `author`, `sponsored`, `posted_at`, `band`, and each axis with its limits.
        captions: The caption of each post. (N,)
        axes: Scored axes, the main axis first.
        design: Author, role of the label, and sampling weight of each post.
        labels: The teacher's label by axis; NaN where there is none. (N,)
        scores: The champion's score by axis. (N,)
        cross_fitted: Scores of the cross-fitted students; None if the champion was trained on the
            train fold only.
        n_posts: Posts that could have been sampled, including those without a score.
        n_lost_labels: Labelled posts that have no score or are in no fold.
        later: Scored posts of imports that the sample was not drawn from, with the columns of
            `table`; they are in no other attribute, because no label can represent them.
        n_later: Number of posts of these imports, including those without a score.
        rounds: Round of sampling of each labelled post, from 1; 0 for the others. (N,)
    """

    table: pa.Table
    captions: Captions
    axes: tuple[Axis, ...]
    design: LabelDesign
    labels: Mapping[str, Array]
    scores: Mapping[str, Array]
    n_posts: int
    n_lost_labels: int
    later: pa.Table
    n_later: int
    rounds: Ints
    cross_fitted: CrossFittedScores | None = None

    def __len__(self) -> int:
        """Return the number of scored posts."""
        return int(self.table.num_rows)

    def scores_to_estimate(self, axis: str, transform: Transform) -> Array:
        """Return values for the estimation of a mean, by students that have not seen the label.

        Args:
            axis: Name of the axis.
            transform: What the mean is of.

        Returns:
            The transformed scores, corrected by those of cross-fitted students. (N,)
        """
        if self.cross_fitted is None:
            return transform(self.scores[axis])
        return self.cross_fitted.correct(axis, self.scores[axis], transform)

    def held_out_scores(self, axis: str) -> Array:
        """Return the score of each post; of held-out labels, by a student that has not seen it."""
        if self.cross_fitted is None:
            return self.scores[axis]
        return self.cross_fitted.replace_seen(axis, self.scores[axis])

    def count_authors(self, rows: Bools) -> AuthorCounts:
        """Count the authors of the posts in a mask (N,)."""
        kept = self.table.select(["author", "post_id"]).filter(pa.array(rows))
        return count_authors(kept["author"], kept["post_id"])


def load_scored_corpus(paths: Paths) -> ScoredCorpus:
    """Read posts, scores, sample, labels, split and the champion's manifest.

    Args:
        paths: The repository, after the stage infer.

    Returns:
        The scored posts in input order.

    Raises:
        CorpusError: If no post that could have been sampled has a score.
        SchemaError: If scores, sampling frame and posts are not from the same run.
    """
    manifest = Artifact.open(paths.champion).manifest
    axes, is_cross_fitted = manifest.axes, manifest.cross_fit is not None
    names = [axis.name for axis in axes]
    columns = _read_columns(paths, names)
    n_all = len(columns["post_id"])
    is_framed = _find_framed(paths, columns["post_id"])
    is_scored = pc.equal(columns.pop("status"), OK)
    is_later = pc.invert(is_framed)
    n_later = pc.sum(is_later).as_py()
    later = _filter({**columns}, pc.and_(is_later, is_scored))
    is_kept = pc.and_(is_framed, is_scored)
    table = _filter(columns, is_kept)
    if not table.num_rows:
        raise CorpusError("no post has a score", do="see reports/infer.json for the reasons")
    labels, n_lost = _align_labels(paths, names, table["post_id"])
    authors = _number_authors(table["author"])
    roles, never_held_out = labels["side"].astype(np.int8), _never_held_out(paths)
    cross_fitted = None
    if is_cross_fitted:  # every label is held out from one student
        roles[roles == LEARNED] = HELD_OUT
        never_held_out = never_held_out[:0]
    is_never_held_out = pc.is_in(table["author"], value_set=never_held_out).to_numpy()
    design = LabelDesign.of_corpus(authors, roles, labels["weight"], is_never_held_out)
    if is_cross_fitted:
        file = paths.out_of_fold / f"{manifest.modality}.parquet"
        scores_of_students = OutOfFoldScores.read(file, names)
        cross_fitted = CrossFittedScores.align(scores_of_students, table["post_id"], design)
    return ScoredCorpus(
        table=table,
        captions=StoredCaptions(tuple(list_shards(paths.posts)), is_kept.to_numpy()),
        axes=axes,
        design=design,
        labels={name: labels[name] for name in names},
        scores={name: table[name].to_numpy().astype(np.float64) for name in names},
        n_posts=n_all - n_later,
        n_lost_labels=n_lost,
        rounds=labels["round"].astype(np.intp),
        later=later,
        n_later=n_later,
        cross_fitted=cross_fitted,
    )


def _read_columns(paths: Paths, names: list[str]) -> dict[str, pa.ChunkedArray]:
    """Read columns of the scores, and check that they are those of the posts."""
    wanted = ["post_id", "author", "sponsored", "posted_at", "band", "status"]
    wanted += [f"{name}{end}" for name in names for end in ("", "_lo", "_hi")]
    shards = list_shards(paths.scores)
    scores = pa.concat_tables([read_table(shard, columns=wanted) for shard in shards])
    if not scores["post_id"].equals(read_posts(paths.posts, ["post_id"])["post_id"]):
        raise SchemaError(
            f"the scores in {paths.scores} are not those of the posts in {paths.posts}",
            do="run `dvc repro`",
        )
    return {name: scores[name] for name in scores.column_names}


def _filter(columns: dict[str, pa.ChunkedArray], keep: pa.ChunkedArray) -> pa.Table:
    """Filter a table; empties `columns`, so that no column is in memory twice."""
    names = list(columns)
    table = pa.table({name: columns.pop(name).filter(keep) for name in names})
    pa.default_memory_pool().release_unused()
    return table


def _find_framed(paths: Paths, post_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which posts could have been sampled, bool, (N,)."""
    frame = read_table(paths.sample_frame, FRAME)["post_id"]
    if frame.equals(post_ids):  # a set of all ids would take much memory
        return pa.chunked_array([pa.repeat(pa.scalar(True), len(frame))])
    is_framed = pc.is_in(post_ids, value_set=frame.combine_chunks())
    if pc.sum(is_framed).as_py() != len(frame):
        raise SchemaError(
            f"the posts in {paths.sample_frame} are not those in {paths.posts}",
            do="run `dvc repro`",
        )
    return is_framed


def _align_labels(
    paths: Paths, names: list[str], post_ids: pa.ChunkedArray
) -> tuple[dict[str, npt.NDArray[np.float64]], int]:
    """Return labels, `side`, `weight` and `round` by column, (N,), and how many were lost."""
    labels = read_table(paths.labels)
    labels = labels.filter(pc.equal(labels["status"], OK)).select(["post_id", *names])
    split = read_table(paths.split, SPLIT, ["post_id", "fold"])
    sample = read_table(paths.sample, SAMPLE, ["post_id", "weight", "round"])
    joined = labels.join(split, "post_id", join_type="inner")
    joined = joined.join(sample, "post_id", join_type="inner")
    is_used = pc.is_in(joined["fold"], value_set=pa.array(_LEARNED + _HELD_OUT))
    used = joined.filter(is_used)
    at = pc.index_in(post_ids, value_set=used["post_id"].combine_chunks())
    rows = np.flatnonzero(at.is_valid())
    kept = used.take(at.drop_null())
    columns = {name: np.full(len(post_ids), np.nan) for name in names}
    for name in names:
        columns[name][rows] = kept[name].to_numpy()
    columns |= {name: np.zeros(len(post_ids)) for name in ("side", "weight", "round")}
    is_held_out = pc.is_in(kept["fold"], value_set=pa.array(_HELD_OUT)).to_numpy()
    columns["side"][rows] = np.where(is_held_out, HELD_OUT, LEARNED)
    for name in ("weight", "round"):
        columns[name][rows] = kept[name].to_numpy()
    return columns, labels.num_rows - len(rows)


def _never_held_out(paths: Paths) -> pa.Array:
    """List the authors in groups that are larger than a held-out fold."""
    split = read_table(paths.split, SPLIT, ["author", "cluster", "fold"])
    if not split.num_rows:
        return split["author"].combine_chunks()
    groups = link_split_posts(split)
    folds = np.asarray(split["fold"].to_pylist(), dtype=object)
    shares = {fold: float(np.mean(folds == fold)) for fold in _HELD_OUT}
    is_oversized = find_oversized_groups(groups, shares)[groups]
    return split["author"].filter(pa.array(is_oversized)).combine_chunks()


def _number_authors(column: pa.ChunkedArray) -> Ints:
    """Number the authors of posts in alphabetical order, (N,)."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    numbers = np.empty(len(order), dtype=np.intp)
    numbers[order] = np.arange(len(order))
    authors: Ints = numbers[encoded.indices.to_numpy()]
    return authors
