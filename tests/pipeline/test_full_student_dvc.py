"""DVC trains a pocket student again when its full student changes, and MLflow knows both."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from tests.conftest import run_command
from tests.small_repo import make_small_repo, set_params

from postbias.paths import Paths
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.tracking.database import connect


@pytest.mark.slow
def test_a_changed_full_student_trains_the_pocket_student_again(tmp_path: Path) -> None:
    root = make_small_repo(tmp_path / "repo", sample__n=160)
    full, pocket = root / "full_students" / "mine", root / "build" / "students" / "text"
    run_command(root, "dvc", "repro", "-q", "train@text")
    shutil.copytree(pocket, full)
    # The content of the folder is a dependency, also while no student is learned from.
    assert "train@text" in json.loads(run_command(root, "dvc", "status", "--json").stdout)
    set_params(root, {
        "train.distil_from": "full_students/mine",
        "train.transfer": 60,
        "train.text_scratch": {"vocab_size": 320, "hidden": 8, "layers": 1, "heads": 2},
        "evaluate.learning_curve": [],
    })  # fmt: skip
    run_command(root, "dvc", "repro", "-q", "train@text")
    manifest, source = Artifact.open(pocket).manifest, Artifact.open(full)
    assert manifest.distilled_from is not None
    assert manifest.distilled_from.digest == source.digest
    assert (manifest.distilled_from.posts, manifest.distilled_from.same_folds) == (60, True)
    report = json.loads((root / "reports" / "train" / "text.json").read_text(encoding="utf-8"))
    assert report["transfer"] <= 60
    connect(Paths(root, root))
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    tags = [run.data.tags for run in runs if "distilled_from" in run.data.tags]
    assert [(t["artifact"], t["distilled_from"]) for t in tags] == [
        (Artifact.open(pocket).digest, source.digest)
    ]

    def is_current() -> bool:
        status = json.loads(run_command(root, "dvc", "status", "--json", "train@text").stdout)
        return "train@text" not in status

    assert is_current()
    write_artifact(full, replace(source.manifest, n_train=1))
    assert not is_current()
