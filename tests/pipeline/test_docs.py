"""Generated pages are up to date, and files, links and commands in the docs exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

from postbias.cli import main

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def _generate(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_pages_match_the_code() -> None:
    done = _generate("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named_and_can_be_regenerated(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("docs/generate.py", "docs/cli.md", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "docs" / "params.md").write_text("old\n", encoding="utf-8")
    stale = _generate("--check", root=tmp_path)
    assert stale.returncode == 1
    assert stale.stderr == "docs/params.md is out of date; run `make docs` and commit it\n"
    assert _generate(root=tmp_path).returncode == 0
    assert _generate("--check", root=tmp_path).returncode == 0


def test_a_wrong_argument_is_a_usage_error() -> None:
    assert _generate("--wrong").returncode == 2


def _blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```.*?```", page.read_text(encoding="utf-8"), re.DOTALL))


def test_the_files_in_the_readme_tree_exist() -> None:
    (tree,) = re.findall(
        r"```\n(dvc\.yaml .*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    names = [line.split()[0] for line in tree.splitlines()]
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    blocks = _blocks(page)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    made = re.findall(r"^\s*make (?:[A-Z]+=\S+ )*([a-z]+)", blocks, re.MULTILINE)
    assert set(made) <= targets
    commands = re.findall(r"^\s*(?:\.venv/bin/)?postbias ([a-z][a-z-]*)", blocks, re.MULTILINE)
    assert set(commands) <= set(main.commands)


def test_the_readme_starts_with_commands_that_exist() -> None:
    assert "make repro" in _blocks(ROOT / "README.md")


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_file()], ids=lambda page: page.name)
def test_links_to_files_of_the_repository_are_valid(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    local = [a or b for a, b in targets if not re.match(r"[a-z]+:|#", a or b)]
    broken = [t for t in local if not (page.parent / t.partition("#")[0]).exists()]
    assert broken == []


def test_every_file_that_the_architecture_page_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|yaml|html\.j2))`", text)
    assert len(named) > 15
    package = ROOT / "src" / "postbias"
    missing = [
        name for name in named if not any((base / name).is_file() for base in (package, ROOT))
    ]
    assert missing == []
