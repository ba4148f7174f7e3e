"""The registry with a real MLflow database and a tiny student."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import ArtifactError, ChampionError
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact
from postbias.tracking import packaging as packing
from postbias.tracking.database import connect
from postbias.tracking.packaging import REQUIREMENTS, check_package, write_package
from postbias.tracking.registry import MODEL, champion_artifact, register_champion


def _new_run(paths: Paths) -> str:
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    run = MlflowClient().create_run(experiment_id, run_name="evaluate")
    return str(run.info.run_id)


def _build(paths: Paths, seed: int) -> Artifact:
    shutil.rmtree(paths.champion, ignore_errors=True)
    return write_tiny_artifact(paths.champion, seed=seed)


def _model_versions() -> list[Any]:
    from mlflow import MlflowClient

    return list(MlflowClient().search_model_versions(f"name = '{MODEL}'"))


def test_a_student_becomes_champion_once_and_the_registration_is_idempotent(
    workspace: Paths,
) -> None:
    artifact = _build(workspace, 1)
    run_id = _new_run(workspace)
    first = register_champion(workspace, run_id)
    again = register_champion(workspace, run_id)
    assert (first.version, first.is_new, first.previous) == (1, True, None)
    assert (again.version, again.is_new, again.previous) == (1, False, None)
    folder = champion_artifact(workspace)
    assert Artifact.open(folder).digest == artifact.digest
    requirements = (folder.parents[1] / "requirements.txt").read_text(encoding="utf-8")
    names = [line.partition("==")[0] for line in requirements.split()]
    assert sorted(names) == sorted(REQUIREMENTS)
    assert not list(folder.parents[1].rglob("*.pkl"))


def test_a_model_that_does_not_load_is_not_registered(
    workspace: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    _build(workspace, 1)
    run_id = _new_run(workspace)
    without = tuple(name for name in packing.MODULES if name != "scoring/graphs.py")
    monkeypatch.setattr(packing, "MODULES", without)
    with pytest.raises(ChampionError, match=r"cannot be loaded: .*postbias\.scoring\.graphs"):
        register_champion(workspace, run_id)
    assert _model_versions() == []
    with pytest.raises(ChampionError, match="no champion is registered"):
        champion_artifact(workspace)


def test_a_student_with_intervals_by_language_is_packaged_with_what_identifies_them(
    tmp_path: Path,
) -> None:
    artifact = write_tiny_artifact(tmp_path / "student", by_language=True)
    write_package(artifact, tmp_path / "model", precision="int8")
    check_package(artifact, tmp_path / "model", precision="int8")
    requirements = (tmp_path / "model" / "requirements.txt").read_text(encoding="utf-8")
    names = [line.partition("==")[0] for line in requirements.split()]
    assert sorted(names) == sorted([*REQUIREMENTS, "py3langid"])


def test_a_package_that_returns_other_scores_is_refused(tmp_path: Path) -> None:
    packed = write_tiny_artifact(tmp_path / "one", seed=1)
    other = write_tiny_artifact(tmp_path / "two", seed=2)
    write_package(packed, tmp_path / "model", precision="int8")
    with pytest.raises(ChampionError, match="return different scores"):
        check_package(other, tmp_path / "model", precision="int8")


def test_a_damaged_student_is_not_registered(workspace: Paths) -> None:
    artifact = _build(workspace, 1)
    (artifact.folder / "onnx" / "head.onnx").unlink()
    with pytest.raises(ArtifactError, match="incomplete"):
        register_champion(workspace, _new_run(workspace))


def test_another_precision_is_another_version_with_separate_files(workspace: Paths) -> None:
    _build(workspace, 1)
    run_id = _new_run(workspace)
    first = register_champion(workspace, run_id, precision="int8")
    folder = champion_artifact(workspace)
    second = register_champion(workspace, run_id, precision="fp32")
    assert (first.version, second.version, second.previous) == (1, 2, 1)
    assert champion_artifact(workspace) != folder
    assert register_champion(workspace, run_id, precision="int8").version == 1
    assert champion_artifact(workspace) == folder
