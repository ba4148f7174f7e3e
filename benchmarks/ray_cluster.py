"""Score captions on a simulated cluster of four nodes that are lost and added meanwhile.

All nodes run on this machine, each with one core and one worker. The outputs must be those of the
local engine byte for byte. Workers compete for the cores of this machine, so a worker's throughput
is counted in posts per second of CPU time after its start; what lost workers computed in vain
counts too. Prints one JSON object; `cluster.worker_ratio` is a worker's throughput as a share of
that of the local engine, which also writes the outputs.

    python benchmarks/ray_cluster.py [--posts 1000000] [--student STUDENT | FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from bulk_scoring import real_captions
from random_students import STUDENTS, build_student

from postbias.posts.schema import POSTS
from postbias.posts.shards import SHARD_POSTS, list_shards, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards, score_with_backend
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.ray_engine import RayBackend, RayClusterOptions
from postbias.scoring.scorer import Scorer

NODES = 4
#: Share of the shards that are scored when nodes are lost (negative) or added.
EVENTS = ((0.10, -1), (0.20, 1), (0.30, -2), (0.45, 3), (0.60, -1), (0.75, 2))
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def main() -> None:
    """Write posts, score them with both engines and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--student", default="tiny", help=f"{', '.join(STUDENTS)}, or a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.student in STUDENTS:
            artifact = build_student(options.student, folder / "student")
        else:
            artifact = Artifact.open(Path(options.student))
        write_captions(folder / "posts", options.posts)
        found = measure(folder, artifact)
    print(json.dumps({"cluster": found | {"posts": options.posts}}, indent=2, sort_keys=True))


def write_captions(folder: Path, n_posts: int) -> None:
    """Write shards of posts without images; no two captions are the same."""
    captions = real_captions(4000)
    for number, start in enumerate(range(0, n_posts, SHARD_POSTS)):
        rows = range(start, min(start + SHARD_POSTS, n_posts))
        n = len(rows)
        columns: dict[str, object] = dict.fromkeys(POSTS.names, [None] * n) | {
            "post_id": [str(row) for row in rows], "author": [str(row % 9973) for row in rows],
            "caption": [f"{captions[row % len(captions)]} {row}" for row in rows],
            "images": [[]] * n, "platform": ["bench"] * n, "source": ["bench"] * n,
        }  # fmt: skip
        table = pa.table([pa.array(columns[f.name], f.type) for f in POSTS], schema=POSTS)
        write_table(table, folder / f"{number:05d}.parquet", POSTS)


def measure(folder: Path, artifact: Artifact) -> dict[str, Any]:
    """Score with the local engine, then on the cluster.

    Args:
        folder: A folder with `posts/`.
        artifact: The student.

    Returns:
        Seconds and CPU seconds of both, and what happened to the nodes.
    """
    shards = list_shards(folder / "posts")
    started, cpu = time.perf_counter(), time.process_time()
    with Scorer(artifact, threads=os.cpu_count() or 1) as scorer:
        score_shards(shards, scorer, _outputs(folder / "local"), batch_size=BATCH_SIZE)
    local_s, local_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    started, cpu = time.perf_counter(), time.process_time()
    nodes = run_on_cluster(artifact, shards, _outputs(folder / "ray"))
    ray_s, driver_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    assert _digest(folder / "local") == _digest(folder / "ray"), "the engines' scores differ"
    worker_cpu_s, start_cpu_s = nodes.pop("worker_cpu_s"), nodes.pop("start_cpu_s")
    return nodes | {
        "worker_ratio": round(local_cpu_s / (worker_cpu_s - start_cpu_s), 3),
        "start_cpu_s": round(start_cpu_s, 1),
        "local_s": round(local_s, 1),
        "local_cpu_s": round(local_cpu_s, 1),
        "ray_s": round(ray_s, 1),
        "worker_cpu_s": round(worker_cpu_s, 1),
        "driver_cpu_s": round(driver_cpu_s, 1),
    }


def run_on_cluster(artifact: Artifact, shards: list[Path], outputs: ScoreOutputs) -> dict[str, Any]:
    """Score on a cluster of `NODES` nodes, of which some are lost and others added.

    Returns:
        `worker_cpu_s`, of which `start_cpu_s` before the first shard, `workers` that were started,
        and nodes `lost` and `added`.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    import ray
    from ray.cluster_utils import Cluster

    head = _NODE | {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(NODES):
        cluster.add_node(**_NODE)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    backend = RayBackend(artifact, RayClusterOptions(), batch_size=BATCH_SIZE)
    meter = WorkerMeter()
    try:
        # Ray adds nodes in the main thread only.
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(score_with_backend, shards, backend, outputs)
            changes = change_nodes(cluster, outputs, len(shards), meter, run)
            run.result()
    finally:
        ray.shutdown()
        cluster.shutdown()
    return changes | {
        "worker_cpu_s": sum(meter.cpu_s.values()),
        "start_cpu_s": sum(meter.start_s.values()),
        "workers": len(meter.cpu_s),
    }


def change_nodes(
    cluster: Any,  # noqa: ANN401 - an extra
    outputs: ScoreOutputs,
    n_shards: int,
    meter: WorkerMeter,
    run: Future[Any],
) -> dict[str, int]:
    """Lose and add nodes at the moments of `EVENTS`, until the run is over; return how many."""
    changes = {"lost": 0, "added": 0}
    waiting = list(EVENTS)
    while not run.done():
        time.sleep(0.3)
        meter.read()
        if not waiting:
            continue
        n_done = len(list(outputs.store.rglob("*.scores.parquet")))
        if n_done < waiting[0][0] * n_shards:
            continue
        _, count = waiting.pop(0)
        for _ in range(abs(count)):
            if count < 0:
                lost = min(cluster.worker_nodes, key=lambda node: node.unique_id)
                cluster.remove_node(lost, allow_graceful=False)
            else:
                try:
                    cluster.add_node(wait=False, **_NODE)
                except Exception as error:  # Ray's own: it waits 30 s, too short on a busy machine
                    print(f"a node did not start: {error}", file=sys.stderr)
                    continue
            changes["added" if count > 0 else "lost"] += 1
    return changes


class WorkerMeter:
    """Measures the CPU time of Ray's workers, from start to death.

    Attributes:
        cpu_s: Seconds by process id.
        start_s: Seconds before the first shard, by process id.
    """

    def __init__(self) -> None:
        """Start with no worker."""
        self.cpu_s: dict[int, float] = {}
        self.start_s: dict[int, float] = {}

    def read(self) -> None:
        """Read the CPU time of the workers that are alive; to be called a few times a second."""
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                # Ray names a worker after its current call.
                call = "".join(process.cmdline()[:1])
                if call.startswith("ray::ShardWorker"):
                    times = process.cpu_times()
                    self.cpu_s[process.pid] = times.user + times.system
                    if ".score" in call:
                        self.start_s.setdefault(process.pid, self.cpu_s[process.pid])


def _outputs(root: Path) -> ScoreOutputs:
    return ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")


def _digest(root: Path) -> str:
    files = [*sorted((root / "scores").iterdir()), root / "rejects.parquet"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


if __name__ == "__main__":
    main()
