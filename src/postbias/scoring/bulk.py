"""Scores every post of many shards: nothing lost, nothing done twice, one row for each.

A finished shard goes into the store at once, under a name that says what it depends on; a run that
was killed finds it there and goes on. The outputs are made from the store at the end and are the
same bytes, whether the run was interrupted or not. Decoding and the student's arithmetic share the
scorer's threads; reading runs ahead by a few batches, so that memory does not grow with the number
of posts. Knows nothing of MLflow, params and formats other than shards.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from postbias.errors import CountsError, StorageError
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import count_rows, iter_posts, replacing, write_table
from postbias.scoring.score_store import StoredShard
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer

logger = logging.getLogger(__name__)

_COLUMNS = ("post_id", "author", "caption", "sponsored", "posted_at", "source")
_IN_FLIGHT = 3


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """What scoring many posts came to.

    Attributes:
        champion: Digest of the student.
        precision: What ran.
        posts: Rows in, and rows out.
        by_status: Posts by `ok` or the reason why there is no score.
        by_modalities: Scored posts by what was used.
        by_band: Scored posts by band of the main axis.
        means: Mean score by axis; empty if no post was scored.
        computed: Posts scored by this call; the others were in the store.
        seconds: How long that took.
    """

    champion: str
    precision: str
    posts: int
    by_status: Mapping[str, int]
    by_modalities: Mapping[str, int]
    by_band: Mapping[str, int]
    means: Mapping[str, float]
    computed: int = field(compare=False)
    seconds: float = field(compare=False)

    @property
    def scored(self) -> int:
        """Posts with a score."""
        return self.by_status.get(OK, 0)

    @property
    def posts_per_s(self) -> float | None:
        """Posts per second of what this call computed; None if all was in the store."""
        return self.computed / self.seconds if self.computed else None

    def report(self) -> dict[str, Any]:
        """Give what is the same however often, on how many threads and how fast it was run.

        Returns:
            Counts, shares and means, for a report.
        """
        scored = max(1, self.scored)
        return {
            "champion": self.champion,
            "precision": self.precision,
            "posts": self.posts,
            "scored": self.scored,
            "rejected": self.posts - self.scored,
            "by_status": self.by_status,
            "by_modalities": self.by_modalities,
            "band_share": {name: count / scored for name, count in self.by_band.items()},
            "mean": self.means,
        }

    def render(self) -> str:
        """Say it in a few lines, for people.

        Returns:
            Posts, speed, rejects by reason, bands and means.
        """
        rate = f", {self.posts_per_s:.1f} posts/s" if self.posts_per_s else ""
        lines = [f"scored {self.scored} of {self.posts} posts{rate}"]
        lines += [f"  not scored {n} ({why})" for why, n in self.by_status.items() if why != OK]
        lines += [f"  {band} {n / self.scored:.1%}" for band, n in self.by_band.items()]
        lines += [f"  mean {axis} {mean:.2f}" for axis, mean in self.means.items()]
        return "\n".join(lines)

    def metrics(self) -> dict[str, float]:
        """Give the numbers of the report and the speed, flat.

        Returns:
            Number by name.
        """
        report = self.report()
        numbers = {name: float(report[name]) for name in ("posts", "scored", "rejected")}
        for part in ("by_status", "by_modalities", "band_share", "mean"):
            numbers |= {f"{part}.{name}".replace("+", "_"): n for name, n in report[part].items()}
        rate = self.posts_per_s
        return numbers if rate is None else numbers | {"posts_per_s": rate}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the outputs of bulk scoring go.

    Attributes:
        scores: Folder of one score shard per post shard, of the same name; replaced as a whole.
        rejects: Table of the posts that have no score.
        store: Folder of finished shards, which must survive a crash.
    """

    scores: Path
    rejects: Path
    store: Path


def score_shards(
    shards: Sequence[Path], scorer: Scorer, to: Destination, *, batch_size: int
) -> BulkSummary:
    """Score every post of some shards.

    Args:
        shards: Post shards, their names distinct.
        scorer: The student.
        to: Where to write.
        batch_size: Posts in memory at a time, times a few; does not change a score.

    Returns:
        What it came to.

    Raises:
        CountsError: If rows in are not rows out.
        SchemaError: If a shard is damaged or has other columns.
        StorageError: If something cannot be written.
    """
    started = time.monotonic()
    entries = {shard: StoredShard.of(shard, scorer, to.store) for shard in shards}
    missing = [shard for shard in shards if not entries[shard].is_done()]
    n_missing, n_posts = count_rows(missing), count_rows(shards)
    if n_missing < n_posts:
        logger.info("%d of %d posts are in the store already", n_posts - n_missing, n_posts)
    with tqdm(
        total=n_posts, initial=n_posts - n_missing, desc="score", unit="post", disable=None
    ) as progress:
        for shard in missing:
            if not entries[shard].is_done():  # two shards may hold the same bytes
                entries[shard].write(*_score_shard(shard, scorer, batch_size, progress))
    seconds = time.monotonic() - started
    if n_missing:
        logger.info("scored %d posts, %.1f posts/s", n_missing, n_missing / seconds)
    summary = _materialise(entries, scorer, to)
    if summary.posts != n_posts:
        raise CountsError("posts in are not rows out", seen=summary.posts, allowed=n_posts)
    return dataclasses.replace(summary, computed=n_missing, seconds=seconds)


def _score_shard(
    shard: Path,
    scorer: Scorer,
    batch_size: int,
    progress: Any,  # noqa: ANN401 - tqdm is untyped
) -> tuple[pa.Table, pa.Table]:
    """Score one shard in batches; give its scores and its rejects."""
    columns = [*_COLUMNS, "images"] if scorer.manifest.has_image else list(_COLUMNS)
    scores, rejects = [], []
    batches = iter_posts([shard], columns, batch_size)
    for batch, results in _ahead(batches, scorer):
        scores.append(_score_table(batch, results, scorer))
        rejects.append(_reject_table(batch, results))
        progress.update(len(results))
    return (
        pa.concat_tables([scores_schema(scorer.axes).empty_table(), *scores]),
        pa.concat_tables([REJECTS.empty_table(), *rejects]),
    )


def _ahead(
    batches: Iterator[pa.RecordBatch], scorer: Scorer
) -> Iterator[tuple[pa.RecordBatch, list[PostScore]]]:
    """Score batches in order, a few at the same time: no thread waits for the last of a batch."""
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


def _score_table(batch: pa.RecordBatch, results: list[PostScore], scorer: Scorer) -> pa.Table:
    columns: dict[str, Any] = {name: batch[name] for name in ("post_id", "author", "sponsored")}
    columns["posted_at"] = batch["posted_at"]
    for axis in scorer.axes:
        for at, end in enumerate(("", "_lo", "_hi")):
            columns[axis + end] = [r.scores[axis][at] if r.scores else None for r in results]
    for name in ("band", "modalities", "n_images", "status"):
        columns[name] = [getattr(result, name) for result in results]
    columns["champion"] = [scorer.artifact.digest] * len(results)
    return pa.table(columns, scores_schema(scorer.axes))


def _reject_table(batch: pa.RecordBatch, results: list[PostScore]) -> pa.Table:
    names = zip(batch["source"].to_pylist(), batch["post_id"].to_pylist(), strict=True)
    rejects = [
        {"source": source, "post_id": post_id, "stage": "score",
         "reason": result.status, "detail": result.detail}
        for (source, post_id), result in zip(names, results, strict=True)
        if result.status != OK
    ]  # fmt: skip
    return pa.Table.from_pylist(rejects, REJECTS)


def _materialise(
    entries: Mapping[Path, StoredShard], scorer: Scorer, to: Destination
) -> BulkSummary:
    """Make the outputs from the store; the folder of scores appears as a whole."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "modalities", "band")}
    sums = dict.fromkeys(sorted(scorer.axes), 0.0)
    rejects = [REJECTS.empty_table()]
    staging = to.scores.with_name(f".{to.scores.name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for shard, entry in sorted(entries.items(), key=lambda item: item[0].name):
            scores, rejected = entry.read()
            rejects.append(rejected)
            for name, counter in counts.items():
                counter.update(value for value in scores[name].to_pylist() if value is not None)
            for axis in scorer.axes:
                sums[axis] += pc.sum(scores[axis].cast(pa.float64())).as_py() or 0.0
            with replacing(staging / shard.name) as temporary:
                shutil.copyfile(entry.scores, temporary)
        if to.scores.exists():
            shutil.rmtree(to.scores)
        staging.replace(to.scores)
    except OSError as error:
        raise StorageError(f"cannot write {to.scores}: {error.strerror or error}") from error
    write_table(pa.concat_tables(rejects), to.rejects, REJECTS)
    scored = counts["status"][OK]
    return BulkSummary(
        champion=scorer.artifact.digest,
        precision=scorer.precision,
        posts=counts["status"].total(),
        by_status=dict(sorted(counts["status"].items())),
        by_modalities=dict(sorted(counts["modalities"].items())),
        by_band=dict(sorted(counts["band"].items())),
        means={axis: total / scored for axis, total in sums.items()} if scored else {},
        computed=0,
        seconds=0.0,
    )
