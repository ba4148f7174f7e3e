"""Each stage has one run, each error one line, and reports are deterministic."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_command

from postbias.errors import CorpusError, TrackingError
from postbias.json_files import write_json
from postbias.params import flatten_params
from postbias.paths import Paths
from postbias.tracking.database import connect, database, tracking_uri
from postbias.tracking.runs import stage_run


def _only_run(paths: Paths) -> Any:
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    (run,) = MlflowClient().search_runs([experiment_id])
    return run


def _names(paths: Paths, run: Any) -> set[str]:
    folder = paths.mlruns / "artifacts" / str(run.info.run_id) / "artifacts"
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_stage_outside_dvc_logs_all_params(
    workspace: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@fusion")
    with stage_run("train") as run:
        assert (run.name, run.modality, run.paths) == ("train@fusion", "fusion", workspace)
        run.log_metrics({"loss": 2.0, "nothing": math.nan}, step=0)
        run.log_metrics({"loss": 1.0}, step=1)
        run.set_tags({"why": "test"})
    done = _only_run(workspace)
    assert (done.info.run_name, done.info.status) == ("train@fusion", "FINISHED")
    assert done.data.tags["stage"] == "train"
    assert done.data.tags["modality"] == "fusion"
    assert done.data.tags["why"] == "test"
    everything = {key: str(value) for key, value in flatten_params(run.params).items()}
    assert done.data.params == everything | {"modality": "fusion"}
    assert done.data.metrics["loss"] == 1.0
    assert "nothing" not in done.data.metrics
    assert done.data.metrics["cost.peak_rss_mb"] > 10


def test_images_texts_and_tables_are_stored_with_the_run(workspace: Paths) -> None:
    with stage_run("evaluate") as run:
        run.log_image(b"png", "chart.png")
        run.log_text("# words", "words.md")
        run.log_table([{"a": 1}, {"a": 2}], "table.json")
    assert _names(workspace, _only_run(workspace)) == {"chart.png", "words.md", "table.json"}


def test_each_of_several_seeds_has_a_run_under_that_of_the_stage(workspace: Paths) -> None:
    text = workspace.params.read_text(encoding="utf-8").replace("  seeds: 1\n", "  seeds: 2\n")
    workspace.params.write_text(text, encoding="utf-8")
    with stage_run("train@text") as run:
        for seed in (7, 8):
            with run.seed_log(seed) as log:
                log(1, {"valid_mae": float(seed)})
    experiment_id = connect(workspace)
    from mlflow import MlflowClient

    runs = {one.info.run_name: one.data for one in MlflowClient().search_runs([experiment_id])}
    assert set(runs) == {"train@text", "train@text seed 7", "train@text seed 8"}
    for seed in (7, 8):
        one = runs[f"train@text seed {seed}"]
        assert one.tags["mlflow.parentRunId"] == run.run_id
        assert (one.tags["seed"], one.tags["modality"]) == (str(seed), "text")
        assert one.metrics == {"valid_mae": seed}


def test_a_run_logs_system_metrics(workspace: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with stage_run("split"):
        time.sleep(0.5)
    metrics = _only_run(workspace).data.metrics
    assert metrics["system/system_memory_usage_megabytes"] > 0
    assert "system/cpu_utilization_percentage" in metrics


def test_an_auxiliary_process_has_no_run(workspace: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with stage_run("train@text") as run:
        assert not run.is_first
        assert run.params.train.seeds == 1
    monkeypatch.setenv("RANK", "0")
    with stage_run("train@text") as run:
        assert run.is_first
    assert _only_run(workspace).info.run_id == run.run_id


def test_an_error_is_one_line_and_a_failed_run(
    workspace: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, stage_run("split"):
        raise CorpusError("too few labels", seen=3, allowed="at least 50", do="label more")
    assert caught.value.code == 1
    line = "split: too few labels; saw 3; allowed: at least 50; label more\n"
    assert capsys.readouterr().err == line
    run = _only_run(workspace)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("too few labels")


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_stopped_stage_is_a_killed_run(workspace: Paths, signum: int, code: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, stage_run("infer"):
        os.kill(os.getpid(), signum)
    assert caught.value.code == code
    assert _only_run(workspace).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_full_disk_is_one_line(workspace: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, stage_run("infer"):
        raise OSError(28, os.strerror(28), "build/scores/x.parquet")
    assert caught.value.code == 1
    line = "infer: cannot write build/scores/x.parquet: No space left on device\n"
    assert capsys.readouterr().err == line
    assert _only_run(workspace).info.status == "FAILED"


def test_an_unexpected_exception_keeps_its_traceback(workspace: Paths) -> None:
    with pytest.raises(ZeroDivisionError), stage_run("infer"):
        raise ZeroDivisionError
    assert _only_run(workspace).info.status == "FAILED"


def test_invalid_params_stop_the_stage_before_a_run_is_created(
    workspace: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.params.write_text("seed: one\n", encoding="utf-8")
    with pytest.raises(SystemExit) as caught, stage_run("sample"):
        pass
    assert caught.value.code == 1
    assert "params.yaml has" in capsys.readouterr().err


def test_outside_git_and_dvc_a_run_has_no_such_tags(workspace: Paths) -> None:
    with stage_run("sample"):
        pass
    tags = _only_run(workspace).data.tags
    assert not [name for name in tags if name.startswith(("git.", "dvc."))]


def test_outputs_of_the_pipeline_do_not_make_a_checkout_dirty(workspace: Paths) -> None:
    from postbias.tracking.dvc_records import git_state

    root = workspace.root
    (root / "reports").mkdir()
    (root / "dvc.lock").write_text("a", encoding="utf-8")
    (root / "reports" / "x.json").write_text("a", encoding="utf-8")
    run_command(root, "git", "init", "-q")
    assert git_state(workspace) == {}
    run_command(root, "git", "add", "params.yaml", "dvc.lock", "reports")
    run_command(root, "git", "commit", "-q", "-m", "x")
    (root / "dvc.lock").write_text("b", encoding="utf-8")
    (root / "reports" / "x.json").write_text("b", encoding="utf-8")
    commit = run_command(root, "git", "rev-parse", "HEAD").stdout.strip()
    assert git_state(workspace) == {"git.commit": commit, "git.dirty": "false"}
    workspace.params.write_text("b", encoding="utf-8")
    assert git_state(workspace)["git.dirty"] == "true"


def test_runs_are_logged_to_the_configured_server(
    workspace: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(workspace) == f"sqlite:///{workspace.root}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(workspace) == "http://127.0.0.1:9"


def test_an_unreadable_database_is_one_clear_line(workspace: Paths) -> None:
    database(workspace).write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"MLflow cannot open.*postbias sync"):
        connect(workspace)


def test_a_deleted_experiment_is_restored(workspace: Paths) -> None:
    experiment_id = connect(workspace)
    from mlflow import MlflowClient

    MlflowClient().delete_experiment(experiment_id)
    with stage_run("sample"):
        pass
    assert _only_run(workspace).info.status == "FINISHED"


def test_a_database_that_becomes_unreachable_is_one_line(
    workspace: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, stage_run("sample"):
        database(workspace).write_bytes(b"this is no database" * 10_000)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("sample: MLflow cannot record this run: ")


def test_processes_that_start_together_create_the_database_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from postbias.tracking.database import connect;"
        "from postbias.paths import Paths; print(connect(Paths(*[Path(sys.argv[1])] * 2)))"
    )
    command = (sys.executable, "-W", "ignore", "-c", code, str(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda _: run_command(tmp_path, *command), range(2)))
    assert len({end.stdout for end in ends}) == 1


def test_a_report_is_sorted_rounded_and_ends_in_a_newline(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "x.json"
    content = {"b": np.float64(1.23456789), "a": [np.int64(3), math.nan, None, True, "ä"]}
    write_json(file, content)
    text = file.read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["a", "b"]
    assert json.loads(text) == {"a": [3, None, None, True, "ä"], "b": 1.23457}
    assert text.endswith("}\n")
    write_json(file, {"b": np.array([1.0, 2.0]), 1: (0.1 + 0.2,)})
    assert json.loads(file.read_text(encoding="utf-8")) == {"1": [0.3], "b": [1.0, 2.0]}
    assert [entry.name for entry in file.parent.iterdir()] == ["x.json"]


def test_a_report_that_cannot_be_written_leaves_the_old_one_intact(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": 1}
