"""The device that graphs run on: requested, available and logged."""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import DeviceError
from postbias.params import load_params
from postbias.scoring import execution_providers as devices
from postbias.scoring.score_store import store_key
from postbias.scoring.scorer import Scorer
from postbias.student.encoder_settings import package_versions

OFFERED = onnxruntime.get_available_providers()
needs_no_cuda = pytest.mark.skipif("CUDAExecutionProvider" in OFFERED, reason="CUDA is offered")


@needs_no_cuda
def test_auto_chooses_an_available_device_and_logs_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = write_tiny_artifact(tmp_path / "student")
    with caplog.at_level(logging.INFO), Scorer(artifact, device="auto") as scorer:
        assert scorer.device in {"cpu", "coreml"}
        assert scorer.precision == ("int8" if scorer.device == "cpu" else "fp32")
    assert f"scoring on {scorer.device} (device: auto" in caplog.text


@needs_no_cuda
def test_an_unavailable_device_is_an_error_that_names_what_to_install(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path / "student")
    with pytest.raises(DeviceError, match=r"cuda cannot be used: .*supports.*onnxruntime-gpu"):
        Scorer(artifact, device="cuda")
    with pytest.raises(DeviceError, match="unknown device; saw 'tpu'; allowed: auto, coreml"):
        Scorer(artifact, device="tpu")  # type: ignore[arg-type]


def test_each_device_has_separate_entries_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scorer(write_tiny_artifact(tmp_path / "student")) as scorer:
        before = store_key(scorer)
        monkeypatch.setattr(scorer, "device", "cuda")
        assert store_key(scorer) != before


def test_every_device_falls_back_to_the_cpu_for_unsupported_operators() -> None:
    for device, provider in devices.PROVIDERS.items():
        names = [name for name, _ in devices.session_providers(device)]
        assert names[0] == provider
        assert names[-1] == "CPUExecutionProvider"


def test_a_session_never_moves_to_the_cpu_by_itself(tmp_path: Path) -> None:
    """By default, onnxruntime answers a failure of the device by running on the CPU."""
    with Scorer(write_tiny_artifact(tmp_path / "student")) as scorer:
        sessions = scorer.graphs._sessions.values()
        assert sessions
        assert not any(session._enable_fallback for session in sessions)


def test_a_run_that_fails_on_a_device_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = np.zeros((8, 3), np.float32)
    with Scorer(write_tiny_artifact(tmp_path / "student")) as scorer:
        monkeypatch.setattr(scorer.graphs, "device", "cuda")
        with pytest.raises(DeviceError, match=r"device cuda failed: .*choose device: cpu"):
            scorer.graphs._run("head", {"text": wrong})


def test_onnxruntime_has_a_version_under_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA, the package is `onnxruntime-gpu`, and there is no distribution `onnxruntime`."""

    def version_of(package: str) -> str:
        if package == "onnxruntime":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(devices, "version", version_of)
    train = load_params(Path(__file__).resolve().parents[2] / "params.yaml").train
    assert package_versions(train)["onnxruntime"] == onnxruntime.__version__
    assert devices.installed_version("numpy") == np.__version__
    with pytest.raises(PackageNotFoundError):
        devices.installed_version("no-such-package")


def test_loading_cuda_libraries_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for device in devices.PROVIDERS:
        devices.load_device_libraries(device)
    assert capsys.readouterr() == ("", "")
