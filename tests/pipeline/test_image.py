"""What the image of the scorer starts, started here without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.pipeline.servers import free_port, serving
from tests.tiny_artifact import write_tiny_artifact

_PORT = "8766"


def _array(instruction: str, port: int) -> list[str]:
    """Return the arguments of an instruction in its JSON form, with another port."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(rf"^{instruction}[^\[\n]*(\[.*\])$", text, re.MULTILINE)
    assert found, instruction
    return [part.replace(_PORT, str(port)) for part in json.loads(found[1])]


@pytest.fixture
def port() -> int:
    return free_port()


def test_the_image_serves_a_mounted_student_and_reports_its_health(
    port: int, tmp_path: Path
) -> None:
    student = write_tiny_artifact(tmp_path / "student").folder
    (program,) = _array("ENTRYPOINT", port)
    arguments = [str(student) if a == "/model" else a for a in _array("CMD", port)]
    assert str(student) in arguments
    assert str(port) in arguments
    python, *check = _array("HEALTHCHECK", port)
    assert (program, python) == ("postbias", "python")
    command = [sys.executable, "-c", "from postbias.cli import main; main()", *arguments]
    with serving(command, port, "/api/student", tmp_path / "log"):
        assert subprocess.run([sys.executable, *check], check=False).returncode == 0
    gone = subprocess.run([sys.executable, *check], capture_output=True, check=False)
    assert gone.returncode != 0
