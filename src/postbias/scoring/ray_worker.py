"""One worker of a cluster: holds the student and scores the shards that it is handed.

A plain class that knows no cluster, and no disk but its own temporary folder: student and shards
come to it as bytes, or as URLs of an object store that it reads by itself; results go back as
tables. See `postbias.scoring.ray_engine` for who hands out the shards.
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
from postbias.scoring.score_store import versions
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import ShardScores, score_shard


@dataclass(frozen=True, slots=True)
class PackedStudent:
    """What scoring needs of an artifact, to be sent.

    Attributes:
        files: Content by relative path: the manifest, the graphs of one precision, the tokenizer.
        digest: Of the whole artifact.
        precision: Which graphs these are.
    """

    files: Mapping[str, bytes]
    digest: str
    precision: Precision

    @classmethod
    def of(cls, artifact: Artifact, precision: Precision) -> PackedStudent:
        """Pack an artifact.

        Args:
            artifact: The student.
            precision: `int8` or `fp32`.

        Returns:
            The package.

        Raises:
            ArtifactError: If a file is damaged.
        """
        names = artifact.manifest.runtime_files(precision)
        files = {name: artifact.read(name) for name in names}
        files[MANIFEST] = (artifact.folder / MANIFEST).read_bytes()
        return cls(files, artifact.digest, precision)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def open(self, threads: int, device: Device) -> Scorer:
        """Load the student; whatever was damaged on the way is found out.

        Args:
            threads: Cores to use.
            device: Where its graphs run.

        Returns:
            The scorer; it holds all it needs in memory.

        Raises:
            ArtifactError: If a file is not what the manifest records.
            DeviceError: If the device is not there.
        """
        manifest = self.files[MANIFEST]
        with TemporaryDirectory(prefix="postbias-") as name:
            for file, data in self.files.items():
                path = Path(name) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            artifact = Artifact(
                Path(name),
                Manifest.from_json(manifest.decode("utf-8")),
                hashlib.sha256(manifest).hexdigest(),
            )
            return Scorer(artifact, precision=self.precision, threads=threads, device=device)


class ShardWorker:
    """Scores one shard at a time; `done` may be asked meanwhile."""

    def __init__(self) -> None:
        """Hold nothing yet: what can fail is left to `start`, whose errors say what it was."""
        self._scorer: Scorer | None = None
        self._champion = ""
        self._done = 0

    def start(self, student: PackedStudent, threads: int, device: Device) -> dict[str, str]:
        """Load the student.

        Args:
            student: The package.
            threads: Cores to use.
            device: Where its graphs run.

        Returns:
            Versions of the packages that decide over a score: they must be those of the others.

        Raises:
            ArtifactError: If the package is damaged.
            DeviceError: If the device is not there.
        """
        self._scorer = student.open(threads, device)
        self._champion = student.digest
        return versions()

    def score(self, shard: InMemoryFile | ObjectPath, batch_size: int) -> ShardScores:
        """Score a shard.

        Args:
            shard: Its bytes, or where in an object store they are.
            batch_size: Posts in memory at a time, times a few.

        Returns:
            Scores and rejects.

        Raises:
            SchemaError: If the shard is damaged or has other columns.
            StorageError: If the object store cannot be read.
        """
        assert self._scorer is not None, "not started"
        self._done = 0
        return score_shard(
            shard, self._scorer, self._champion, batch_size=batch_size, tell=self._count
        )

    def done(self) -> int:
        """Say how many posts of the shard at hand are done.

        Returns:
            A number between none and all of them.
        """
        return self._done

    def _count(self, n: int) -> None:
        self._done += n
