"""Tests leave the shell's database, endpoint and DVC settings alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

_SHOW = "import json, os, tests.conftest; print(json.dumps(dict(os.environ)))"


def test_the_settings_of_the_shell_are_gone_when_tests_are_collected() -> None:
    shell = {
        "MLFLOW_TRACKING_URI": "sqlite:////nowhere/mlflow.db",
        "OPENAI_BASE_URL": "http://127.0.0.1:1",
        "DVC_ROOT": "/nowhere",
        "POSTBIAS_SWEEP": "3",
    }
    command = [sys.executable, "-c", _SHOW]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | shell, capture_output=True, text=True, check=True
    )
    assert "nowhere" not in done.stdout
    assert "127.0.0.1:1" not in done.stdout
    assert '"POSTBIAS_SWEEP": "3"' in done.stdout


_FIRST = """
import mlflow, pytest

@pytest.fixture(scope="module")
def database():
    mlflow.set_tracking_uri("sqlite:////nowhere/mlflow.db")

def test_a_database_is_chosen(database):
    mlflow.set_tracking_uri("sqlite:////nowhere/else.db")
"""
_SECOND = """
import os, pytest

@pytest.fixture(scope="module")
def chosen():
    return os.environ.get("MLFLOW_TRACKING_URI")

def test_no_database_is_chosen(chosen):
    assert chosen is None
"""


def test_a_database_that_one_module_chose_is_not_used_by_fixtures_of_the_next(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_chooses.py").write_text(_FIRST, encoding="utf-8")
    (tmp_path / "test_uses.py").write_text(_SECOND, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", tmp_path]
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, tmp_path / "test_chooses.py", tmp_path / "test_uses.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
