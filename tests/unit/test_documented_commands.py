"""The documented steps that replace the demo by own posts, in a clone with and without `data`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _read_steps() -> list[str]:
    """Read the commands of the first two steps, with the tools of the clone replaced."""
    text = (DOCS / "your-own-posts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[:2]
    lines = [line for block in blocks for line in block.splitlines()]
    tools = {
        ".venv/bin/dvc remove data.dvc": "rm data.dvc",
        ".venv/bin/dvc add data": "touch data.dvc",
        ".venv/bin/postbias import instaloader ~/export data": "mkdir data && touch data/own",
    }
    return [tools.get(line, line) for line in lines]


@pytest.mark.parametrize("has_data", [False, True])
def test_own_posts_replace_the_demo_in_a_clone(tmp_path: Path, has_data: bool) -> None:
    (tmp_path / "data.dvc").touch()
    if has_data:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "demo").touch()
    script = "set -e\n" + "\n".join(_read_steps())
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    demo = {"data-demo", "data-demo/demo"} if has_data else set()
    assert names == {"data", "data/own", "data.dvc"} | demo


def test_no_page_moves_data_that_may_not_be_there() -> None:
    pages = {page.name: page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")}
    unsafe = re.compile(r"^\s*mv data ", re.MULTILINE)
    assert [name for name, text in pages.items() if unsafe.search(text)] == []
