"""A complete small repository: the real stages and package, git, DVC, and a corpus in a remote.

Only its size differs from the real one, so that the pipeline runs in well under a minute: one text
student with one layer, a few hundred posts, and a gate that so small a student always passes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT, run_command
from tests.small_corpus import write_small_corpus

_COPIED = (
    ".dvcignore", ".gitignore", "brands", "dvc.yaml", "full_students", "ratings", "rubrics",
    "samples", "src", "stages",
)  # fmt: skip

#: Values of params.yaml that differ, by dotted key.
SMALL: Mapping[str, object] = {
    "threads": 1,
    "train.modalities": ["text"],
    "train.text_scratch": {"vocab_size": 320, "hidden": 16, "layers": 1, "heads": 2},
    "train.image_size": 32,
    "train.max_tokens": 24,
    "train.head_hidden": 16,
    "train.epochs": 2,
    "train.batch_size": 16,
    "train.lr_text": 3e-3,
    "train.lr_head": 3e-3,
    "cascade.share": None,
    "variants.teachers": [],  # of the demo
    "rating.file": None,
    "evaluate.bootstrap": 100,
    "evaluate.gate": {
        "min_spread": 0.0,
        "max_int8_loss": 1.0,
        "alpha": 0.9999,
        "coverage_tolerance": 0.9,
        "max_swap_change": 1.0,
        "max_repeat_change": 1.0,
    },
}


def make_small_repo(root: Path, *, n_posts: int = 240, **params: object) -> Path:
    """Write and commit the repository, and push its corpus to the remote `demo`; run no stage.

    Args:
        root: A folder that does not exist yet.
        n_posts: Number of posts.
        params: Further values, by dotted key with `__` for the dot.

    Returns:
        The folder.
    """
    root.mkdir(parents=True)
    for name in _COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, root)
    shutil.copy(ROOT / "params.yaml", root)
    set_params(root, {**SMALL, **{key.replace("__", "."): value for key, value in params.items()}})
    run_command(root, "git", "init", "-q", "-b", "main")
    run_command(root, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots", dirs_exist_ok=True)
    write_small_corpus(root / "data", n_posts)
    add_data(root)
    commit(root)
    return root


def add_data(root: Path) -> None:
    """Track `data/` with DVC, bind it to the remote `demo` and push it there."""
    run_command(root, "dvc", "add", "-q", "data")
    file = root / "data.dvc"
    text = file.read_text(encoding="utf-8")
    if "remote: demo" not in text:
        file.write_text(text.rstrip() + "\n  remote: demo\n", encoding="utf-8")
    run_command(root, "dvc", "push", "-q", "-r", "demo", "data.dvc")


def commit(root: Path) -> None:
    """Commit everything."""
    run_command(root, "git", "add", "-A")
    run_command(root, "git", "commit", "-q", "-m", "state")


def set_params(root: Path, values: Mapping[str, object]) -> None:
    """Set values of params.yaml by dotted key."""
    yaml = YAML()
    file = root / "params.yaml"
    tree = yaml.load(file.read_text(encoding="utf-8"))
    for dotted, value in values.items():
        *groups, key = dotted.split(".")
        node: Any = tree
        for group in groups:
            node = node[group]
        node[key] = value
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(tree, out)
