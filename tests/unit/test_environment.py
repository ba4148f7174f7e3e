"""Tests leave the shell's database, endpoint and DVC settings alone."""

from __future__ import annotations

import os
import subprocess
import sys

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
