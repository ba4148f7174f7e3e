"""The worker of a Ray cluster: loads the student and scores shards.

Student and shards arrive as bytes, or as object-store URLs that the worker reads itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from postbias.posts.remote_files import InMemoryFile, ObjectPath
from postbias.scoring.artifact import Artifact
from postbias.scoring.execution_providers import Device
from postbias.scoring.manifest import MANIFEST, Manifest, Precision
from postbias.scoring.score_store import deciding_versions
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import ShardScores, score_shard


@dataclass(frozen=True, slots=True)
class PackedStudent:
    """The files of an artifact that scoring needs, packed to be sent to workers.

    Attributes:
        files: Content by relative path: the manifest, the graphs of one precision, the tokenizer.
        digest: Digest of the whole artifact.
        precision: Precision of the graphs.
    """

    files: Mapping[str, bytes]
    digest: str
    precision: Precision

    @classmethod
    def of(cls, artifact: Artifact, precision: Precision) -> PackedStudent:
        """Pack an artifact.

        Args:
            precision: Precision of the graphs to pack.

        Returns:
            The packed files.

        Raises:
            ArtifactError: If a file is damaged.
        """
        names = artifact.manifest.runtime_files(precision)
        files = {name: artifact.read(name) for name in names}
        files[MANIFEST] = (artifact.folder / MANIFEST).read_bytes()
        return cls(files, artifact.digest, precision)

    @property
    def size_bytes(self) -> int:
        """Total size of the files."""
        return sum(map(len, self.files.values()))

    @property
    def manifest(self) -> Manifest:
        """Manifest of the student."""
        return Manifest.from_json(self.files[MANIFEST].decode("utf-8"))

    def open(self, threads: int, device: Device) -> Scorer:
        """Load the student into memory and check its files against the manifest.

        Args:
            threads: Threads of the scorer.
            device: Device of its graphs.

        Returns:
            The scorer, which needs no files.

        Raises:
            ArtifactError: If a file differs from the manifest.
            DeviceError: If the device is not available.
        """
        manifest = self.files[MANIFEST]
        with TemporaryDirectory(prefix="postbias-") as name:
            for file, data in self.files.items():
                path = Path(name) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            artifact = Artifact(
                Path(name),
                self.manifest,
                hashlib.sha256(manifest).hexdigest(),
            )
            return Scorer(artifact, precision=self.precision, threads=threads, device=device)


class ShardWorker:
    """Scores one shard at a time; `done` may be called from another thread meanwhile."""

    def __init__(self) -> None:
        """Load nothing yet: errors of a Ray actor's constructor lose their cause."""
        self._scorer: Scorer | None = None
        self._champion = ""
        self._done = 0

    def start(self, student: PackedStudent, threads: int, device: Device) -> dict[str, str]:
        """Load the student.

        Args:
            student: The packed student.
            threads: Threads of the scorer.
            device: Device of its graphs.

        Returns:
            Versions of the packages that affect scores; they must match on all workers.

        Raises:
            ArtifactError: If a file is damaged.
            DeviceError: If the device is not available.
            MissingExtraError: If the student needs the extra `ocr`, which is not installed.
        """
        self._scorer = student.open(threads, device)
        self._champion = student.digest
        return deciding_versions(student.manifest)

    def score(self, shard: InMemoryFile | ObjectPath, batch_size: int) -> ShardScores:
        """Score a shard.

        Args:
            shard: Its bytes, or its path in an object store.
            batch_size: Posts per batch; a few batches are in memory at a time.

        Returns:
            Scores and rejects.

        Raises:
            SchemaError: If the shard is damaged or has the wrong columns.
            StorageError: If the object store cannot be read.
        """
        assert self._scorer is not None, "not started"
        self._done = 0
        return score_shard(
            shard, self._scorer, self._champion, batch_size=batch_size, on_progress=self._count
        )

    def done(self) -> int:
        """Return how many posts of the current shard are scored."""
        return self._done

    def _count(self, n: int) -> None:
        self._done += n
