"""Copies of the report in MLflow have runs and commit; cards are with the champion's version."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from tests.tiny_artifact import write_tiny_artifact

from postbias.paths import Paths
from postbias.report.page import DATA_SHEET, MODEL_CARD
from postbias.tracking.database import connect
from postbias.tracking.publish import attach_cards, find_origin
from postbias.tracking.registry import MODEL


def _register(paths: Paths, digest: str) -> None:
    connect(paths)
    client = MlflowClient()
    client.create_registered_model(MODEL)
    source = paths.mlruns / "artifacts" / "model"
    source.mkdir(parents=True)
    client.create_model_version(MODEL, str(source), tags={"digest": digest})


def _write_cards(paths: Paths, text: str) -> None:
    paths.cards.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_CARD, DATA_SHEET):
        (paths.cards / name).write_text(f"{name}: {text}", encoding="utf-8")


def test_cards_are_attached_to_the_version_that_they_describe(workspace: Paths) -> None:
    digest = write_tiny_artifact(workspace.champion).digest
    assert not attach_cards(workspace)
    _write_cards(workspace, "first")
    assert not attach_cards(workspace)
    _register(workspace, digest)
    for text in ("first", "first", "second"):
        _write_cards(workspace, text)
        assert attach_cards(workspace)
        version = MlflowClient().get_model_version(MODEL, "1")
        assert version.description == f"{MODEL_CARD}: {text}"
        sheet = Path(download_artifacts(artifact_uri=f"{version.source}/cards/{DATA_SHEET}"))
        assert sheet.read_text(encoding="utf-8") == f"{DATA_SHEET}: {text}"


def test_cards_of_another_student_are_not_attached(workspace: Paths) -> None:
    write_tiny_artifact(workspace.champion)
    _write_cards(workspace, "text")
    _register(workspace, "0" * 64)
    assert not attach_cards(workspace)
    assert not MlflowClient().get_model_version(MODEL, "1").description


def test_outside_dvc_the_origin_names_no_runs(workspace: Paths) -> None:
    assert find_origin(workspace).runs == ()
