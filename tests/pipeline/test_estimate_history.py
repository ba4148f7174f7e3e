"""`postbias report-diff` against a real git and DVC repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.conftest import run_command

from postbias.cli import main
from postbias.errors import InputError, TrackingError
from postbias.paths import Paths
from postbias.tracking.estimate_history import compare_estimates

_PIPELINE = """\
stages:
  report:
    cmd: mkdir -p reports && cp source.json reports/population.json
    deps: [source.json]
    outs: [reports/population.json]
"""


def _report(repo: Path, posts: int, bias: float, **more: object) -> None:
    estimate = {"value": bias, "lo": bias - 0.1, "hi": bias + 0.1, "uncorrected": 9.0}
    content = {
        "n": {"posts": posts, "scored": posts, "labels": 50},
        "all": {"posts": posts, "bias": estimate, **more},
    }
    (repo / "source.json").write_text(json.dumps(content), encoding="utf-8")
    run_command(repo, "dvc", "repro", "-q")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one committed report, and a later one in the working tree."""
    run_command(tmp_path, "git", "init", "-q", "-b", "main")
    run_command(tmp_path, "dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text(_PIPELINE, encoding="utf-8")
    _report(tmp_path, 100, 3.25)
    run_command(tmp_path, "git", "add", "-A")
    run_command(tmp_path, "git", "commit", "-q", "-m", "first")
    run_command(tmp_path, "git", "tag", "first")
    share = {"value": 0.5, "lo": None, "hi": None, "uncorrected": None}
    _report(tmp_path, 101, 3.5, share_high=share)
    return tmp_path


def test_estimates_are_compared_with_a_revision(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    for arguments in ([], ["first"]):
        result = CliRunner().invoke(main, ["report-diff", *arguments])
        assert result.exit_code == 0, result.output
        name = arguments[0] if arguments else "HEAD"
        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[0] == f"posts: 100 at {name}, 101 now"
        assert "bias 3.250 [3.150, 3.350] 3.500 [3.400, 3.600] +0.250" in lines
        assert "share_high - 0.500 -" in lines


def test_what_cannot_be_compared_is_a_clear_error(repo: Path) -> None:
    paths = Paths(repo, repo)
    with pytest.raises(TrackingError, match="'nowhere' cannot be read"):
        compare_estimates(paths, "nowhere")
    (repo / "reports" / "population.json").unlink()
    with pytest.raises(InputError, match="no report yet"):
        compare_estimates(paths, "HEAD")
