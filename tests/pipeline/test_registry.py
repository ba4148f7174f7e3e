"""The registry with a real MLflow database and a tiny student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from postbias.errors import ChampionError
from postbias.memory import connect
from postbias.packing import MODULES
from postbias.paths import Paths
from postbias.registry import ALIAS, MODEL, champion_artifact, register_champion
from tests.tiny_artifact import write_tiny_artifact


def _new_run(paths: Paths) -> str:
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    run = MlflowClient().create_run(experiment_id, run_name="evaluate")
    return str(run.info.run_id)


def _build(paths: Paths, seed: int) -> str:
    shutil.rmtree(paths.champion, ignore_errors=True)
    return write_tiny_artifact(paths.champion, seed=seed).digest


def test_a_student_becomes_champion_once_and_is_found_again(workspace: Paths) -> None:
    digest = _build(workspace, 1)
    run_id = _new_run(workspace)
    first = register_champion(workspace, run_id)
    again = register_champion(workspace, run_id)
    assert (first.version, first.is_new, first.previous) == (1, True, None)
    assert (again.version, again.is_new, again.previous) == (1, False, None)
    from postbias.scoring.artifact import Artifact

    assert Artifact.open(champion_artifact(workspace)).digest == digest
