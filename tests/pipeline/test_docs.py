"""Generated pages are up to date, and files, links and commands in the docs exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.conftest import ROOT

from postbias.cli import main

READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = sorted([*READMES, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


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


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("readme", READMES, ids=_name)
def test_the_files_in_the_readme_tree_exist(readme: Path) -> None:
    (tree,) = re.findall(r"```\n(dvc\.yaml .*?)```", readme.read_text("utf-8"), re.DOTALL)
    names = [line.split()[0] for line in tree.splitlines()]
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    blocks = _blocks(page)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    made = re.findall(r"^\s*make (?:[A-Z]+=\S+ )*([a-z]+)", blocks, re.MULTILINE)
    assert set(made) <= targets
    commands = re.findall(r"^\s*(?:\.venv/bin/)?postbias ([a-z][a-z-]*)", blocks, re.MULTILINE)
    assert set(commands) <= set(main.commands)


@pytest.mark.parametrize("readme", READMES, ids=_name)
def test_the_readme_starts_with_commands_that_exist(readme: Path) -> None:
    assert "make repro" in _blocks(readme)


def test_both_readmes_have_the_same_commands_files_and_links_to_each_other() -> None:
    english, chinese = (page.read_text("utf-8") for page in READMES)
    assert "(README.zh.md)" in english
    assert "(README.md)" in chinese
    names = [
        [
            line.split()[0]
            for line in re.findall(r"^(?:  [a-z]+|[\w./]+) {2,}.*$", text, re.MULTILINE)
        ]
        for text in (english, chinese)
    ]
    assert len(names[0]) > 20
    assert names[0] == names[1]


def _find_command(words: list[str]) -> click.Command:
    """Follow the subcommands at the start of a command line."""
    found: click.Command = main
    for word in words:
        if not isinstance(found, click.Group) or word not in found.commands:
            break
        found = found.commands[word]
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_options_in_the_docs_exist(page: Path) -> None:
    lines = re.findall(r"^\s*(?:\.venv/bin/)?postbias (.*)", _blocks(page), re.MULTILINE)
    unknown = []
    for line in lines:
        words = line.partition("#")[0].split()
        known = {name for option in _find_command(words).params for name in option.opts}
        known |= {"--help", "-h", "--version"}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        unknown += [f"{line}: {name}" for name in sorted(used - known)]
    assert unknown == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_file()], ids=_name)
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
