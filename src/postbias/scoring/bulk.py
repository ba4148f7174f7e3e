"""Score all posts of many shards: resumable, one row per post, on any execution backend.

Finished shards are stored at once; the outputs are made from the store at the end. So they have the
same bytes after an interruption and with any backend.
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
from postbias.scoring.platforms import warn_of_new_platforms
from postbias.scoring.score_store import (
    ScoringStudent,
    StoredShard,
    locate_stored_shards,
    store_key,
)
from postbias.scoring.scorer import OK, Scorer
from postbias.scoring.shard_scores import ShardScores, iter_shard_scores

logger = logging.getLogger(__name__)

#: Called with the number of posts scored since the last call; negative if a worker was lost.
ProgressCallback = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """The result of scoring many posts.

    Attributes:
        champion: Digest of the student.
        precision: Precision of the graphs.
        posts: Number of posts, and of rows in the output.
        by_status: Posts by `ok` or the reason why there is no score.
        by_modalities: Scored posts by modalities used.
        by_band: Scored posts by band of the main axis.
        means: Mean score by axis; empty if no post was scored.
        computed: Posts scored by this call; the others were in the store.
        seconds: Time taken by this call.
        digests: Content digest of each post shard.
        import_warning: A warning if many records of a table or an export could not be read.
    """

    champion: str
    precision: str
    posts: int
    by_status: Mapping[str, int]
    by_modalities: Mapping[str, int]
    by_band: Mapping[str, int]
    means: Mapping[str, float]
    computed: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)
    digests: Mapping[AnyPath, str] = field(default_factory=dict, compare=False)
    import_warning: str | None = field(default=None, compare=False)

    @property
    def scored(self) -> int:
        """Number of posts with a score."""
        return self.by_status.get(OK, 0)

    @property
    def posts_per_s(self) -> float | None:
        """Posts per second; None if all scores were in the store."""
        return self.computed / self.seconds if self.computed else None

    def report(self) -> dict[str, Any]:
        """Return counts, shares and means: what does not depend on threads, speed or reruns."""
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
        """Return a few lines of text: posts, speed, rejects by reason, bands and means."""
        rate = f", {self.posts_per_s:.1f} posts/s" if self.posts_per_s else ""
        lines = [f"scored {self.scored} of {self.posts} posts{rate}"]
        lines += [f"  not scored {n} ({why})" for why, n in self.by_status.items() if why != OK]
        lines += [f"  {band} {n / self.scored:.1%}" for band, n in self.by_band.items()]
        lines += [f"  mean {axis} {mean:.2f}" for axis, mean in self.means.items()]
        return "\n".join(lines)

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the report and the speed as a flat mapping."""
        report = self.report()
        numbers = {name: float(report[name]) for name in ("posts", "scored", "rejected")}
        for part in ("by_status", "by_modalities", "band_share", "mean"):
            numbers |= {f"{part}.{name}".replace("+", "_"): n for name, n in report[part].items()}
        rate = self.posts_per_s
        return numbers if rate is None else numbers | {"posts_per_s": rate}


@dataclass(frozen=True, slots=True)
class ScoreOutputs:
    """Paths of the outputs of bulk scoring.

    Attributes:
        scores: Folder of one score shard per post shard, with the same name; replaced as a whole.
        rejects: Table of the posts without a score.
        store: Folder of finished shards, which must survive a crash.
    """

    scores: Path
    rejects: Path
    store: AnyPath


class ExecutionBackend(ScoringStudent, Protocol):
    """A student and the means to score shards with it."""

    def run(
        self, shards: Sequence[AnyPath], on_progress: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            on_progress: Called as posts are scored.

        Returns:
            Each shard once with its scores, in order of completion.
        """


class LocalBackend:
    """Scores shards in order on this machine."""

    def __init__(self, scorer: Scorer, *, batch_size: int) -> None:
        """Use a loaded student.

        Args:
            scorer: The student.
            batch_size: Posts per batch; does not affect scores.
        """
        self._scorer = scorer
        self._batch_size = batch_size

    @property
    def artifact(self) -> Artifact:
        """Files of the student."""
        return self._scorer.artifact

    @property
    def precision(self) -> Precision:
        """Precision of the graphs that run."""
        return self._scorer.precision

    @property
    def device(self) -> str:
        """Device that the graphs run on."""
        return self._scorer.device

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return self._scorer.axes

    def run(
        self, shards: Sequence[AnyPath], on_progress: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            on_progress: Called as posts are scored.

        Yields:
            Each shard, in order, with its scores.

        Raises:
            SchemaError: If a shard is damaged or has the wrong columns.
        """
        size, champion = self._batch_size, self.artifact.digest
        yield from iter_shard_scores(
            shards, self._scorer, champion, batch_size=size, on_progress=on_progress
        )


def score_shards(
    shards: Sequence[AnyPath], scorer: Scorer, outputs: ScoreOutputs, *, batch_size: int
) -> BulkSummary:
    """Score all posts of shards on this machine; see `score_with_backend`.

    Args:
        shards: Post shards with distinct names.
        scorer: The student.
        outputs: Paths of the outputs.
        batch_size: Posts per batch; does not affect scores.

    Raises:
        CountsError: If the number of rows differs from the number of posts.
        SchemaError: If a shard is damaged or has the wrong columns.
        StorageError: If an output cannot be written.
    """
    return score_with_backend(shards, LocalBackend(scorer, batch_size=batch_size), outputs)


def score_with_backend(
    shards: Sequence[AnyPath], backend: ExecutionBackend, outputs: ScoreOutputs
) -> BulkSummary:
    """Score all posts of shards; shards in the store are not computed again.

    Args:
        shards: Post shards with distinct names.
        backend: Execution backend.
        outputs: Paths of the outputs.

    Raises:
        CountsError: If the number of rows differs from the number of posts.
        SchemaError: If a shard is damaged or has the wrong columns.
        StorageError: If an output cannot be written.
    """
    warn_of_new_platforms(shards, backend.artifact.manifest)
    started = time.monotonic()
    finished = outputs.store / store_key(backend)
    entries = locate_stored_shards(shards, finished, backend.axes)
    # Keyed by path in the store: two shards may have the same content.
    missing = {entry.scores: shard for shard, entry in entries.items() if not entry.is_done()}
    n_missing, n_posts = count_rows(list(missing.values())), count_rows(shards)
    if n_missing < n_posts:
        logger.info("resuming: %d of %d posts are already scored", n_posts - n_missing, n_posts)
    with tqdm(
        total=n_posts, initial=n_posts - n_missing, desc="score", unit="post", disable=None
    ) as progress:
        for shard, (scores, rejects) in backend.run(list(missing.values()), progress.update):
            entries[shard].write(scores, rejects)
    seconds = time.monotonic() - started
    if n_missing:
        logger.info("scored %d posts, %.1f posts/s", n_missing, n_missing / seconds)
    summary = _write_outputs(entries, backend, outputs)
    if summary.posts != n_posts:
        raise CountsError(
            "the number of rows differs from the number of posts",
            seen=summary.posts,
            allowed=n_posts,
        )
    digests = {shard: entry.digest for shard, entry in entries.items()}
    return dataclasses.replace(summary, computed=n_missing, seconds=seconds, digests=digests)


def _write_outputs(
    entries: Mapping[AnyPath, StoredShard], student: ScoringStudent, outputs: ScoreOutputs
) -> BulkSummary:
    """Write the outputs from the store; the folder of scores is replaced atomically."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "modalities", "band")}
    sums = dict.fromkeys(sorted(student.axes), 0.0)
    rejects = [REJECTS.empty_table()]
    staging = outputs.scores.with_name(f".{outputs.scores.name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for shard, stored in sorted(entries.items(), key=lambda item: item[0].name):
            scores, rejected = stored.read()
            rejects.append(rejected)
            for name, counter in counts.items():
                for entry in pc.value_counts(scores[name].drop_null()).to_pylist():
                    counter[entry["values"]] += entry["counts"]
            for axis in student.axes:
                sums[axis] += pc.sum(scores[axis].cast(pa.float64())).as_py() or 0.0
            with atomic_write(staging / shard.name) as temporary:
                copy_to_local(stored.scores, temporary)
        if outputs.scores.exists():
            shutil.rmtree(outputs.scores)
        staging.replace(outputs.scores)
    except OSError as error:
        raise StorageError(f"cannot write {outputs.scores}: {error.strerror or error}") from error
    write_table(pa.concat_tables(rejects), outputs.rejects, REJECTS)
    scored = counts["status"][OK]
    return BulkSummary(
        champion=student.artifact.digest,
        precision=student.precision,
        posts=counts["status"].total(),
        by_status=dict(sorted(counts["status"].items())),
        by_modalities=dict(sorted(counts["modalities"].items())),
        by_band=dict(sorted(counts["band"].items())),
        means={axis: total / scored for axis, total in sums.items()} if scored else {},
    )
