"""The train stage in processes that are killed, with python and with torchrun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from tests.conftest import ROOT
from tests.small_repo import set_params

from postbias.params import Params
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BIN = Path(sys.executable).parent
LAUNCH = {
    "python": [sys.executable],
    "torchrun": [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2"],
}


@pytest.fixture(scope="module")
def make_repo(
    untrained: tuple[Paths, Params], mlruns_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Paths]:
    def make() -> Paths:
        root = tmp_path_factory.mktemp("killed") / "repo"
        ignored = shutil.ignore_patterns("store", "students", "train")
        shutil.copytree(untrained[0].root, root, ignore=ignored)
        shutil.copytree(mlruns_template, root / "mlruns")
        set_params(root, {"train.epochs": 4, "train.batch_size": 16, "train.modalities": ["text"]})
        return Paths(root, root)

    return make


@pytest.fixture(scope="module")
def uninterrupted(make_repo: Callable[[], Paths]) -> Callable[[str], tuple[Paths, str]]:
    """A function that runs the stage to its end, once per launcher."""

    @cache
    def run(launcher: str) -> tuple[Paths, str]:
        repo = make_repo()
        return repo, _finish(LAUNCH[launcher], repo)

    return run


def _start(launch: list[str], repo: Paths) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*launch, str(ROOT / "stages" / "train.py"), "text"],
        cwd=repo.root,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(launch: list[str], repo: Paths) -> str:
    """Run the stage to its end and return its log."""
    process = _start(launch, repo)
    _, log = process.communicate()
    assert process.returncode == 0, log
    return log


def _wait_for_checkpoint(process: subprocess.Popen[str], repo: Paths) -> None:
    while not list(repo.store.glob("checkpoints/*/checkpoint-*/whole")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def _kill_after_an_epoch(launch: list[str], repo: Paths) -> None:
    process = _start(launch, repo)
    _wait_for_checkpoint(process, repo)
    parent = psutil.Process(process.pid)
    # The children of torchrun have their own sessions, so there is no group to kill.
    for started in [parent, *parent.children(recursive=True)]:
        started.kill()
    process.communicate()
    assert not (repo.students / "text" / "student.json").exists()


@pytest.mark.parametrize("launcher", LAUNCH)
def test_a_killed_stage_is_resumed_and_ends_with_the_same_bytes(
    launcher: str, make_repo: Callable[[], Paths], uninterrupted: Callable[[str], tuple[Paths, str]]
) -> None:
    reference, log = uninterrupted(launcher)
    repo = make_repo()
    _kill_after_an_epoch(LAUNCH[launcher], repo)
    resumed = _finish(LAUNCH[launcher], repo)
    assert "resuming from checkpoint" in resumed
    assert "resuming from checkpoint" not in log
    digest = Artifact.open(reference.students / "text").digest
    assert Artifact.open(repo.students / "text").digest == digest
    assert _report(repo) == _report(reference)
    # Only the main process logs and writes.
    assert log.count("INFO postbias.student.evaluation_schedule: epoch 1 ") == 1
    from mlflow import MlflowClient

    for paths in (reference, repo):
        experiment_id = connect(paths)
        (run,) = MlflowClient().search_runs([experiment_id], "attributes.status = 'FINISHED'")
        assert run.info.run_name == "train@text"
        assert run.data.tags["artifact"] == digest
        # For a curve MLflow shows the last value, whichever epoch was kept.
        last = pd.read_csv(paths.reports / "curves" / "text.csv")["valid_mae"].iloc[-1]
        assert run.data.metrics["valid_mae"] == pytest.approx(last, rel=1e-5)


def test_the_stage_ends_if_one_of_its_processes_dies(make_repo: Callable[[], Paths]) -> None:
    """The other process would wait for the lost one in the next all-reduce."""
    repo = make_repo()
    process = _start(LAUNCH["torchrun"], repo)
    _wait_for_checkpoint(process, repo)
    children = psutil.Process(process.pid).children(recursive=True)
    (second,) = (child for child in children if child.environ().get("RANK") == "1")
    second.kill()
    _, log = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in log
    assert not (repo.students / "text" / "student.json").exists()


def test_two_processes_reach_the_error_of_one(
    uninterrupted: Callable[[str], tuple[Paths, str]],
) -> None:
    one, two = (_report(uninterrupted(launcher)[0]) for launcher in LAUNCH)
    assert one["n_train"] == two["n_train"] > 0
    assert two["valid_mae"] == pytest.approx(one["valid_mae"], rel=0.25)


def _report(repo: Paths) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((repo.reports / "train" / "text.json").read_text())
    return report
