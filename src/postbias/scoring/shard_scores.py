"""Score the posts of one shard in batches.

Decoding and inference share the scorer's threads; reading runs a few batches ahead, in constant
memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa

from postbias.errors import SchemaError
from postbias.posts.remote_files import AnyPath, InMemoryFile
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import iter_posts
from postbias.scoring.repeated_inputs import RecentInputs
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer

_COLUMNS = ("post_id", "author", "caption", "sponsored", "posted_at", "source")
_IN_FLIGHT = 3

_Shard = TypeVar("_Shard", bound=AnyPath | InMemoryFile)


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
    scored = iter_shard_scores(
        [shard], scorer, champion, batch_size=batch_size, on_progress=on_progress
    )
    return next(scores for _, scores in scored)


def iter_shard_scores(
    shards: Sequence[_Shard],
    scorer: Scorer,
    champion: str,
    *,
    batch_size: int,
    on_progress: Callable[[int], object],
) -> Iterator[tuple[_Shard, ShardScores]]:
    """Score the posts of several shards; see `score_shard`.

    Batches of the next shard are read and started before the last one of a shard is finished, so
    that no thread waits between shards.

    Args:
        shards: The posts.
        scorer: The student.
        champion: Digest of the student, for the column `champion`.
        batch_size: Posts per batch; does not affect scores.
        on_progress: Called with the number of posts scored since the last call.

    Yields:
        Each shard, in order, with its scores.

    Raises:
        SchemaError: If a shard is damaged or has the wrong columns; after the shards before it.
    """
    columns = [*_COLUMNS, "images"] if scorer.manifest.reads_images else list(_COLUMNS)
    scores = [scores_schema(scorer.axes).empty_table()]
    rejects = [REJECTS.empty_table()]
    for item in _ahead(_read_batches(shards, columns, batch_size), scorer):
        if item.batch is None or item.results is None:
            yield item.shard, ShardScores(pa.concat_tables(scores), pa.concat_tables(rejects))
            del scores[1:], rejects[1:]
            continue
        results = item.results.result()
        scores.append(_score_table(item.batch, results, scorer.axes, champion))
        rejects.append(_reject_table(item.batch, results))
        on_progress(len(results))


class _Item(NamedTuple, Generic[_Shard]):
    """A batch without its images and its results; without either, the end of a shard."""

    shard: _Shard
    batch: pa.RecordBatch | None = None
    results: Future[list[PostScore]] | None = None


def _read_batches(
    shards: Sequence[_Shard], columns: Sequence[str], batch_size: int
) -> Iterator[tuple[_Shard, pa.RecordBatch | None]]:
    """Read the batches of each shard, with None after its last one."""
    for shard in shards:
        for batch in iter_posts([shard], columns, batch_size):
            yield shard, batch
        yield shard, None


def _ahead(
    batches: Iterator[tuple[_Shard, pa.RecordBatch | None]], scorer: Scorer
) -> Iterator[_Item[_Shard]]:
    """Score batches in order, a few at a time, so that no thread waits for the end of a batch."""
    waiting: deque[_Item[_Shard]] = deque()
    recent = RecentInputs()
    pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="batch")
    try:
        try:
            for shard, batch in batches:
                if batch is None:
                    waiting.append(_Item(shard))
                    continue
                results = pool.submit(scorer.score, _inputs(batch), recent)
                waiting.append(_Item(shard, batch.select(list(_COLUMNS)), results))
                while sum(item.results is not None for item in waiting) >= _IN_FLIGHT:
                    yield waiting.popleft()
        except SchemaError:
            yield from waiting  # the shards before the damaged one are not lost
            raise
        yield from waiting
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
