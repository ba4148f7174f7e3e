"""Score shards on a Ray cluster: connect or start Ray, and decide the number of workers.

Workers return scores to this process, which stores them, so an interrupted run can be resumed.
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

# More threads in one process wait for each other; larger nodes get several workers.
_MAX_THREADS = 8
_SPARE_BYTES = 100 * 2**20


@dataclass(frozen=True, slots=True)
class RayClusterOptions:
    """The Ray cluster to use, and how much of it.

    Attributes:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for `RAY_ADDRESS`, else for a
            local Ray that ends with the run.
        workers: Number of workers; None for as many as fit.
        threads: Threads per worker; None for all cores of a node, at most 8.
        device: `cpu`, or `cuda` for one GPU per worker, which runs fp32. All workers use the same
            device, so that a score does not depend on its worker.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"


class RayBackend:
    """Scores shards on a Ray cluster."""

    def __init__(
        self,
        artifact: Artifact,
        cluster: RayClusterOptions,
        *,
        batch_size: int,
        precision: Precision = "int8",
    ) -> None:
        """Use a student; Ray is started or connected by `run`, if there are shards to score.

        Args:
            artifact: The student.
            cluster: The cluster to use.
            batch_size: Posts per batch; a worker has a few batches in memory at a time.
            precision: Precision of the graphs on a CPU; other devices run fp32.
        """
        self.artifact = artifact
        self.precision: Precision = precision if cluster.device == "cpu" else "fp32"
        self._cluster = cluster
        self._batch_size = batch_size

    @property
    def device(self) -> str:
        """Device that the graphs run on."""
        return self._cluster.device

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return tuple(axis.name for axis in self.artifact.manifest.axes)

    def run(
        self, shards: Sequence[AnyPath], on_progress: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards.

        Args:
            on_progress: Called as posts are scored; negative if a worker was lost.

        Yields:
            Each shard once with its scores, in order of completion.

        Raises:
            ArtifactError: If the student is damaged.
            ClusterError: If the cluster is unreachable, has too few cores or no GPU, keeps
                losing workers, or has workers with other package versions.
            DeviceError: If a worker's GPU cannot be used.
            MissingExtraError: If ray is not installed.
            SchemaError: If a shard is damaged or has the wrong columns.
            StorageError: If an object store cannot be read.
        """
        if not shards:
            return
        student = PackedStudent.of(self.artifact, self.precision)
        largest = max(_size(shard) for shard in shards)
        with _connected(self._cluster, student.size_bytes, largest) as ray:
            threads = _choose_threads(_list_nodes(ray, self._cluster), self._cluster)
            logger.info("workers of %d cores each, on %s", threads, self.device)
            scheduler = ShardScheduler(
                ray, student, threads, self._batch_size, self._cluster.device
            )
            try:
                yield from scheduler.score(
                    shards, lambda: _count_workers(ray, self._cluster, threads), on_progress
                )
            finally:
                scheduler.close()


def _list_nodes(ray: Any, cluster: RayClusterOptions) -> list[tuple[int, int]]:  # noqa: ANN401 - ray is an extra
    """Return cores and workers at most of each node that is alive and has a core."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in alive]
    # GPUs are not shared.
    return [(cores, gpus if cluster.device == "cuda" else cores) for cores, gpus in nodes if cores]


def _choose_threads(nodes: list[tuple[int, int]], cluster: RayClusterOptions) -> int:
    """Return the threads of each worker."""
    if not nodes:
        raise ClusterError("no node of the Ray cluster has a CPU core")
    usable = [(cores, limit) for cores, limit in nodes if limit]
    if not usable:
        raise ClusterError(
            "no node of the Ray cluster has a GPU",
            do="start nodes with `ray start --num-gpus N`, or omit --device",
        )
    cores, limits = zip(*usable, strict=True)
    wanted = cluster.workers or (sum(limits) if cluster.device == "cuda" else 1)
    threads = cluster.threads or min(_MAX_THREADS, max(1, sum(cores) // wanted), *cores)
    if not _count_room(usable, threads):
        raise ClusterError(
            "no node of the Ray cluster has enough cores for a worker",
            seen=threads,
            allowed=max(cores),
        )
    return threads


def _count_room(nodes: list[tuple[int, int]], threads: int) -> int:
    return sum(min(cores // threads, limit) for cores, limit in nodes)


def _count_workers(ray: Any, cluster: RayClusterOptions, threads: int) -> int:  # noqa: ANN401 - ray is an extra
    """Return how many workers fit now; 1 if there is room for none, because nodes may join."""
    room = _count_room(_list_nodes(ray, cluster), threads)
    return max(1, min(cluster.workers or room, room))


@contextmanager
def _connected(cluster: RayClusterOptions, student_bytes: int, shard_bytes: int) -> Iterator[Any]:
    """Yield the module `ray`, connected; a Ray that was started here ends with the block."""
    # Ray reports usage statistics by default.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Local workers get the same priority as this process.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs the package ray, which is not installed",
            do="run `pip install 'postbias[cluster]'`",
        ) from error
    if ray.is_initialized():  # by the calling program
        yield ray
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    try:
        if address is not None:
            ray.init(address, **quiet)
        else:
            requested = (cluster.threads or 1) * (cluster.workers or 1)
            cores = max(requested, cluster.threads or os.cpu_count() or 1)
            memory = _SPARE_BYTES + 2 * student_bytes + ((cluster.workers or 1) + 1) * shard_bytes
            ray.init("local", num_cpus=cores, object_store_memory=memory, include_dashboard=False,
                     **quiet)  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        why = " ".join(str(error).split())[:300]
        raise ClusterError(
            f"cannot connect to Ray: {why}",
            seen=address or "local",
            do="check --address; `ray status --address ADDRESS` shows whether a cluster is running",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _size(shard: AnyPath) -> int:
    return 0 if isinstance(shard, ObjectPath) else shard.stat().st_size
