"""Scoring on Ray: two nodes on this machine, of which workers, one node and the driver are killed.

The output must equal that of the local engine byte for byte, whatever was killed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil
import pytest
from tests.conftest import clean_environment
from tests.killed_scoring import kill_after_shards
from tests.pipeline.servers import s3_bucket
from tests.post_shards import random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import ClusterError, SchemaError
from postbias.posts.remote_files import parse_path
from postbias.posts.shards import list_shards
from postbias.scoring import ray_scheduler
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import BulkSummary, ScoreOutputs, score_shards, score_with_backend
from postbias.scoring.file_scoring import ScoringJob, score_files
from postbias.scoring.ray_engine import RayBackend, RayClusterOptions
from postbias.scoring.scorer import Scorer

N_POSTS = 12 * 120

_DRIVER = """
import sys
from pathlib import Path
from postbias.posts.shards import list_shards
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_with_backend
from postbias.scoring.ray_engine import RayClusterOptions, RayBackend
posts, student, root = map(Path, sys.argv[1:4])
to = ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")
engine = RayBackend(Artifact.open(student), RayClusterOptions(sys.argv[4]), batch_size=16)
score_with_backend(list_shards(posts), engine, to)
"""

_GPU_DRIVER = """
import sys
from pathlib import Path
import ray
from postbias.posts.shards import list_shards
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_with_backend
from postbias.scoring.ray_engine import RayClusterOptions, RayBackend
posts, student, root = map(Path, sys.argv[1:4])
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, object_store_memory=80 * 2**20)
to = ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")
engine = RayBackend(Artifact.open(student), RayClusterOptions(device="cuda"), batch_size=16)
score_with_backend(list_shards(posts), engine, to)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for number in range(12):
        posts = [(caption, images * 4) for caption, images in random_posts(rng, 120)]
        write_shard(folder / "posts" / f"{number:05d}.parquet", posts)
    write_tiny_artifact(folder / "student")
    with Scorer.open(folder / "student") as scorer:
        score_shards(list_shards(folder / "posts"), scorer, to(folder / "whole"), batch_size=16)
    return folder


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("cluster") as url:
        yield url


@pytest.fixture(scope="module")
def nodes(bucket: str) -> Iterator[Any]:  # noqa: ARG001 - workers inherit its environment
    """Run a head node without workers and two nodes of one core, and connect to them."""
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # otherwise other processes take precedence
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
        from ray.cluster_utils import Cluster as RayCluster

        memory = {"object_store_memory": 80 * 2**20}
        head = memory | {"num_cpus": 0, "include_dashboard": False}
        cluster = RayCluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1, **memory)
        ray.init(cluster.address, log_to_driver=False, logging_level="error")
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def to(root: Path) -> ScoreOutputs:
    return ScoreOutputs(root / "scores", root / "rejects.parquet", root / "store")


def run_on_ray(corpus: Path, root: Path, **cluster: Any) -> BulkSummary:
    engine = RayBackend(
        Artifact.open(corpus / "student"), RayClusterOptions(**cluster), batch_size=16
    )
    return score_with_backend(list_shards(corpus / "posts"), engine, to(root))


def outputs(root: Path) -> dict[str, str]:
    files = [*sorted((root / "scores").iterdir()), root / "rejects.parquet"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def workers(at: str = "") -> list[psutil.Process]:
    """Find this test run's Ray workers, which are named after their current call."""
    found = []
    for process in psutil.Process().children(recursive=True):  # not those of other Ray clusters
        with suppress(psutil.Error):
            name = "".join(process.cmdline()[:1])  # a dying process has none
            if name.startswith(f"ray::ShardWorker{at}"):
                found.append(process)
    return found


@pytest.mark.usefixtures("nodes")
def test_two_nodes_give_the_same_bytes_as_one_process(corpus: Path, tmp_path: Path) -> None:
    summary = run_on_ray(corpus, tmp_path)
    assert (summary.posts, summary.computed) == (N_POSTS, N_POSTS)
    assert outputs(tmp_path) == outputs(corpus / "whole")
    assert run_on_ray(corpus, tmp_path).computed == 0


@pytest.mark.usefixtures("nodes")
def test_workers_read_from_a_bucket_and_write_the_same_bytes_to_it(
    bucket: str, corpus: Path, tmp_path: Path
) -> None:
    for shard in list_shards(corpus / "posts")[:3]:
        parse_path(f"{bucket}/posts/{shard.name}").upload(shard)  # type: ignore[union-attr]
    engine = RayBackend(Artifact.open(corpus / "student"), RayClusterOptions(), batch_size=16)
    out = parse_path(f"{bucket}/out")
    score_files(ScoringJob(parse_path(f"{bucket}/posts"), out), engine)
    whole = outputs(corpus / "whole")
    for number in range(3):
        file = out / f"{number:05d}.parquet"
        file.download(tmp_path / file.name)  # type: ignore[union-attr]
        seen = hashlib.sha256((tmp_path / file.name).read_bytes()).hexdigest()
        assert seen == whole[file.name]


@pytest.mark.usefixtures("nodes")
def test_a_damaged_shard_is_reported_and_not_retried(corpus: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    data = bytearray(list_shards(corpus / "posts")[0].read_bytes())
    data[4000:9000] = bytes(5000)
    broken.write_bytes(data)
    engine = RayBackend(Artifact.open(corpus / "student"), RayClusterOptions(), batch_size=16)
    with pytest.raises(SchemaError, match=r"broken\.parquet is damaged"):
        score_with_backend([broken], engine, to(tmp_path))
    assert not list((tmp_path / "store").rglob("*.parquet"))


@pytest.mark.usefixtures("nodes")
def test_requesting_more_cores_than_a_node_has_is_an_error_and_does_not_hang(
    corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match="enough cores for a worker; saw 3; allowed: 1"):
        run_on_ray(corpus, tmp_path, threads=3)


@pytest.mark.usefixtures("nodes")
def test_a_cluster_without_gpus_is_a_clear_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no node of the Ray cluster has a GPU; start nodes"):
        run_on_ray(corpus, tmp_path, device="cuda")


def test_a_worker_with_an_unusable_gpu_ends_the_run_and_names_what_to_install(
    corpus: Path, tmp_path: Path
) -> None:
    """Ray assigns as many GPUs as it is configured with; this onnxruntime cannot use one."""
    arguments = [corpus / "posts", corpus / "student", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", _GPU_DRIVER, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "DeviceError: device cuda cannot be used" in done.stderr, done.stderr
    assert "onnxruntime-gpu" in done.stderr
    assert not list((tmp_path / "store").rglob("*.parquet"))


def test_a_killed_driver_resumes_with_the_finished_shards(
    nodes: Any, corpus: Path, tmp_path: Path
) -> None:
    arguments = [corpus / "posts", corpus / "student", tmp_path, nodes.address]
    kill_after_shards(2, tmp_path, *map(str, arguments), code=_DRIVER)
    assert len(list((tmp_path / "store").rglob("*.scores.parquet"))) == 2
    assert run_on_ray(corpus, tmp_path).computed == N_POSTS - 120 * 2
    assert outputs(tmp_path) == outputs(corpus / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("nodes")
def test_workers_killed_at_20_random_moments_lose_and_duplicate_nothing(
    corpus: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(int(os.environ.get("POSTBIAS_TEST_SEED", "0")))
    killed: list[int] = []
    is_over = Event()
    started = time.monotonic()
    run_on_ray(corpus, tmp_path / "undisturbed")
    # On a slow machine workers need longer to start: killed too often, they would never finish.
    longest_wait = max(3.0, 1.5 * (time.monotonic() - started))

    def kill() -> None:
        while not is_over.wait(rng.uniform(0, longest_wait)):
            if found := workers():
                victim = found[rng.integers(len(found))]
                with suppress(psutil.Error):
                    victim.kill()
                    killed.append(victim.pid)

    killer = Thread(target=kill)
    killer.start()
    runs = 0
    try:
        while len(killed) < 20:
            assert killer.is_alive()
            root = tmp_path / str(runs)
            assert run_on_ray(corpus, root).computed == N_POSTS
            assert outputs(root) == outputs(corpus / "whole")
            runs += 1
    finally:
        is_over.set()
        killer.join()


# The next two tests must be the last ones, in this order: they change the nodes.
def test_the_run_completes_without_a_node_that_is_killed_while_scoring(
    nodes: Any, corpus: Path, tmp_path: Path
) -> None:
    lost: list[Any] = []

    def kill_node() -> None:
        while not workers(".score"):
            time.sleep(0.01)
        lost.append(nodes.worker_nodes.copy().pop())
        nodes.remove_node(lost[0], allow_graceful=False)

    killer = Thread(target=kill_node)
    killer.start()
    summary = run_on_ray(corpus, tmp_path)
    killer.join()
    assert len(lost) == 1
    assert summary.computed == N_POSTS
    assert outputs(tmp_path) == outputs(corpus / "whole")


@pytest.mark.slow
def test_nodes_that_join_get_workers_and_lost_ones_lose_nothing(
    nodes: Any, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_scheduler, "_RECOUNT_S", 0.2)
    # Many posts in batches of one: slow enough for nodes to start meanwhile.
    for number in range(60):
        posts = [(f"she is post {row} of shard {number}", ()) for row in range(500)]
        write_shard(tmp_path / "posts" / f"{number:05d}.parquet", posts)
    shards = list_shards(tmp_path / "posts")
    with Scorer.open(corpus / "student") as scorer:
        score_shards(shards, scorer, to(tmp_path / "whole"), batch_size=16)
    engine = RayBackend(Artifact.open(corpus / "student"), RayClusterOptions(), batch_size=1)
    most_at_once, changes = 0, [(0, 2), (15, -1), (25, -1), (35, 1)]
    with ThreadPoolExecutor(1) as pool:  # nodes can be added in the main thread only
        run = pool.submit(score_with_backend, shards, engine, to(tmp_path))
        while not run.done():
            time.sleep(0.02)
            most_at_once = max(most_at_once, len(workers(".score")))
            n_finished = len(list((tmp_path / "store").rglob("*.scores.parquet")))
            if not changes or n_finished < changes[0][0]:
                continue
            _, change = changes.pop(0)
            for _ in range(change):
                nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            if change < 0:
                nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)
        summary = run.result()
    assert not changes
    assert most_at_once > 1
    assert summary.computed == 60 * 500
    assert outputs(tmp_path) == outputs(tmp_path / "whole")


def test_without_ray_the_error_names_what_to_install(corpus: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from postbias.cli import main; main()"
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, "score", corpus / "posts", out, "--engine", "ray",
         "--model", corpus / "student"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "postbias: --engine ray needs the package ray, which is not installed; "
        "run `pip install 'postbias[cluster]'`"
    )
    assert not out.exists()


def test_ray_options_without_the_ray_engine_are_a_usage_error(corpus: Path, tmp_path: Path) -> None:
    code = "from postbias.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "score", corpus / "posts", tmp_path / "x", "--workers", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--address and --workers require --engine ray" in done.stderr
