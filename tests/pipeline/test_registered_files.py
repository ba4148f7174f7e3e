"""The look-up of registered artifacts without MLflow agrees with MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

from postbias.errors import ChampionError
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect
from postbias.tracking.packaging import STUDENT_PATH
from postbias.tracking.registered_files import find_registered_files
from postbias.tracking.registry import fetch_artifact

CHAMPION = "models:/postbias@champion"


_REGISTER = """
import shutil, sys
from pathlib import Path
from mlflow import MlflowClient
from postbias.paths import Paths
from postbias.tracking.database import connect
from postbias.tracking.registry import register_champion
from tests.tiny_artifact import write_tiny_artifact

paths = Paths(Path(sys.argv[1]), Path(sys.argv[1]))
experiment = connect(paths)
run = MlflowClient().create_run(experiment, run_name="evaluate")
for seed in (1, 2):
    shutil.rmtree(paths.champion, ignore_errors=True)
    print(write_tiny_artifact(paths.champion, seed=seed).digest)
    register_champion(paths, run.info.run_id, is_forced=True)
"""


@pytest.fixture(scope="module")
def two_students(
    tmp_path_factory: pytest.TempPathFactory, mlruns_template: Path
) -> tuple[Path, list[str]]:
    """Register two students in a process of its own; return the repository and their digests."""
    root = tmp_path_factory.mktemp("registered")
    shutil.copytree(mlruns_template, root / "mlruns")
    command = [sys.executable, "-c", _REGISTER, str(root)]
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": python_path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return root, done.stdout.split()


@pytest.fixture
def registered(workspace: Paths, two_students: tuple[Path, list[str]]) -> list[str]:
    """Copy the two students to the workspace and return their digests."""
    shutil.rmtree(workspace.mlruns)
    shutil.copytree(two_students[0] / "mlruns", workspace.mlruns)
    return two_students[1]


def _mlflows_folder(uri: str, paths: Paths) -> Path:
    connect(paths)
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=uri)) / STUDENT_PATH


def _digest(folder: Path | None) -> str:
    assert folder is not None
    return Artifact.open(folder).digest


def test_the_folder_is_the_one_that_mlflow_returns(workspace: Paths, registered: list[str]) -> None:
    for uri, digest in ((CHAMPION, registered[1]), ("models:/postbias/1", registered[0]),
                        ("models:/postbias/2", registered[1])):  # fmt: skip
        folder = find_registered_files(uri, workspace)
        assert folder == _mlflows_folder(uri, workspace)
        assert _digest(folder) == digest


def test_a_moved_alias_is_followed(workspace: Paths, registered: list[str]) -> None:
    connect(workspace)
    from mlflow import MlflowClient

    MlflowClient().set_registered_model_alias("postbias", "champion", "1")
    assert _digest(find_registered_files(CHAMPION, workspace)) == registered[0]


def test_a_moved_checkout_finds_its_own_files(
    two_students: tuple[Path, list[str]], tmp_path: Path
) -> None:
    moved = tmp_path / "other place"
    shutil.copytree(two_students[0], moved)
    folder = find_registered_files(CHAMPION, Paths(moved, moved))
    assert _digest(folder) == two_students[1][1]
    assert folder is not None
    assert folder.is_relative_to(moved)
    connect(Paths(moved, moved))  # rewrites the locations
    assert find_registered_files(CHAMPION, Paths(moved, moved)) == folder


@pytest.mark.parametrize(
    "uri",
    ["models:/postbias/3", "models:/postbias@other", "models:/other@champion",
     "models:/postbias/latest", "models:/postbias", "models:/postbias@champion/1"],
)  # fmt: skip
def test_what_is_not_registered_is_left_to_mlflow(
    workspace: Paths, registered: list[str], uri: str
) -> None:
    assert len(registered) == 2
    assert find_registered_files(uri, workspace) is None


def test_a_deleted_version_is_not_found(workspace: Paths, registered: list[str]) -> None:
    connect(workspace)
    from mlflow import MlflowClient

    assert len(registered) == 2
    client = MlflowClient()
    client.delete_registered_model_alias("postbias", "champion")
    client.delete_model_version("postbias", "2")
    assert find_registered_files("models:/postbias/2", workspace) is None
    with pytest.raises(ChampionError, match="no such registered model"):
        fetch_artifact("models:/postbias/2", workspace)


def test_another_database_or_a_damaged_one_is_left_to_mlflow(
    workspace: Paths, registered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(registered) == 2
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root}/other.db")
        assert find_registered_files(CHAMPION, workspace) is None
    (workspace.mlruns / "mlflow.db").write_bytes(b"not a database" * 100)
    assert find_registered_files(CHAMPION, workspace) is None
    (workspace.mlruns / "mlflow.db").unlink()
    assert find_registered_files(CHAMPION, workspace) is None
    assert not (workspace.mlruns / "mlflow.db").exists()


def test_files_that_are_gone_are_not_found(workspace: Paths, registered: list[str]) -> None:
    assert len(registered) == 2
    shutil.rmtree(workspace.mlruns / "artifacts")
    assert find_registered_files(CHAMPION, workspace) is None
