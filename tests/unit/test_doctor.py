"""`postbias doctor`: each check detects what is missing, and shows no secret."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.conftest import ROOT
from tests.small_corpus import write_small_corpus
from tests.small_repo import set_params

from postbias.cli import main
from postbias.paths import Paths
from postbias.reproduce.doctor import Finding, examine

SHOWN_NEVER = "sk-shown-never"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A repository with everything that needs neither DVC nor MLflow."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "rubrics", tmp_path / "rubrics")
    write_small_corpus(tmp_path / "data", 4)
    set_params(tmp_path, {"threads": 1})
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Paths(tmp_path, tmp_path)


def _look(paths: Paths) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(paths)}


def test_missing_optional_parts_are_warnings_and_exit_code_0(paths: Paths) -> None:
    found = _look(paths)
    assert {f.status for f in found.values()} == {"ok", "warning"}
    assert (found["data"].status, found["MLflow"].status) == ("warning", "warning")
    assert all(f.do for f in found.values() if f.status != "ok")
    assert not paths.mlruns.exists()
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [str(finding) for finding in found.values()]


def test_missing_required_parts_are_errors_and_exit_code_1(paths: Paths) -> None:
    shutil.rmtree(paths.data)
    shutil.rmtree(paths.root / "rubrics")
    found = _look(paths)
    assert {n for n, f in found.items() if f.status == "missing"} == {"data", "rubric", "labels"}
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1


def test_wrong_params_are_named_and_checks_that_depend_on_them_are_skipped(paths: Paths) -> None:
    set_params(paths.root, {"train.epochs": 0})
    found = _look(paths)
    assert "train.epochs" in found["params.yaml"].seen
    assert found["params.yaml"].status == "missing"
    assert "rubric" not in found


def test_an_endpoint_is_checked_without_showing_key_or_password(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(paths.root, {"annotate.teacher": "openai", "annotate.endpoint.model": "m"})
    assert _look(paths)["OPENAI_API_KEY"].status == "missing"
    monkeypatch.setenv("OPENAI_API_KEY", SHOWN_NEVER)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://me:{SHOWN_NEVER}@127.0.0.1:{port}/v1")
        found = _look(paths)
        assert found["endpoint"].seen == f"127.0.0.1:{port} accepts connections"
    down = _look(paths)["endpoint"]
    assert (down.status, "start the server" in down.do) == ("missing", True)
    assert SHOWN_NEVER not in "".join(map(str, [*found.values(), down]))
    for wrong in ("localhost:8000", "http://host:port"):
        monkeypatch.setenv("OPENAI_BASE_URL", wrong)
        assert "not an HTTP URL" in _look(paths)["endpoint"].seen


def test_weights_are_found_where_the_train_stage_looks_for_them(paths: Paths) -> None:
    set_params(paths.root, {"train.text_encoder": "some/model", "train.image_weights": "imagenet"})
    found = _look(paths)
    assert found["text encoder"].status == found["image encoder"].status == "warning"
    snapshot = paths.root / "cache" / "models--some--model" / "snapshots" / "1"
    checkpoints = paths.root / "cache" / "hub" / "checkpoints"
    for file in (snapshot / "config.json", checkpoints / "resnet18-1.pth"):
        file.parent.mkdir(parents=True)
        file.touch()
    found = _look(paths)
    assert found["text encoder"].status == found["image encoder"].status == "ok"
    (paths.root / "mine").mkdir()
    (paths.root / "mine" / "config.json").touch()
    set_params(paths.root, {"train.text_encoder": "mine", "train.image_weights": "w.safetensors"})
    found = _look(paths)
    assert (found["text encoder"].status, found["image encoder"].status) == ("ok", "missing")


def test_other_versions_than_the_pinned_ones_are_named(paths: Paths) -> None:
    lock = paths.root / "requirements.lock"
    lock.write_bytes(
        b"# \xff\nclick==0.1 \\\n    --hash=sha256:0\nnumpy==0.1 ; python_version > '4'\n"
    )
    found = _look(paths)["packages"]
    assert found.status == "warning"
    assert "click" in found.seen
    assert "instead of 0.1" in found.seen


def test_more_threads_than_cores_is_a_warning(paths: Paths) -> None:
    set_params(paths.root, {"threads": 4096})
    assert _look(paths)["threads"].status == "warning"
