"""Create a small real pipeline under DVC and git: two students without torch, and an evaluation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_TRAIN = """
from postbias.json_files import write_json
from postbias.tracking.runs import stage_run
from tests.tiny_artifact import write_tiny_artifact

with stage_run("train") as run:
    folder = run.paths.students / run.modality
    artifact = write_tiny_artifact(folder, run.modality, seed=run.params.seed)
    run.set_tags({"artifact": artifact.digest})
    write_json(run.paths.reports / f"{run.modality}.json", {"valid": {"mae": {"value": 1.5}}})
    curve = run.paths.reports / "curves" / f"{run.modality}.csv"
    curve.parent.mkdir(parents=True, exist_ok=True)
    curve.write_text("epoch,loss\\n0,2.0\\n1,1.0\\n")
    for step, loss in enumerate((2.0, 1.0)):
        run.log_metrics({"loss": loss}, step=step)
"""

_EVALUATE = """
import shutil
from postbias.tracking.run_logging import log_test_metrics
from postbias.tracking.registry import register_champion
from postbias.scoring.artifact import Artifact
from postbias.json_files import write_json
from postbias.tracking.runs import stage_run

with stage_run("evaluate") as run:
    shutil.copytree(run.paths.students / "text", run.paths.champion)
    digest = Artifact.open(run.paths.champion).digest
    students = {"text": {"digest": digest, "test": {"bias": {"mae": {"value": 0.75}}}}}
    write_json(
        run.paths.reports / "evaluate.json",
        {
            "axes": {"bias": {}},
            "main": {"axis": "bias"},
            "paired": {"text_vs_constant": 1},
            "students": students,
        },
    )
    log_test_metrics(run.paths)
    register_champion(run.paths, run.run_id)
"""

_DVC = """
stages:
  train:
    matrix:
      modality: ${train.modalities}
    cmd: python train.py
    deps: [train.py]
    params: [seed, train.modalities]
    outs: ["build/students/${item.modality}"]
    metrics: ["reports/${item.modality}.json": {cache: false}]
    plots: ["reports/curves/${item.modality}.csv": {cache: false}]
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py, build/students]
    params: [infer.precision]
    outs: [build/champion]
    metrics: ["reports/evaluate.json": {cache: false}]
"""


def write_mini_pipeline(root: Path, run_in: Callable[..., Any]) -> None:
    """Write and commit it; nothing is run."""
    (root / "train.py").write_text(_TRAIN, encoding="utf-8")
    (root / "evaluate.py").write_text(_EVALUATE, encoding="utf-8")
    (root / "dvc.yaml").write_text(_DVC, encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", root)
    set_param(root, "modalities:", "modalities: [text]")
    ignored = "/build/\n/store/\n/mlruns/\n__pycache__/\n"
    (root / ".gitignore").write_text(ignored, encoding="utf-8")
    run_in(root, "git", "init", "-q")
    run_in(root, "dvc", "init", "-q")
    run_in(root, "dvc", "remote", "add", "-q", "-d", "there", str(root.parent / "remote"))
    commit(root, run_in)


def commit(root: Path, run_in: Callable[..., Any]) -> None:
    """Commit everything."""
    run_in(root, "git", "add", "-A")
    run_in(root, "git", "commit", "-q", "-m", "state")


def set_param(root: Path, key: str, line: str) -> None:
    """Replace the line of params.yaml whose text begins with a key."""
    file = root / "params.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    changed = [
        text[: len(text) - len(text.lstrip())] + line if text.strip().startswith(key) else text
        for text in lines
    ]
    file.write_text("\n".join(changed) + "\n", encoding="utf-8")
