"""The rated posts, with the ratings of people, the teacher's labels and the student's scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import Axis
from postbias.errors import CorpusError
from postbias.people.rating_records import Outcome, RatingItem
from postbias.people.rating_table import RatedPost, RecordedRatings
from postbias.population.scored_corpus import ScoredCorpus
from postbias.stats.bootstrap import Array

FIRST, SECOND = 1, 2


@dataclass(frozen=True, slots=True)
class RatedPosts:
    """The n scored posts with at least one answer, in the order of the corpus, and J raters.

    Attributes:
        source: Name and digest of the file of ratings.
        rows: Place of each post among the scored posts. (n,)
        items: Sampling information of each post. (n,)
        raters: Pseudonyms, sorted.
        ratings: First rating of each post by each rater, by axis; NaN if there is none. (n, J)
        repeats: Second rating, by axis; NaN if there is none. (n, J)
        labels: The teacher's label by axis; NaN if there is none. (n,)
        scores: The student's score by axis. (n,)
        authors: Author of each post. (n,)
        outcomes: Number of answers by outcome.
        median_seconds: Median time for one post; None if no time was recorded.
        faults: Rows of the file that cannot be used, as `FILE:LINE: fault` or `POST_ID: fault`.
    """

    source: str
    rows: np.ndarray
    items: tuple[RatingItem, ...]
    raters: tuple[str, ...]
    ratings: Mapping[str, Array]
    repeats: Mapping[str, Array]
    labels: Mapping[str, Array]
    scores: Mapping[str, Array]
    authors: tuple[str, ...]
    outcomes: Mapping[str, int]
    median_seconds: float | None
    faults: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.rows)


def join_ratings(recorded: RecordedRatings, corpus: ScoredCorpus) -> RatedPosts:
    """Join recorded ratings with the corpus.

    Args:
        recorded: The ratings.
        corpus: All scored posts.

    Returns:
        The rated posts; answers about posts that are not among the scored ones are faults.

    Raises:
        CorpusError: If no rated post is among the scored ones.
    """
    ids = corpus.table["post_id"].combine_chunks()
    wanted = list(dict.fromkeys(row.item.post_id for row in recorded.rows))
    places = pc.index_in(pa.array(wanted, pa.string()), value_set=ids).to_pylist()
    found = {post_id: at for post_id, at in zip(wanted, places, strict=True) if at is not None}
    if not found:
        raise CorpusError(
            "none of the rated posts is among the scored posts of this corpus",
            seen=recorded.source,
            do="set rating.file to ratings of these posts, or to null",
        )
    post_ids = sorted(found, key=found.__getitem__)
    rows = np.array([found[post_id] for post_id in post_ids])
    known = [row for row in recorded.rows if row.item.post_id in found]
    items = {row.item.post_id: row.item for row in known}
    raters = tuple(sorted({row.rating.rater for row in known}))
    missing = [row for row in recorded.rows if row.item.post_id not in found]
    seconds = [row.rating.seconds for row in known if row.rating.seconds > 0]
    taken = corpus.table["author"].take(pa.array(rows))
    return RatedPosts(
        source=recorded.source,
        rows=rows,
        items=tuple(items[post_id] for post_id in post_ids),
        raters=raters,
        ratings=_fill(known, FIRST, post_ids, raters, corpus.axes),
        repeats=_fill(known, SECOND, post_ids, raters, corpus.axes),
        labels={name: values[rows] for name, values in corpus.labels.items()},
        scores={name: corpus.held_out_scores(name)[rows] for name in corpus.scores},
        # A post without an author is its own cluster.
        authors=tuple(a or p for a, p in zip(taken.to_pylist(), post_ids, strict=True)),
        outcomes=dict(sorted(Counter(str(row.rating.outcome) for row in known).items())),
        median_seconds=float(np.median(seconds)) if seconds else None,
        faults=(
            *recorded.faults,
            *(f"{row.item.post_id}: not among the scored posts" for row in missing),
        ),
    )


def _fill(
    known: Sequence[RatedPost],
    occasion: int,
    post_ids: Sequence[str],
    raters: Sequence[str],
    axes: Sequence[Axis],
) -> dict[str, Array]:
    row_of = {post_id: i for i, post_id in enumerate(post_ids)}
    column_of = {rater: j for j, rater in enumerate(raters)}
    filled = {axis.name: np.full((len(post_ids), len(raters)), np.nan) for axis in axes}
    for row in known:
        if row.rating.outcome is Outcome.RATED and row.rating.task.occasion == occasion:
            at = row_of[row.item.post_id], column_of[row.rating.rater]
            for name, matrix in filled.items():
                matrix[at] = row.rating.scores[name]
    return filled
