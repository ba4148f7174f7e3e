"""A small pipeline under real DVC: runs, skipped stages, clones, experiments, plots."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, clean_environment, run_command
from tests.small_repo import commit, make_small_repo

from postbias.paths import Paths
from postbias.tracking.database import connect
from postbias.tracking.registry import champion_artifact
from postbias.tracking.sync import sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_STAGES = {"sample", "annotate", "split", "train@text", "evaluate", "infer"}


def _dvc(root: Path, *arguments: str) -> str:
    return run_command(root, "dvc", *arguments, PYTHONPATH=str(root / "src")).stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose pipeline has run, committed; all of it pushed to a remote."""
    root = tmp_path_factory.mktemp("pipeline") / "home"
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        make_small_repo(root)
        _dvc(root, "repro")
        _dvc(root, "remote", "add", "-d", "there", str(root.parent / "remote"))
        commit(root)
        _dvc(root, "push", "-q")
    return root


def _runs(paths: Paths) -> dict[str, Any]:
    experiment = connect(paths)
    from mlflow import MlflowClient

    return {run.info.run_name: run for run in MlflowClient().search_runs([experiment])}


def test_a_second_repro_does_nothing(home: Path) -> None:
    output = _dvc(home, "repro")
    assert "Data and pipelines are up to date" in output
    assert "Running stage" not in output
    assert run_command(home, "git", "status", "--porcelain").stdout == ""
    assert set(_runs(Paths(home, home))) >= _STAGES


def test_a_clone_that_pulled_everything_skips_all_stages_and_restores_its_runs_and_champion(
    home: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    run_command(tmp_path, "git", "clone", "-q", str(home), str(clone))
    _dvc(clone, "pull", "-q")
    assert "Running stage" not in _dvc(clone, "repro")
    paths = Paths(clone, clone)
    assert set(sync(paths).restored) >= _STAGES
    assert champion_artifact(paths).is_relative_to(clone)
    assert sync(paths).is_unchanged


def test_metrics_and_plots_can_be_shown(home: Path) -> None:
    shown = json.loads(_dvc(home, "metrics", "show", "--json"))
    files = shown[""]["data"]
    reported = json.loads((home / "reports" / "metrics.json").read_text(encoding="utf-8"))
    # A constant has no rank correlation: null in the report, which DVC does not show.
    assert files["reports/metrics.json"]["data"] == _without_nulls(reported)
    _dvc(home, "plots", "show")
    text = (home / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "Learning curve, text" in text
    assert "Students and baselines, test fold" in text


def test_the_methods_and_the_checklist_are_filled_from_the_run(home: Path) -> None:
    source = str(home / "src")
    text = run_command(home, "postbias", "methods", PYTHONPATH=source).stdout
    n = json.loads((home / "reports" / "evaluate.json").read_text())["n"]
    assert f"learned {n['train']:,} labels" in text
    assert f"On {n['test']:,} test posts" in text
    checklist = run_command(home, "postbias", "methods", "--checklist", PYTHONPATH=source).stdout
    commit_id = run_command(home, "git", "rev-parse", "HEAD").stdout.strip()
    assert f"| Code | commit `{commit_id}` |" in checklist
    assert "`build/champion` " in checklist


def test_sizes_are_trained_in_the_queue_and_compared_without_one_that_fails(
    home: Path, tmp_path: Path
) -> None:
    files = []
    for name, width in (("narrow", 16), ("lost", 16), ("wide", 48)):
        params = yaml.safe_load((home / "params.yaml").read_text(encoding="utf-8"))
        if name == "lost":
            params["train"]["text_encoder"] = "models/nowhere"
        params["train"]["text_scratch"] |= {"hidden": width, "heads": 2}
        params["train"]["device"] = "cuda"  # where to train is no part of a size
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(params), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.pareto", *map(str, files), "--posts", "20"]
    source = os.pathsep.join([str(home / "src"), str(ROOT)])
    done = run_command(home, *command, "--rounds", "1", check=False, PYTHONPATH=source)
    assert "Lowest error: " in done.stdout
    assert done.returncode == 1
    assert done.stderr.endswith("without results, and not in the table: lost\n")
    sizes = json.loads((home / "reports" / "pareto.json").read_text(encoding="utf-8"))["sizes"]
    assert set(sizes) == {"narrow", "wide"}
    assert sizes["narrow"]["mb"] < sizes["wide"]["mb"]
    assert sizes["narrow"]["digest"] != sizes["wide"]["digest"]
    assert any(size["on_front"] for size in sizes.values())
    for name, size in sizes.items():
        show = ["exp", "show", "--json"]
        assert f"pareto-{name}" in _dvc(home, *show)
        assert size["mae"]["lo"] <= size["mae"]["value"] <= size["mae"]["hi"]
    assert (home / "build" / "pareto.png").stat().st_size > 5_000


def _without_nulls(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: _without_nulls(value) for key, value in tree.items() if value is not None}
