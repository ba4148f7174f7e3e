"""The train stage as a process: killed without warning, by itself or as several under torchrun."""

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

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
def left_alone(make_repo: Callable[[], Paths]) -> Callable[[str], tuple[Paths, str]]:
    """Give a function that runs the stage to its end, once per way of launching it."""

    @cache
    def run(how: str) -> tuple[Paths, str]:
        repo = make_repo()
        return repo, _finish(LAUNCH[how], repo)

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
    """Run the stage to its end; return what it said."""
    process = _start(launch, repo)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def _kill_after_an_epoch(launch: list[str], repo: Paths) -> None:
    process = _start(launch, repo)
    while not list(repo.store.glob("checkpoints/*/checkpoint-*/whole")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    ours = psutil.Process(process.pid)
    for one in [ours, *ours.children(recursive=True)]:  # torchrun's have sessions of their own
        one.kill()
    process.communicate()
    assert not (repo.students / "text" / "student.json").exists()


@pytest.mark.parametrize("how", LAUNCH)
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(
    how: str, make_repo: Callable[[], Paths], left_alone: Callable[[str], tuple[Paths, str]]
) -> None:
    alone, said = left_alone(how)
    repo = make_repo()
    _kill_after_an_epoch(LAUNCH[how], repo)
    resumed = _finish(LAUNCH[how], repo)
    assert "going on from checkpoint" in resumed
    assert "going on from checkpoint" not in said
    digest = Artifact.open(alone.students / "text").digest
    assert Artifact.open(repo.students / "text").digest == digest
    assert _report(repo) == _report(alone)
    # One process speaks, writes and logs, however many there are.
    assert said.count("INFO postbias.student.trainer: epoch 1 ") == 1
    from mlflow import MlflowClient

    for one in (alone, repo):
        experiment_id = connect(one)
        wanted = "attributes.status = 'FINISHED'"
        (run,) = MlflowClient().search_runs([experiment_id], wanted)
        assert run.info.run_name == "train@text"
        assert run.data.tags["artifact"] == digest
        # Of a curve MLflow shows the last point, whichever epoch the student was taken from.
        last = pd.read_csv(one.reports / "curves" / "text.csv")["valid_mae"].iloc[-1]
        assert run.data.metrics["valid_mae"] == pytest.approx(last, rel=1e-5)


def test_two_processes_learn_what_one_learns(
    left_alone: Callable[[str], tuple[Paths, str]],
) -> None:
    one, two = (_report(left_alone(how)[0]) for how in LAUNCH)
    assert one["n_train"] == two["n_train"] > 0
    assert two["valid_mae"] == pytest.approx(one["valid_mae"], rel=0.25)


def _report(repo: Paths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repo.reports / "train" / "text.json").read_text())
    return found
