"""The train stage as a process: killed without warning, by itself or as several under torchrun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from tests.conftest import ROOT
from tests.small_repo import set_params

from postbias.memory import connect
from postbias.params import Params
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
LAUNCH = {
    "python": [sys.executable],
    "torchrun": [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2"],
}


@pytest.fixture(params=LAUNCH)
def launch(request: pytest.FixtureRequest) -> list[str]:
    return LAUNCH[request.param]


@pytest.fixture
def repo(untrained: tuple[Paths, Params], mlruns_template: Path, tmp_path: Path) -> Paths:
    root = tmp_path / "repo"
    shutil.copytree(
        untrained[0].root, root, ignore=shutil.ignore_patterns("store", "students", "train")
    )
    shutil.copytree(mlruns_template, root / "mlruns")
    set_params(root, {"train.epochs": 4, "train.batch_size": 16, "train.modalities": ["text"]})
    return Paths(root, root)


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


def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(
    launch: list[str], repo: Paths
) -> None:
    said = _finish(launch, repo)
    alone = Artifact.open(repo.students / "text").digest
    report = json.loads((repo.reports / "train" / "text.json").read_text())
    shutil.rmtree(repo.students)
    shutil.rmtree(repo.store)
    _kill_after_an_epoch(launch, repo)
    resumed = _finish(launch, repo)
    assert "going on from checkpoint" in resumed
    assert "going on from checkpoint" not in said
    assert Artifact.open(repo.students / "text").digest == alone
    assert json.loads((repo.reports / "train" / "text.json").read_text()) == report
    # One process speaks, writes and logs, however many there are.
    assert said.count("INFO postbias.student.training: epoch 1 ") == 1
    experiment_id = connect(repo)
    from mlflow import MlflowClient

    wanted = "attributes.status = 'FINISHED'"
    runs = MlflowClient().search_runs([experiment_id], wanted)
    assert [run.info.run_name for run in runs] == ["train@text"] * 2
    assert {run.data.tags["artifact"] for run in runs} == {alone}
    # Of a curve MLflow shows the last point, whichever epoch the student was taken from.
    curve = pd.read_csv(repo.reports / "curves" / "text.csv")
    for run in runs:
        assert run.data.metrics["valid_mae"] == pytest.approx(curve["valid_mae"].iloc[-1], rel=1e-5)


def test_two_processes_learn_what_one_learns(repo: Paths) -> None:
    errors = []
    for how in LAUNCH.values():
        _finish(how, repo)
        report = json.loads((repo.reports / "train" / "text.json").read_text())
        errors.append(report["valid_mae"])
        assert report["n_train"] > 0
    assert errors[1] == pytest.approx(errors[0], rel=0.25)
