"""Write docs/params.md and docs/cli.md from the code, so that neither can drift from it.

python docs/generate.py            write them
python docs/generate.py --check    say which one is stale, and exit 1
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from postbias.cli import main as cli
from postbias.params import Params

ROOT = Path(__file__).resolve().parents[1]

_NOTE = "<!-- Written by docs/generate.py (`make docs`): change the code, not this file. -->"

_PARAMS = """# Parameters

What `params.yaml` may say, and what it says now. Every key must be there; unknown keys, other types
and NaN are refused, all faults at once. A changed key reruns the stages that use it and no other.
"""

_CLI = """# The command line

Results go to stdout, progress and errors to stderr. An error is one line and exit code 1; wrong
usage is exit code 2.
"""


def params_page(root: Path = ROOT) -> str:
    """Render docs/params.md.

    Args:
        root: The repository whose params.yaml gives the values.

    Returns:
        One table per group, nested groups after the group that holds them.
    """
    schema = Params.model_json_schema()
    values = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    return "\n".join([_PARAMS, _NOTE, "", *_group("", schema, values, schema["$defs"])])


def cli_page() -> str:
    """Render docs/cli.md: the full help of every command, sorted by name."""
    return "\n".join([_CLI, _NOTE, "", *_command(cli, _context(cli, "postbias"))]).rstrip() + "\n"


def stale_pages(docs: Path = ROOT / "docs") -> list[str]:
    """Compare the pages on disk with what the code says.

    Args:
        docs: Their folder.

    Returns:
        The names of those that are missing or differ.
    """
    return [
        name
        for name, text in _pages().items()
        if not (docs / name).is_file() or (docs / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or check them.

    Args:
        arguments: Nothing, or `--check`.

    Returns:
        The exit code.
    """
    if arguments not in ([], ["--check"]):
        print(f"docs/generate.py takes nothing or --check, not {' '.join(arguments)}")
        return 2
    stale = stale_pages()
    if arguments:
        for name in stale:
            print(f"docs/{name} is stale; run `make docs` and commit it", file=sys.stderr)
        return 1 if stale else 0
    for name, text in _pages().items():
        (ROOT / "docs" / name).write_text(text, encoding="utf-8")
    return 0


def _pages() -> dict[str, str]:
    return {"params.md": params_page(), "cli.md": cli_page()}


def _group(
    prefix: str, schema: dict[str, Any], values: dict[str, Any], groups: dict[str, Any]
) -> Iterator[str]:
    """Render one group, then the groups inside it."""
    inner = []
    rows = ["| key | takes | params.yaml | meaning |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        key, value = f"{prefix}{name}", values[name]
        if "$ref" in field:
            group = groups[field["$ref"].rpartition("/")[2]]
            inner.append((key, group, value))
        else:
            cells = (f"`{key}`", _allowed(field), f"`{json.dumps(value)}`", field["description"])
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if len(rows) > 2:
        yield from (*rows, "")
    for key, group, value in inner:
        yield from (f"{'#' * (2 + key.count('.'))} {key}", "", group["description"], "")
        yield from _group(f"{key}.", group, value, groups)


def _allowed(field: dict[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "anyOf" in field:
        return " or ".join(_allowed(option) for option in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field["type"]
    if kind == "array":
        least = "" if not field.get("minItems") else f", {field['minItems']} or more"
        return f"list of {_allowed(field['items'])}{least}"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "bool"}
    words["null"] = "null"
    return " ".join([words[kind], *_bounds(field)])


def _bounds(field: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[name]:,}" for name, sign in signs.items() if name in field]
    if found:
        yield ", ".join(found)


def _context(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    # A fixed width: the page must not depend on somebody's terminal.
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=88, **command.context_settings
    )


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """Render one command, then the commands inside it."""
    if context.parent is not None:
        depth = context.command_path.count(" ") + 1
        yield from (f"{'#' * depth} {context.command_path}", "")
    yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, _context(inner, name, context))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
