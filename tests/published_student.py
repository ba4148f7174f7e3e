"""A repository whose champion can be published, and the environment of a command that does."""

from __future__ import annotations

import json
import os
from pathlib import Path

from postbias.params import load_params
from postbias.paths import Paths
from postbias.report.findings import gather_findings, write_findings
from postbias.scoring.artifact import Artifact
from tests.hub_server import WRITER
from tests.scored_repo import write_scored_repo

REPO = "owner/bias-student"


def write_publishable_repo(root: Path) -> Paths:
    """Write a repository after the stage `report`."""
    paths = write_scored_repo(root)
    digest = Artifact.open(paths.champion).digest
    file = paths.reports / "evaluate.json"
    evaluation = json.loads(file.read_text())
    evaluation["champion"]["digest"] = digest
    file.write_text(json.dumps(evaluation))
    write_findings(gather_findings(paths, load_params(paths.params), {}), paths)
    return paths


def hub_environment(
    url: str, home: Path, *, token: str = WRITER, cache: str = "cache"
) -> dict[str, str]:
    """Return the environment of a command that uses a hub, with a cache of its own."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    named = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home / cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",  # the server has LFS only
        "HOME": str(home),
    }
    return inherited | named | ({"HF_TOKEN": token} if token else {})
