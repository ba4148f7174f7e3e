"""The store of finished score shards: what a bulk run computed, it never computes again.

Results are found by content: the digest of the post shard, and the digest of all that decides over
the scores of given posts. So a changed post, student or decoder never meets a stale result.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CountsError
from postbias.posts.remote_files import AnyPath, content_digest
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Precision
from postbias.scoring.scorer import OK

# What decides over a score besides post and student: decoders and kernels change with versions.
_DECIDING = ("numpy", "pillow", "tokenizers")
_FORMAT = 2


class Student(Protocol):
    """A student as it is run: what names its scores, whoever computes them."""

    @property
    def artifact(self) -> Artifact:
        """Its files."""

    @property
    def precision(self) -> Precision:
        """Which of its graphs run."""

    @property
    def device(self) -> str:
        """What they run on: `cpu`, `cuda` or `coreml`."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of its axes, the main one first."""


def versions() -> dict[str, str]:
    """Give the versions of the packages that decide over a score.

    Returns:
        Version by package.
    """
    found = {package: version(package) for package in _DECIDING}
    return found | {"onnxruntime": onnxruntime.__version__}  # the package's name differs with CUDA


def store_key(student: Student) -> str:
    """Name all that decides over the scores of given posts.

    Args:
        student: The student.

    Returns:
        32 hexadecimal digits: of the artifact, the precision, the device that ran, and the versions
        of what computes.
    """
    parts = [_FORMAT, student.artifact.digest, student.precision, student.device, versions()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class StoredShard:
    """The place of one post shard's results in the store, whether they are there yet or not.

    Attributes:
        shard: The post shard.
        scores: Where its scores are kept.
        rejects: Where its rejects are kept.
        axes: The student's axes.
    """

    shard: AnyPath
    scores: AnyPath
    rejects: AnyPath
    axes: tuple[str, ...]

    @classmethod
    def of(cls, shard: AnyPath, student: Student, store: AnyPath) -> StoredShard:
        """Find the place by content: of the shard, and of all that decides over its scores.

        Args:
            shard: The post shard.
            student: The student.
            store: The folder of finished shards.

        Returns:
            The place.
        """
        digest = content_digest(shard)
        folder = store / store_key(student)
        rejects = folder / f"{digest}.rejects.parquet"
        return cls(shard, folder / f"{digest}.scores.parquet", rejects, student.axes)

    def is_done(self) -> bool:
        """Say whether the results are there.

        Returns:
            True once `write` has come to its end.
        """
        return self.scores.is_file() and self.rejects.is_file()

    def write(self, scores: pa.Table, rejects: pa.Table) -> None:
        """Keep the results; the scores, which come last, are the mark that all is there.

        Args:
            scores: One row per post.
            rejects: One row per post without a score.

        Raises:
            StorageError: If they cannot be written.
        """
        write_table(rejects, self.rejects, REJECTS)
        write_table(scores, self.scores, scores_schema(self.axes))

    def read(self) -> tuple[pa.Table, pa.Table]:
        """Read the results back, and check that they are one row for every post, in order.

        Returns:
            Scores and rejects.

        Raises:
            CountsError: If a post is missing, twice or in another place.
        """
        scores = read_table(self.scores, scores_schema(self.axes))
        rejects = read_table(self.rejects, REJECTS)
        ids = read_table(self.shard, columns=["post_id"])["post_id"]
        unscored = scores.filter(pc.not_equal(scores["status"], OK))["post_id"]
        if not (scores["post_id"].equals(ids) and rejects["post_id"].equals(unscored)):
            raise CountsError(
                f"the scores in the store are not those of the posts in {self.shard}",
                seen=(len(scores), len(rejects)),
                allowed=len(ids),
                do=f"remove {self.scores} and run again",
            )
        return scores, rejects
