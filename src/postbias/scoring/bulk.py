"""Scores every post of many shards: nothing lost, nothing done twice, one row for each.

A finished shard goes into the store at once, under a name that says what it depends on; a run that
was killed finds it there and goes on. The outputs are made from the store at the end and are the
same bytes, whether the run was interrupted or not, and whoever computed them: an engine is handed
the shards that are missing and gives back the scores of each, in any order. Knows nothing of
MLflow, params and formats other than shards.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from postbias.errors import CountsError, StorageError
from postbias.posts.remote_files import AnyPath, copy_to_local
from postbias.posts.schema import REJECTS
from postbias.posts.shards import atomic_write, count_rows, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Precision
from postbias.scoring.score_store import ScoringStudent, StoredShard
from postbias.scoring.scorer import OK, Scorer
from postbias.scoring.shard_scores import ShardScores, score_shard

logger = logging.getLogger(__name__)

#: Called with the number of posts done since it was called last; negative where work was lost.
ProgressCallback = Callable[[int], object]


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
        return {
            "champion": self.champion,
            "precision": self.precision,
            "posts": self.posts,
            "scored": self.scored,
            "rejected": self.posts - self.scored,
            "by_status": self.by_status,
            "by_modalities": self.by_modalities,
            "band_share": {name: n / max(1, self.scored) for name, n in self.by_band.items()},
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
class ScoreOutputs:
    """Where the outputs of bulk scoring go.

    Attributes:
        scores: Folder of one score shard per post shard, of the same name; replaced as a whole.
        rejects: Table of the posts that have no score.
        store: Folder of finished shards, which must survive a crash.
    """

    scores: Path
    rejects: Path
    store: AnyPath


class ExecutionBackend(ScoringStudent, Protocol):
    """A student, and the means to score many shards with it."""

    def run(
        self, shards: Sequence[AnyPath], tell: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            shards: Post shards.
            tell: Called as posts are done.

        Returns:
            Each shard once, with its scores, in any order and as they are done.
        """


class LocalBackend:
    """Scores on the cores of this machine, one shard after the other."""

    def __init__(self, scorer: Scorer, *, batch_size: int) -> None:
        """Take a loaded student.

        Args:
            scorer: The student.
            batch_size: Posts in memory at a time, times a few; does not change a score.
        """
        self._scorer = scorer
        self._batch_size = batch_size

    @property
    def artifact(self) -> Artifact:
        """The student's files."""
        return self._scorer.artifact

    @property
    def precision(self) -> Precision:
        """Which of its graphs run."""
        return self._scorer.precision

    @property
    def device(self) -> str:
        """What they run on."""
        return self._scorer.device

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of its axes, the main one first."""
        return self._scorer.axes

    def run(
        self, shards: Sequence[AnyPath], tell: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            shards: Post shards.
            tell: Called as posts are done.

        Yields:
            Each shard, in order, with its scores.

        Raises:
            SchemaError: If a shard is damaged or has other columns.
        """
        size, champion = self._batch_size, self.artifact.digest
        for shard in shards:
            yield (
                shard,
                score_shard(shard, self._scorer, champion, batch_size=size, on_progress=tell),
            )


def score_shards(
    shards: Sequence[AnyPath], scorer: Scorer, to: ScoreOutputs, *, batch_size: int
) -> BulkSummary:
    """Score every post of some shards on this machine; see `score_with_backend`.

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
    return score_with_backend(shards, LocalBackend(scorer, batch_size=batch_size), to)


def score_with_backend(
    shards: Sequence[AnyPath], engine: ExecutionBackend, to: ScoreOutputs
) -> BulkSummary:
    """Score every post of some shards; what is in the store is not computed again.

    Args:
        shards: Post shards, their names distinct.
        engine: Who computes.
        to: Where to write.

    Returns:
        What it came to.

    Raises:
        CountsError: If rows in are not rows out.
        SchemaError: If a shard is damaged or has other columns.
        StorageError: If something cannot be written.
    """
    started = time.monotonic()
    entries = {shard: StoredShard.of(shard, engine, to.store) for shard in shards}
    # By place in the store: two shards may hold the same bytes.
    missing = {entry.scores: shard for shard, entry in entries.items() if not entry.is_done()}
    n_missing, n_posts = count_rows(list(missing.values())), count_rows(shards)
    if n_missing < n_posts:
        logger.info("%d of %d posts are in the store already", n_posts - n_missing, n_posts)
    with tqdm(
        total=n_posts, initial=n_posts - n_missing, desc="score", unit="post", disable=None
    ) as progress:
        for shard, (scores, rejects) in engine.run(list(missing.values()), progress.update):
            entries[shard].write(scores, rejects)
    seconds = time.monotonic() - started
    if n_missing:
        logger.info("scored %d posts, %.1f posts/s", n_missing, n_missing / seconds)
    summary = _materialise(entries, engine, to)
    if summary.posts != n_posts:
        raise CountsError("posts in are not rows out", seen=summary.posts, allowed=n_posts)
    return dataclasses.replace(summary, computed=n_missing, seconds=seconds)


def _materialise(
    entries: Mapping[AnyPath, StoredShard], student: ScoringStudent, to: ScoreOutputs
) -> BulkSummary:
    """Make the outputs from the store; the folder of scores appears as a whole."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "modalities", "band")}
    sums = dict.fromkeys(sorted(student.axes), 0.0)
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
            for axis in student.axes:
                sums[axis] += pc.sum(scores[axis].cast(pa.float64())).as_py() or 0.0
            with atomic_write(staging / shard.name) as temporary:
                copy_to_local(entry.scores, temporary)
        if to.scores.exists():
            shutil.rmtree(to.scores)
        staging.replace(to.scores)
    except OSError as error:
        raise StorageError(f"cannot write {to.scores}: {error.strerror or error}") from error
    write_table(pa.concat_tables(rejects), to.rejects, REJECTS)
    scored = counts["status"][OK]
    return BulkSummary(
        champion=student.artifact.digest,
        precision=student.precision,
        posts=counts["status"].total(),
        by_status=dict(sorted(counts["status"].items())),
        by_modalities=dict(sorted(counts["modalities"].items())),
        by_band=dict(sorted(counts["band"].items())),
        means={axis: total / scored for axis, total in sums.items()} if scored else {},
        computed=0,
        seconds=0.0,
    )
