"""`sync` with a real DVC pipeline, a real git clone and a real MLflow database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from tests.pipeline.mini_pipeline import ROOT, commit, set_param, write_mini_pipeline
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import ChampionError, TrackingError
from postbias.paths import Paths
from postbias.report.findings import COMPARISON_URL
from postbias.scoring.artifact import Artifact
from postbias.tracking.database import connect, database
from postbias.tracking.dvc_records import locked_records
from postbias.tracking.registry import ALIAS, MODEL, champion_artifact, register_champion
from postbias.tracking.students_view import saved_view_url, view_url
from postbias.tracking.sync import sync

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlruns_template: Path) -> Path:
    """A repository whose pipeline has run once, committed and pushed."""
    from tests.conftest import clean_environment, run_command

    root = tmp_path_factory.mktemp("sync") / "home"
    root.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        write_mini_pipeline(root, run_command)
        shutil.copytree(mlruns_template, root / "mlruns")
        run_command(root, "dvc", "repro", PYTHONPATH=str(ROOT))
        commit(root, run_command)
        run_command(root, "dvc", "push", "-q")
    return root


@pytest.fixture
def copied(home: Path, workspace: Paths) -> Paths:
    """A copy of it in another folder: the paths in its mlruns/ are no longer valid."""
    shutil.rmtree(workspace.mlruns)
    shutil.copytree(home, workspace.root, symlinks=True, dirs_exist_ok=True)
    return workspace


def _runs(paths: Paths) -> list[Any]:
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    found = MlflowClient().search_runs([experiment_id], order_by=["attributes.start_time"])
    return list(found)


def _versions(paths: Paths) -> dict[int, list[str]]:
    connect(paths)
    from mlflow import MlflowClient

    client = MlflowClient()
    return {
        int(v.version): client.get_model_version(MODEL, v.version).aliases
        for v in client.search_model_versions(f"name = '{MODEL}'")
    }


def test_a_run_has_the_params_of_its_stage_and_no_others(copied: Paths) -> None:
    params = {run.info.run_name: run.data.params for run in _runs(copied)}
    assert params == {
        "train@text": {"modality": "text", "seed": "20260521", "train.modalities": "text"},
        "evaluate": {"infer.precision": "int8"},
    }


def test_the_saved_view_shows_the_evaluated_student(copied: Paths) -> None:
    experiment_id = connect(copied)
    from mlflow import MlflowClient

    (trained,) = [run for run in _runs(copied) if run.info.run_name == "train@text"]
    experiment = MlflowClient().get_experiment(experiment_id)
    url = saved_view_url(copied, port=5055)
    assert url is not None
    assert url.startswith(f"http://127.0.0.1:5055/#/experiments/{experiment_id}/runs?")
    assert view_url("1") == COMPARISON_URL  # the link in the report
    state = json.loads(experiment.tags["mlflow.sharedViewState." + url.rpartition("=")[2]])
    found = MlflowClient().search_runs([experiment_id], state["searchFilter"])
    assert [run.info.run_id for run in found] == [trained.info.run_id]
    assert "metrics.`test.bias.mae`" in state["selectedColumns"]
    assert "make ui" in experiment.tags["mlflow.note.content"]


def test_a_run_carries_the_digests_that_dvc_lock_records(copied: Paths) -> None:
    runs = {run.info.run_name: run for run in _runs(copied)}
    assert set(runs) == {"train@text", "evaluate"}
    for record in locked_records(copied):
        tags, metrics = runs[record.name].data.tags, runs[record.name].data.metrics
        assert tags["dvc.identity"] == record.identity
        for path, digest in record.deps.items():
            assert tags[f"dvc.deps.{path}"] == digest
        for path, digest in record.outs.items():
            assert tags[f"dvc.outs.{path}"] == digest
        assert tags["git.dirty"] == "false"
        assert "cost.cpu_s" in metrics
    train = runs["train@text"].data
    assert train.tags["modality"] == "text"
    assert (train.metrics["valid.mae"], train.metrics["loss"]) == (1.5, 1.0)
    assert train.metrics["test.bias.mae"] == 0.75  # the test metric, beside the training metrics
    assert train.params["train.modalities"] == "text"


def test_after_a_repro_sync_has_nothing_to_restore(copied: Paths) -> None:
    summary = sync(copied)
    assert summary.restored == ()
    assert summary.registration is not None
    assert not summary.registration.is_new
    assert _versions(copied) == {1: [ALIAS]}
    assert sync(copied).is_unchanged


def test_a_moved_checkout_still_has_its_champion(copied: Paths) -> None:
    folder = champion_artifact(copied)
    assert folder.is_relative_to(copied.root)


def test_sync_restores_runs_and_champion_in_a_clone(
    home: Path, tmp_path: Path, workspace: Paths, run_in: Run
) -> None:
    root = tmp_path / "clone"
    run_in(tmp_path, "git", "clone", "-q", str(home), str(root))
    shutil.copytree(workspace.mlruns, root / "mlruns")
    paths = Paths(root, root)
    assert set(sync(paths).restored) == {"train@text", "evaluate"}
    with pytest.raises(ChampionError, match="there is no build/champion"):
        champion_artifact(paths)
    run_in(root, "dvc", "pull", "-q")
    with pytest.raises(ChampionError, match=r"no champion is registered.*postbias sync"):
        champion_artifact(paths)
    registration = sync(paths).registration
    assert registration is not None
    assert registration.is_new
    artifact = Artifact.open(champion_artifact(paths))
    assert artifact.digest == Artifact.open(paths.champion).digest
    restored = {run.info.run_name: run.data for run in _runs(paths)}
    original = {run.info.run_name: run.data for run in _runs(Paths(home, home))}
    for name, data in restored.items():
        assert data.tags["restored"] == "true"
        costs = {key for key in original[name].metrics if key.startswith(("cost.", "system/"))}
        expected = {k: v for k, v in original[name].metrics.items() if k not in costs}
        assert data.metrics == expected
        assert data.params == original[name].params


def test_new_params_create_a_version_and_the_old_params_restore_the_old_version(
    copied: Paths, run_in: Run
) -> None:
    set_param(copied.root, "seed:", "seed: 7")
    run_in(copied.root, "dvc", "repro", PYTHONPATH=str(ROOT))
    assert sync(copied).restored == ()
    assert _versions(copied) == {1: [], 2: [ALIAS]}
    run_in(copied.root, "git", "checkout", "-q", ".")
    run_in(copied.root, "dvc", "checkout", "-q")
    with pytest.raises(ChampionError, match="build/champion is another"):
        champion_artifact(copied)
    summary = sync(copied)
    assert summary.restored == ()
    assert summary.registration is not None
    assert summary.registration.previous == 2
    assert _versions(copied) == {1: [ALIAS], 2: []}
    promotions = list((copied.mlruns / "artifacts").rglob("promotions/*.json"))
    record = json.loads(max(promotions, key=lambda file: file.stat().st_mtime_ns).read_text())
    assert record["instead_of"]["version"] == 2
    assert record["beat"] == {"text_vs_constant": 1}


def test_lost_model_files_are_recreated_without_a_new_version(copied: Paths) -> None:
    folder = champion_artifact(copied)
    shutil.rmtree(folder)
    with pytest.raises(ChampionError, match=r"missing or damaged.*postbias sync"):
        champion_artifact(copied)
    (copied.mlruns / ".synced").unlink(missing_ok=True)
    sync(copied)
    assert _versions(copied) == {1: [ALIAS]}
    assert champion_artifact(copied) == folder


def test_a_champion_that_differs_from_dvc_lock_is_not_registered(copied: Paths) -> None:
    database(copied).unlink()
    (copied.champion / "student.json").write_text("{}", encoding="utf-8")
    summary = sync(copied)
    assert summary.registration is None
    assert _versions(copied) == {}


@pytest.mark.parametrize(
    "lock", ["schema: '2.0'\nstages: [", "schema: '2.0'\nstages: 7\n", "nonsense", "\x00"]
)
def test_a_damaged_dvc_lock_is_one_clear_line(copied: Paths, lock: str) -> None:
    (copied.root / "dvc.lock").write_text(lock, encoding="utf-8")
    with pytest.raises(TrackingError, match=r"DVC cannot read.*git checkout dvc\.lock") as caught:
        sync(copied)
    assert "\n" not in str(caught.value)


def test_an_experiment_in_a_temporary_directory_registers_but_does_not_move_the_alias(
    copied: Paths, tmp_path: Path
) -> None:
    before = champion_artifact(copied)
    tree = Paths(tmp_path / "tree", copied.persistent_root)
    digest = write_tiny_artifact(tree.champion, "text", seed=9).digest
    run_id = _runs(copied)[-1].info.run_id
    assert not register_champion(tree, run_id).is_champion
    assert _versions(copied) == {1: [ALIAS], 2: []}
    assert Artifact.open(champion_artifact(tree)).digest == digest
    assert champion_artifact(copied) == before


@pytest.mark.slow
def test_a_queued_experiment_is_recorded_in_the_checkout_that_queued_it(
    copied: Paths, run_in: Run
) -> None:
    run_in(copied.root, "dvc", "exp", "run", "--queue", "-S", "seed=5")
    run_in(copied.root, "dvc", "exp", "run", "--run-all", PYTHONPATH=str(ROOT))
    runs = _runs(copied)
    assert [run.info.run_name for run in runs] == ["train@text", "evaluate"] * 2
    trained = [run for run in runs[2:] if run.info.run_name == "train@text"]
    assert [run.data.params["seed"] for run in trained] == ["5"]
    assert _versions(copied) == {1: [ALIAS], 2: []}
    name = run_in(copied.root, "dvc", "exp", "list", "--name-only").stdout.split()[0]
    assert name in run_in(copied.root, "dvc", "exp", "show", "--csv").stdout
    run_in(copied.root, "dvc", "exp", "apply", name)
    summary = sync(copied)
    assert summary.restored == ()
    assert _versions(copied) == {1: [], 2: [ALIAS]}
