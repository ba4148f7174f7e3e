"""Promotion to champion, with a real MLflow database, registry and files."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error
from tests.conftest import run_command
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import ChampionError
from postbias.json_files import write_json
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.tracking import packaging as packing
from postbias.tracking.database import connect
from postbias.tracking.registry import (
    ALIAS,
    MODEL,
    Registration,
    champion_artifact,
    register_champion,
)

pytestmark = pytest.mark.usefixtures("_without_proof")

N = 300
LABELS = np.random.default_rng(0).uniform(0, 10, N)


@pytest.fixture
def _without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip loading each version in a separate process, which test_registry tests."""
    monkeypatch.setattr(packing, "check_package", lambda *_, **__: None)


def _build(paths: Paths, seed: int, error: float, *, valid_digest: str = "one") -> Registration:
    """Register a student whose predictions on the valid fold have the given error."""
    shutil.rmtree(paths.champion, ignore_errors=True)
    digest = write_tiny_artifact(paths.champion, seed=seed).digest
    noise = np.random.default_rng(seed).normal(0, error, N)
    _report(paths, digest, LABELS + noise, valid_digest)
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    run = MlflowClient().create_run(experiment_id, run_name="evaluate")
    return register_champion(paths, run.info.run_id)


def _report(paths: Paths, digest: str, scores: np.ndarray, valid_digest: str) -> None:
    mae = mean_absolute_error(LABELS, scores)
    report = {
        "axes": {"bias": {"low": 0, "high": 10, "distinct_labels": 21}},
        "main": {"axis": "bias", "metric": "mae"},
        "valid_digest": valid_digest,
        "bootstrap": {"alpha": 0.05, "replications": 200},
        "students": {"fusion": {"valid": {"bias": {"mae": {"value": mae}}}}},
        "champion": {"modality": "fusion", "digest": digest},
    }
    write_json(paths.reports / "evaluate.json", report)
    file = paths.reports / "valid_predictions.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("modality", "axis", "post_id", "author", "label", "score", "lo", "hi"))
        for i, (label, score) in enumerate(zip(LABELS, scores, strict=True)):
            writer.writerow(("fusion", "bias", f"p{i}", f"a{i // 3}", label, score, "", ""))


def _champion() -> int:
    from mlflow import MlflowClient

    return int(MlflowClient().get_model_version_by_alias(MODEL, ALIAS).version)


def test_a_worse_student_is_registered_but_does_not_become_champion(
    workspace: Paths,
) -> None:
    assert _build(workspace, 1, error=0.5).is_champion
    worse = _build(workspace, 2, error=1.0)
    assert (worse.version, worse.is_champion, _champion()) == (2, False, 1)
    assert worse.refused is not None
    assert "on the same 300 posts of the valid fold (significantly worse" in worse.refused
    with pytest.raises(ChampionError, match=r"version 2, which is worse.*mae.*postbias promote"):
        champion_artifact(workspace)

    done = run_command(workspace.root, "postbias", "promote")
    assert done.stdout == "champion is version 2, replacing version 1\n"
    assert _champion() == 2
    assert Artifact.open(champion_artifact(workspace)).digest
    (record,) = (workspace.mlruns / "artifacts").rglob("promotions/version-2-*.json")
    assert json.loads(record.read_text())["succession"]["is_allowed"] is False


def test_a_better_or_equal_student_becomes_champion_and_a_former_champion_may_return(
    workspace: Paths,
) -> None:
    _build(workspace, 1, error=1.0)
    better = _build(workspace, 2, error=0.5)
    assert (better.is_champion, better.previous, better.refused) == (True, 1, None)
    assert _build(workspace, 3, error=0.5).is_champion  # another one that is as good
    again = _build(workspace, 1, error=1.0)  # as after `git checkout && dvc checkout`
    assert (again.version, again.is_champion, again.previous) == (1, True, 3)


def test_students_of_other_valid_folds_are_not_compared(
    workspace: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    _build(workspace, 1, error=0.5)
    with caplog.at_level("INFO", logger="postbias"):
        assert _build(workspace, 2, error=2.0, valid_digest="two").is_champion
    assert "they have different valid folds" in caplog.text


def test_without_valid_scores_nothing_is_compared(workspace: Paths) -> None:
    _build(workspace, 1, error=0.5)
    shutil.rmtree(workspace.champion)
    write_tiny_artifact(workspace.champion, seed=2)  # the reports are of another student
    from mlflow import MlflowClient

    run = MlflowClient().create_run(connect(workspace), run_name="evaluate")
    assert register_champion(workspace, run.info.run_id).is_champion


def test_an_unregistered_student_cannot_be_promoted(workspace: Paths) -> None:
    for do, message in (
        (lambda: None, "there is no build/champion"),
        (lambda: write_tiny_artifact(workspace.champion), "not registered"),
    ):
        do()
        done = run_command(workspace.root, "postbias", "promote", check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
