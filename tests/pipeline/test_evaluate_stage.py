"""The evaluate stage as DVC runs it: as a process, with MLflow and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.unit import evaluation_corpus as corpus

from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect

Run = Callable[..., CompletedProcess[str]]


def _stage(run_in: Run, paths: Paths) -> CompletedProcess[str]:
    params = paths.params.read_text().replace("bootstrap: 2000", "bootstrap: 200")
    paths.params.write_text(params)
    return run_in(paths.root, "python", str(ROOT / "stages" / "evaluate.py"), check=False)


def test_a_student_that_passes_the_gate_is_copied_registered_and_logged(
    workspace: Paths, run_in: Run
) -> None:
    corpus.write_corpus(workspace.root)
    trained = _train_runs(workspace)
    result = _stage(run_in, workspace)
    assert result.returncode == 0, result.stderr
    report = json.loads((workspace.reports / "evaluate.json").read_text())
    digest = Artifact.open(workspace.champion).digest
    assert report["champion"] == {"modality": "fusion", "digest": digest}

    connect(workspace)
    from mlflow import MlflowClient

    client = MlflowClient()
    version = client.get_model_version_by_alias("postbias", "champion")
    assert version.tags["digest"] == digest
    (run,) = client.search_runs([connect(workspace)], "attributes.run_name = 'evaluate'")
    mae = report["students"]["fusion"]["test"]["bias"]["mae"]["value"]
    assert abs(run.data.metrics["test.fusion.bias.mae"] - mae) < 1e-5
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"comparison.png", "result.md", "slices.json", "coverage.json"} <= artifacts
    for modality, run_id in trained.items():
        metrics = client.get_run(run_id).data.metrics
        expected = report["students"][modality]["test"]["orientation"]["r2"]["value"]
        assert metrics["test.orientation.r2"] == pytest.approx(expected, rel=1e-5)
        artifacts = {file.path for file in client.list_artifacts(run_id)}
        assert artifacts == {"predictions.png", "residuals.png", "calibration.png"}


def _train_runs(paths: Paths) -> dict[str, str]:
    """Create the training runs of the students, as the train stage does."""
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    client = MlflowClient()
    runs = {}
    for modality in ("fusion", "text", "image"):
        digest = Artifact.open(paths.students / modality).digest
        tags = {"stage": "train", "modality": modality, "artifact": digest}
        runs[modality] = str(client.create_run(experiment_id, tags=tags).info.run_id)
        client.set_terminated(runs[modality])
    return runs


def test_students_that_fail_the_gate_give_a_report_a_one_line_error_and_no_champion(
    workspace: Paths, run_in: Run
) -> None:
    corpus.write_corpus(workspace.root)
    corpus.write_labels(workspace, np.full((corpus.N, 2), 7.5))
    result = _stage(run_in, workspace)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("evaluate: no champion: the best student")
    assert "Traceback" not in result.stderr
    assert json.loads((workspace.reports / "evaluate.json").read_text())["champion"] is None
    assert not workspace.champion.exists()
