"""`benchmarks/gpu.py` runs on a CPU, and with no more packages than it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks import gpu
from benchmarks.gpu_corpus import TINY, read_params

from postbias.params import load_params

ROOT = Path(__file__).resolve().parents[2]

#: Packages that postbias needs elsewhere, and that a machine with a GPU may lack.
ABSENT = (
    "click", "dvc", "jinja2", "mlflow", "mlflow_skinny", "openai", "pydantic", "pydantic_core",
    "ray", "ruamel", "sklearn", "sqlalchemy", "timm",
)  # fmt: skip


@pytest.mark.timeout(1800)  # half a minute of CPU time, which a busy machine may stretch
def test_every_part_runs_on_a_cpu_without_the_packages_that_other_stages_need(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n", encoding="utf-8"
    )
    report = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--tiny", "--out", report],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(report.read_text(encoding="utf-8"))
    parts, conclusions = content["parts"], content["conclusions"]
    assert list(parts) == sorted(gpu.PARTS)
    assert parts["scoring"]["torch_decoded_on_both"]["posts_per_s"] > 0
    assert parts["equality"]["scores"]["fp32"]["max_abs"] <= 1e-3  # of their standard deviation
    assert set(conclusions["workers"]) == {"1", "2"}
    assert conclusions["training"]["fp32_curve"]["passed"]
    if parts["data"]["machine"]["gpu"] == "no CUDA device":
        assert done.stdout.count("no CUDA device") >= 5
        # The same training on the same device: the comparison itself adds no difference.
        assert conclusions["training"]["fp32_curve"]["largest_relative_difference"] == 0
        assert conclusions["goals"] == {"not judged": "no CUDA device"}


def test_params_without_pydantic_are_those_of_the_full_student(tmp_path: Path) -> None:
    def as_dict(group: Any) -> Any:
        if isinstance(group, SimpleNamespace):
            return {name: as_dict(value) for name, value in vars(group).items()}
        return group

    seen = as_dict(read_params(tmp_path, TINY))
    expected = load_params(ROOT / "params" / "resnet18-distilbert.yaml").model_dump(mode="json")
    ours = ("text_encoder", "image_weights", "image_size")
    for group in (seen["train"], expected["train"]):
        for name in ours:
            group.pop(name)
    assert seen["train"] == expected["train"]
    assert seen["images"] == expected["images"]


def test_a_missing_package_stops_the_benchmark_with_the_wheels_to_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "REQUIRED", {"no_such_module": "no-such-package", "torch": "torch"})
    with pytest.raises(SystemExit, match=r"missing Python packages: no-such-package; .*pip downl"):
        gpu.check_packages()


def test_curves_that_differ_by_more_than_allowed_fail() -> None:
    reference = [{"step": 1, "train_loss": 1.0, "valid_loss": 2.0}]
    close = [{"step": 1, "train_loss": 1.0, "valid_loss": 2.02}]
    assert gpu.compare_curves(close, reference, 0.02)["passed"]
    assert not gpu.compare_curves(close, reference, 0.005)["passed"]
    assert gpu.has_failed({"parts": {}, "conclusions": {"equality": {"passed": False}}})
    assert gpu.has_failed({"parts": {"data": {"error": "stopped"}}, "conclusions": {}})
    assert not gpu.has_failed({"parts": {"data": {}}, "conclusions": {}})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork, from Python 3.12
def test_a_part_that_fails_or_takes_too_long_is_reported(tmp_path: Path) -> None:
    failed = gpu.run_part("scoring", tmp_path, True, "fork", 100)
    assert failed == {"error": "exit code 1; see the traceback above"}
    assert "time is up" in gpu.run_part("scoring", tmp_path, False, "fork", 1)["error"]
