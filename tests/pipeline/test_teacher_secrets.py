"""The annotate stage under DVC, MLflow and git: where keys, captions and URLs must not appear."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.teacher_corpus import ROOT, make_corpus, post, write_params
from tests.teacher_model import CONTENT, RATE, TRANSPORT
from tests.teacher_server import TeacherServer

from postbias.paths import Paths

KEY = "sk-a-very-secret-key"
CAPTION = "CAPTION-THAT-MUST-NOT-LEAK"

_DVC = """
stages:
  annotate:
    cmd: {python} stages/annotate.py
    deps: [build/sample/posts.parquet, data/posts, stages/annotate.py]
    params: [seed, annotate]
    outs: [build/labels.parquet]
    metrics: [{{reports/labels.json: {{cache: false}}}}]
"""


@pytest.fixture
def repository(tmp_path: Path, mlruns_template: Path) -> Paths:
    posts = [post(i, caption=f"{CAPTION} {i} @name") for i in range(80)]
    paths = make_corpus(tmp_path, posts)
    (tmp_path / "rubrics").unlink()
    shutil.copytree(ROOT / "rubrics", tmp_path / "rubrics")
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "stages" / "annotate.py", tmp_path / "stages")
    shutil.copytree(mlruns_template, tmp_path / "mlruns")
    (tmp_path / "dvc.yaml").write_text(_DVC.format(python=sys.executable))
    (tmp_path / ".gitignore").write_text("/build/\n/store/\n/mlruns/\n/data/\n")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    return paths


def repro(root: Path, url: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}
    command = [sys.executable, "-m", "dvc", "repro", "-v"]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def read_all_files(root: Path) -> list[tuple[str, bytes]]:
    """Read all files outside `data`, and the members of zip archives."""
    contents = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.is_relative_to(root / "data"):
            continue
        contents.append((str(path.relative_to(root)), path.read_bytes()))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [
                    (f"{path.name}:{name}", archive.read(name)) for name in archive.namelist()
                ]
    return contents


@pytest.mark.slow
def test_no_key_caption_or_address_is_in_logs_mlflow_dvc_reports_or_the_store(
    repository: Paths,
) -> None:
    root = repository.root
    faults = (*TRANSPORT, *CONTENT, *RATE, "400", "403")
    limits = {"timeout_s": 0.8, "concurrency": 32}
    prices = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}
    with TeacherServer(fault_rate=0.3, faults=faults, echo=True) as server:
        write_params(root, limits=limits, cost=prices)
        completed = repro(root, server.url)
        assert completed.returncode == 0, completed.stderr
        server.config.key = "another"
        write_params(root, limits=limits, cost=prices, model="test-vl-2")
        refused = repro(root, server.url)
        assert refused.returncode != 0
        address = server.url.removeprefix("http://").removesuffix("/v1")
    texts = read_all_files(root)
    for name, run in (("completed", completed), ("refused", refused)):
        texts.append((name, (run.stdout + run.stderr).encode()))
    assert any(name.startswith("mlruns/") for name, _ in texts)
    assert any(name == "dvc.lock" for name, _ in texts)
    for private in (KEY, CAPTION, address):
        assert [name for name, data in texts if private.encode() in data] == [], private
