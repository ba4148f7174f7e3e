"""Scores shards on a Ray cluster: one actor per worker, each holding the student.

Finds the cluster, or starts a Ray on this machine, decides how many workers there are, and lets a
crew of them work (`postbias.scoring.ray_scheduler`). Scores come back here, where the caller
keeps them; so a run that was killed goes on. The only module that imports ray, which is an extra.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from postbias.errors import ClusterError, MissingExtraError
from postbias.posts.remote_files import AnyPath, ObjectPath
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ProgressCallback
from postbias.scoring.manifest import Precision
from postbias.scoring.ray_scheduler import ShardScheduler
from postbias.scoring.ray_worker import PackedStudent
from postbias.scoring.shard_scores import ShardScores

logger = logging.getLogger(__name__)

# More threads than this in one process wait for each other; a larger node gets several workers.
_MAX_THREADS = 8
_SPARE_BYTES = 100 * 2**20


@dataclass(frozen=True, slots=True)
class RayClusterOptions:
    """Which Ray cluster to use, and how much of it.

    Attributes:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for `RAY_ADDRESS`, else for a Ray of
            one's own on this machine, which ends with the run.
        workers: Processes that score; None for as many as the cluster has room for.
        threads: Cores of each of them; None for all of a node, at most 8.
        device: `cpu`, or `cuda` for workers with a GPU each, which run fp32. All workers are alike,
            so that a score does not depend on which of them computed it.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"


class RayBackend:
    """A student on a Ray cluster."""

    def __init__(
        self,
        artifact: Artifact,
        cluster: RayClusterOptions,
        *,
        batch_size: int,
        precision: Precision = "int8",
    ) -> None:
        """Take a student; Ray is not touched before there is something to score.

        Args:
            artifact: The student.
            cluster: Where it runs.
            batch_size: Posts in a worker's memory at a time, times a few.
            precision: `int8` or `fp32`; another device than a CPU runs fp32.
        """
        self.artifact = artifact
        self.precision: Precision = precision if cluster.device == "cpu" else "fp32"
        self._cluster = cluster
        self._batch_size = batch_size

    @property
    def device(self) -> str:
        """What the workers' graphs run on."""
        return self._cluster.device

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the student's axes, the main one first."""
        return tuple(axis.name for axis in self.artifact.manifest.axes)

    def run(
        self, shards: Sequence[AnyPath], tell: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            shards: Post shards.
            tell: Called as posts are done, and with a negative number where work was lost.

        Yields:
            Each shard once, with its scores, as they come in.

        Raises:
            ArtifactError: If the student is damaged.
            ClusterError: If the cluster cannot be reached, has no room, or loses worker by worker.
            DeviceError: If a worker's GPU cannot be used.
            MissingExtraError: If ray is not installed.
            SchemaError: If a shard is damaged or has other columns.
            StorageError: If an object store cannot be read.
        """
        if not shards:
            return
        student = PackedStudent.of(self.artifact, self.precision)
        largest = max(_size(shard) for shard in shards)
        with _connected(self._cluster, student.size_bytes, largest) as ray:
            workers, threads = _plan(ray, self._cluster, len(shards))
            logger.info("%d workers of %d cores each, on %s", workers, threads, self.device)
            crew = ShardScheduler(ray, student, threads, self._batch_size, self._cluster.device)
            try:
                yield from crew.work(shards, workers, tell)
            finally:
                crew.dismiss()


def _plan(ray: Any, cluster: RayClusterOptions, n_shards: int) -> tuple[int, int]:  # noqa: ANN401 - ray is an extra
    """Decide how many workers there are and how many cores each has."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in alive]
    nodes = [(cores, gpus) for cores, gpus in nodes if cores]
    if not nodes:
        raise ClusterError("no node of the Ray cluster has a core to give")
    if cluster.device == "cuda" and not (nodes := [node for node in nodes if node[1]]):
        raise ClusterError(
            "no node of the Ray cluster has a GPU to give",
            do="start nodes with `ray start --num-gpus N`, or leave --device out",
        )
    # Workers that a node may have: GPUs are not shared.
    most = [gpus if cluster.device == "cuda" else cores for cores, gpus in nodes]
    cores = [n for n, _ in nodes]
    wanted = cluster.workers or (sum(most) if cluster.device == "cuda" else 1)
    share = max(1, sum(cores) // wanted)
    threads = cluster.threads or min(_MAX_THREADS, share, *cores)
    room = sum(min(n // threads, limit) for n, limit in zip(cores, most, strict=True))
    if not room:
        raise ClusterError(
            "no node of the Ray cluster has that many cores", seen=threads, allowed=max(cores)
        )
    return min(cluster.workers or room, n_shards), threads


@contextmanager
def _connected(cluster: RayClusterOptions, student_bytes: int, shard_bytes: int) -> Iterator[Any]:
    """Give the module `ray`, connected to the cluster; a Ray of our own ends with the block."""
    # Ray reports its use to its makers unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Workers of a Ray that is started here are no less urgent than the local engine would be.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "the Ray engine needs the package ray, which is not installed",
            do="pip install 'postbias[cluster]'",
        ) from error
    if ray.is_initialized():  # by the program around us
        yield ray
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    try:
        if address is not None:
            ray.init(address, **quiet)
        else:
            asked = (cluster.threads or 1) * (cluster.workers or 1)
            cores = max(asked, cluster.threads or os.cpu_count() or 1)
            memory = _SPARE_BYTES + 2 * student_bytes + ((cluster.workers or 1) + 1) * shard_bytes
            ray.init("local", num_cpus=cores, object_store_memory=memory, include_dashboard=False,
                     **quiet)  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        why = " ".join(str(error).split())[:300]
        raise ClusterError(
            f"cannot connect to Ray: {why}",
            seen=address or "a local one",
            do="check --address; `ray status --address ADDRESS` says whether a cluster is there",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _size(shard: AnyPath) -> int:
    return 0 if isinstance(shard, ObjectPath) else shard.stat().st_size
