"""Importing has no side effects and does not load heavy packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image
from tests.conftest import ROOT
from tests.tiny_artifact import write_tiny_artifact

_EVERYTHING = """
import importlib, json, logging, os, sys
import postbias
before = dict(os.environ)
for name in sys.argv[1:]:
    importlib.import_module(name)
changed = sorted(k for k in set(os.environ) | set(before) if os.environ.get(k) != before.get(k))
handlers = [n for n, l in logging.root.manager.loggerDict.items()
            if n.startswith("postbias") and getattr(l, "handlers", None)]
print(json.dumps({"env": changed, "handlers": handlers, "files": os.listdir(".")}))
"""

_LIGHT = """
import json, sys
import postbias, postbias.cli
from click.testing import CliRunner
done = CliRunner().invoke(postbias.cli.main, ["--help"])
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": done.exit_code, "modules": modules}))
"""

_SCORE = """
import json, sys
import postbias.cli
from click.testing import CliRunner
done = CliRunner().invoke(postbias.cli.main, ["score-one", *sys.argv[1:]])
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": done.exit_code, "output": done.output, "modules": modules}))
"""

_HEAVY = {
    "datasketch", "dvc", "matplotlib", "mlflow", "onnxruntime", "openai", "pandas", "PIL",
    "pyarrow", "pydantic", "scipy", "sklearn", "torch", "torchvision", "transformers",
}  # fmt: skip


def _python(folder: Path, code: str, *arguments: str) -> dict[str, object]:
    home, empty = (
        folder / "home",
        folder / "empty",
    )  # other packages write caches to the home directory
    home.mkdir()
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=empty,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def _modules() -> list[str]:
    source = ROOT / "src"
    files = sorted((source / "postbias").rglob("*.py"))
    parts = [file.relative_to(source).with_suffix("").parts for file in files]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]


def test_importing_a_module_writes_nothing_and_configures_nothing(tmp_path: Path) -> None:
    modules = [name for name in _modules() if name != "postbias.__main__"]
    seen = _python(tmp_path, _EVERYTHING, *modules)
    assert seen["files"] == []
    assert seen["handlers"] == []
    ours = ("POSTBIAS", "MLFLOW_TRACKING", "MLFLOW_REGISTRY", "OMP_", "CUDA_", "PYTHONHASHSEED")
    assert [name for name in seen["env"] if name.startswith(ours)] == []  # type: ignore[attr-defined]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    seen = _python(tmp_path, _LIGHT)
    assert seen["code"] == 0
    assert _HEAVY.isdisjoint(seen["modules"])  # type: ignore[arg-type]


def test_scoring_one_post_imports_only_what_computes_it(tmp_path: Path) -> None:
    write_tiny_artifact(tmp_path / "student")
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "a.png")
    arguments = ["--model", str(tmp_path / "student"), "--caption", "hello", "--json"]
    seen = _python(tmp_path, _SCORE, *arguments, "--image", str(tmp_path / "a.png"))
    assert seen["code"] == 0, seen["output"]
    assert json.loads(str(seen["output"]))["modalities"] == "image+text"
    needed = {"onnxruntime", "PIL"}
    assert needed <= set(seen["modules"])  # type: ignore[call-overload]
    assert (_HEAVY - needed).isdisjoint(seen["modules"])  # type: ignore[arg-type]
