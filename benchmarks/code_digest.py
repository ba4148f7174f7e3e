"""Digest of code: tells which stored results of a benchmark are current."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


@cache
def code_digest(*names: str) -> str:
    """Digest modules of this folder, and the modules that determine the outputs of stages.

    Args:
        names: Names of files of this folder (`x.py`), and of stages in `dvc.yaml`, which lists
            their modules.

    Returns:
        SHA-256 (hex).
    """
    tree = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    files = {f"benchmarks/{name}" for name in names if name.endswith(".py")}
    for stage in (name for name in names if not name.endswith(".py")):
        files |= {dep for dep in tree["stages"][stage]["deps"] if dep.startswith("src/")}
    hasher = hashlib.sha256()
    for file in sorted(files):
        hasher.update(file.encode() + (ROOT / file).read_bytes())
    return hasher.hexdigest()
