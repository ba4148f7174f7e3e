"""Store finished score shards, so that a bulk run never computes them again.

Keys are digests of the post shard and of everything that affects its scores: a changed post,
student or decoder never gets a stale result.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CountsError, SchemaError
from postbias.posts.image_text import ocr_engine_name
from postbias.posts.remote_files import AnyPath, content_digest
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.execution_providers import installed_version
from postbias.scoring.manifest import Manifest, Precision
from postbias.scoring.scorer import OK

# Packages whose decoders and kernels affect a score.
_DECIDING = ("numpy", "onnxruntime", "pillow", "tokenizers")
_FORMAT = 2

# Hashing releases the lock of the interpreter; more threads than these wait for the disk.
_HASHING_THREADS = min(4, os.cpu_count() or 1)


class ScoringStudent(Protocol):
    """A student as it runs: everything that identifies its scores, on any execution backend."""

    @property
    def artifact(self) -> Artifact:
        """Files of the student."""

    @property
    def precision(self) -> Precision:
        """Precision of the graphs that run."""

    @property
    def device(self) -> str:
        """Device that the graphs run on: `cpu`, `cuda` or `coreml`."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""


def deciding_versions(manifest: Manifest) -> dict[str, str]:
    """Return the versions of the packages that affect a student's scores, by package.

    Args:
        manifest: The student.

    Returns:
        Versions by package.

    Raises:
        MissingExtraError: If the student needs the extra `ocr`, which is not installed.
    """
    packages = {package: installed_version(package) for package in _DECIDING}
    if manifest.language_intervals:  # else no language is identified
        packages["py3langid"] = installed_version("py3langid")
    if manifest.ocr is not None:
        packages["ocr"] = ocr_engine_name()
    return packages


def store_key(student: ScoringStudent) -> str:
    """Return the digest of everything besides the posts that affects scores.

    Returns:
        32 hexadecimal digits over the artifact, the precision, the device and package versions.
    """
    parts = [
        _FORMAT,
        student.artifact.digest,
        student.precision,
        student.device,
        deciding_versions(student.artifact.manifest),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class StoredShard:
    """The paths of one post shard's results in the store, whether they exist yet or not.

    Attributes:
        shard: The post shard.
        digest: Digest of its content.
        scores: Path of its scores.
        rejects: Path of its rejects.
        axes: The student's axes.
    """

    shard: AnyPath
    digest: str
    scores: AnyPath
    rejects: AnyPath
    axes: tuple[str, ...]

    @classmethod
    def of(cls, shard: AnyPath, folder: AnyPath, axes: tuple[str, ...]) -> StoredShard:
        """Derive the paths from the content of the shard.

        Args:
            folder: The folder of the student's finished shards, named by `store_key`.
        """
        digest = content_digest(shard)
        rejects = folder / f"{digest}.rejects.parquet"
        return cls(shard, digest, folder / f"{digest}.scores.parquet", rejects, axes)

    def is_done(self) -> bool:
        """Return whether `write` has completed."""
        return self.scores.is_file() and self.rejects.is_file()

    def write(self, scores: pa.Table, rejects: pa.Table) -> None:
        """Write the results; scores come last and mark the shard as done.

        Args:
            scores: One row per post.
            rejects: One row per post without a score.

        Raises:
            SchemaError: If the tables do not have the schemas of scores and rejects.
            StorageError: If they cannot be written.
        """
        write_table(rejects, self.rejects, REJECTS)
        write_table(scores, self.scores, scores_schema(self.axes))

    def read(self) -> tuple[pa.Table, pa.Table]:
        """Read the results and check that they have one row per post, in order.

        Returns:
            Scores and rejects.

        Raises:
            SchemaError: If a file is damaged.
            CountsError: If a post is missing, duplicated or out of order.
        """
        scores = _read_stored(self.scores, scores_schema(self.axes))
        rejects = _read_stored(self.rejects, REJECTS)
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


def locate_stored_shards(
    shards: Sequence[AnyPath], folder: AnyPath, axes: tuple[str, ...]
) -> dict[AnyPath, StoredShard]:
    """Derive the paths of all shards; their contents are hashed on a few threads.

    Args:
        shards: Post shards.
        folder: The folder of the student's finished shards.
        axes: The student's axes.

    Returns:
        The paths by shard, in order.

    Raises:
        StorageError: If an object store cannot be reached.
    """
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        stored = pool.map(lambda shard: StoredShard.of(shard, folder, axes), shards)
        return dict(zip(shards, stored, strict=True))


def _read_stored(path: AnyPath, schema: pa.Schema) -> pa.Table:
    try:
        return read_table(path, schema)
    except SchemaError as error:
        raise SchemaError(
            f"{path} in the store of finished scores is damaged",
            do="delete this file and run again: its posts are scored again",
        ) from error
