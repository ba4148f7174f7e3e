"""Fixtures for all tests: a clean environment, and repositories with a real MLflow database."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from postbias.paths import Paths
from tests.stage_forks import fork_server_environment

ROOT = Path(__file__).resolve().parents[1]

# Prefixes of variables that the shell may have set.
_FOREIGN = ("MLFLOW_", "_MLFLOW_", "DVC_", "OPENAI_", "POSTBIAS_")
# Read by MLflow on import, which may happen in a fixture.
_MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}


def _remove_settings() -> None:
    """Remove the settings of the shell or of earlier tests; POSTBIAS_SWEEP is for the tests."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN[:-1])]:
        del os.environ[name]
    os.environ.update(_MLFLOW)


# Under `make`, which names the database of this checkout, fixtures would register students there.
_remove_settings()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first: workers take whole files, and end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def _clean_environment_of_fixtures() -> Iterator[None]:
    """Keep a database that a test or fixture chose from fixtures of later modules.

    `mlflow.set_tracking_uri` also sets MLFLOW_TRACKING_URI, and fixtures of module scope run before
    `_clean_environment`.
    """
    _remove_settings()
    yield
    _forget_mlflow()
    _remove_settings()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture(autouse=True)
def _default_logging() -> None:
    """Undo how earlier tests and fixtures changed logging: many tests read warnings."""
    logging.disable(logging.NOTSET)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == "postbias":
            logger.setLevel(logging.NOTSET)
            logger.propagate, logger.disabled = True, False


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the shell's settings for MLflow, DVC, git and the teacher's endpoint."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    for name, value in _MLFLOW.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    # Tests must not read the user's git settings.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")


@pytest.fixture(scope="session")
def mlruns_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create MLflow's database once, because its migrations take seconds."""
    root = tmp_path_factory.mktemp("template")
    code = "import sys; from pathlib import Path; from postbias.tracking.database import connect; "
    code += "from postbias.paths import Paths; connect(Paths(Path(sys.argv[1]), Path(sys.argv[1])))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    command = [sys.executable, "-c", code, str(root)]
    subprocess.run(command, check=True, env=environment, cwd=root)
    return root / "mlruns"


@pytest.fixture
def workspace(
    tmp_path: Path, mlruns_template: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Paths]:
    """A folder with params, an empty `dvc.yaml` and an MLflow database, as the working folder."""
    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copytree(mlruns_template, root / "mlruns")
    monkeypatch.chdir(root)
    yield Paths(root, root)
    _forget_mlflow()


@pytest.fixture
def run_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The function `run_command`."""
    return run_command


# Arguments of commands that start stages.
_STARTS_STAGES = frozenset({"repro", "exp", "benchmarks.pareto"})


def run_command(
    folder: Path, *command: str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with this environment's programs first on PATH.

    Stages below it are forks, as they are below `make repro`.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    forks = fork_server_environment() if not _STARTS_STAGES.isdisjoint(command) else {}
    return subprocess.run(
        list(command),
        cwd=folder,
        env=os.environ | {"PATH": path} | forks | environment,
        capture_output=True,
        text=True,
        check=check,
    )


def _forget_mlflow() -> None:
    """End active runs and reset the tracking URI."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None:
        return
    while mlflow.active_run() is not None:
        with suppress(mlflow.MlflowException):
            mlflow.end_run("KILLED")
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
