"""Score the posts of one shard in batches.

Decoding and inference share the scorer's threads; reading runs a few batches ahead, in constant
memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa

from postbias.posts.remote_files import AnyPath, InMemoryFile
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import iter_posts
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer

_COLUMNS = ("post_id", "author", "caption", "sponsored", "posted_at", "source")
_IN_FLIGHT = 3


class ShardScores(NamedTuple):
    """The results of one shard."""

    scores: pa.Table
    """One row per post, in order."""
    rejects: pa.Table
    """One row per post without a score."""


def score_shard(
    shard: AnyPath | InMemoryFile,
    scorer: Scorer,
    champion: str,
    *,
    batch_size: int,
    on_progress: Callable[[int], object],
) -> ShardScores:
    """Score the posts of one shard.

    Args:
        shard: The posts.
        scorer: The student.
        champion: Digest of the student, for the column `champion`.
        batch_size: Posts per batch; does not affect scores. A few batches are in memory at a time.
        on_progress: Called with the number of posts scored since the last call.

    Returns:
        Scores and rejects.

    Raises:
        SchemaError: If the shard is damaged or has the wrong columns.
    """
    columns = [*_COLUMNS, "images"] if scorer.manifest.reads_images else list(_COLUMNS)
    scores, rejects = [], []
    batches = iter_posts([shard], columns, batch_size)
    for batch, results in _ahead(batches, scorer):
        scores.append(_score_table(batch, results, scorer.axes, champion))
        rejects.append(_reject_table(batch, results))
        on_progress(len(results))
    return ShardScores(
        pa.concat_tables([scores_schema(scorer.axes).empty_table(), *scores]),
        pa.concat_tables([REJECTS.empty_table(), *rejects]),
    )


def _ahead(
    batches: Iterator[pa.RecordBatch], scorer: Scorer
) -> Iterator[tuple[pa.RecordBatch, list[PostScore]]]:
    """Score batches in order, a few at a time, so that no thread waits for the end of a batch."""
    waiting: deque[tuple[pa.RecordBatch, Future[list[PostScore]]]] = deque()
    pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="batch")
    try:
        for batch in batches:
            posts = _inputs(batch)
            waiting.append((batch.select(list(_COLUMNS)), pool.submit(scorer.score, posts)))
            if len(waiting) == _IN_FLIGHT:
                done, results = waiting.popleft()
                yield done, results.result()
        for done, results in waiting:
            yield done, results.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _inputs(batch: pa.RecordBatch) -> list[PostInput]:
    captions = batch["caption"].to_pylist()
    if "images" not in batch.schema.names:
        return [PostInput(caption) for caption in captions]
    files = (tuple(image["bytes"] or b"" for image in images) for images in
             batch["images"].to_pylist())  # fmt: skip
    return [PostInput(caption, images) for caption, images in zip(captions, files, strict=True)]


def _score_table(
    batch: pa.RecordBatch, results: list[PostScore], axes: tuple[str, ...], champion: str
) -> pa.Table:
    columns: dict[str, Any] = {name: batch[name] for name in ("post_id", "author", "sponsored")}
    columns["posted_at"] = batch["posted_at"]
    for axis in axes:
        for position, suffix in enumerate(("", "_lo", "_hi")):
            columns[axis + suffix] = [
                r.scores[axis][position] if r.scores else None for r in results
            ]
    for name in ("band", "modalities", "n_images", "status"):
        columns[name] = [getattr(result, name) for result in results]
    columns["champion"] = [champion] * len(results)
    return pa.table(columns, scores_schema(axes))


def _reject_table(batch: pa.RecordBatch, results: list[PostScore]) -> pa.Table:
    names = zip(batch["source"].to_pylist(), batch["post_id"].to_pylist(), strict=True)
    rejects = [
        {"source": source, "post_id": post_id, "stage": "score",
         "reason": result.status, "detail": result.detail}
        for (source, post_id), result in zip(names, results, strict=True)
        if result.status != OK
    ]  # fmt: skip
    return pa.Table.from_pylist(rejects, REJECTS)
