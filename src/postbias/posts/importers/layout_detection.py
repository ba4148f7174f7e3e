"""Find out the layout of an export by the names and the structure of its files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from postbias.errors import InputError, LayoutError, PostbiasError
from postbias.posts.importers.export_files import IMAGE_SUFFIXES, walk_folders
from postbias.posts.importers.json_exports import (
    is_ndjson,
    parse_json,
    read_json_lines,
    read_json_value,
)
from postbias.posts.importers.json_structures import find_structure
from postbias.posts.importers.layout_guide import LAYOUT_GUIDES
from postbias.posts.importers.meta_download import is_post_file, is_post_list
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.importers.table_detection import (
    Recognised,
    format_table_import,
    has_default_columns,
    recognise_table,
)
from postbias.posts.importers.unknown_json import describe_value
from postbias.posts.importers.x_archive import is_archive_file

# A folder is judged by so many of its files that are no images.
_MAX_FILES = 100
_MAX_BYTES = 64 * 2**20
_JSON_FILES = (".json", ".ndjson", ".jsonl", ".js", ".json.xz")
# The layouts that read `.json.xz`.
_COMPRESSED = ("graphql", "api-v1", "instaloader")


@dataclass(frozen=True, slots=True)
class DetectedLayout:
    """A layout that an export has.

    Attributes:
        layout: Its name.
        evidence: Why, in one line.
        src: The file or folder to import: a table, if the export is a folder with one.
    """

    layout: str
    evidence: str
    src: Path


def detect_layout(src: Path, options: ReadingOptions | None = None) -> DetectedLayout:
    """Find out the layout of an export.

    Args:
        src: A file or a folder.
        options: Names of the columns, if it is a table, and its encoding.

    Returns:
        The layout and the evidence for it.

    Raises:
        InputError: If there is no such file or folder.
        LayoutError: If no layout or several ones fit.
    """
    if not src.exists():
        raise InputError("no such file or folder", seen=str(src))
    if (src / "post_info.txt").is_file() and (src / "json").is_dir():
        return DetectedLayout("influencer-brand", "post_info.txt and the folder json/", src)
    options = options or ReadingOptions()
    found: dict[str, list[str]] = {}
    others: list[str] = []
    tables: list[str] = []
    for name in islice(_list_files(src), _MAX_FILES):
        path = src / name if src.is_dir() else src
        recognised = _recognise(path, name, options)
        if recognised.layout:
            found.setdefault(recognised.layout, [name, recognised.detail]).append(name)
            continue
        others.append(f"{name}: {recognised.detail}")
        if recognised.options:
            tables.append(format_table_import(path, options, recognised.options))
    found = _drop_weaker(found)
    if len(found) == 1:
        return _to_detected(src, *found.popitem())
    if found:
        seen = "; ".join(f"{layout}: {f[0]}: {f[1]}" for layout, f in found.items())
        raise LayoutError(
            f"{src} has files of several layouts",
            seen=seen,
            do=_advise_append(src, list(found)),
        )
    raise LayoutError(
        f"the layout of {src} is unknown",
        seen="; ".join(others[:5]) or "no files but images",
        allowed=", ".join(LAYOUT_GUIDES),
        do=f"if this is a table of posts, run `{tables[0]}`"
        if len(tables) == 1
        else "see `postbias import --list`; for a table of your own use the layout table with "
        "--column",
    )


def _advise_append(src: Path, layouts: list[str]) -> str:
    path = shlex.quote(str(src))
    others = ", ".join(f"`postbias import --append {name} {path} DEST`" for name in layouts[1:])
    return f"run `postbias import {layouts[0]} {path} DEST`, then add the others: {others}"


def _to_detected(src: Path, layout: str, found: list[str]) -> DetectedLayout:
    name, evidence, *names = found
    if layout == "table" and src.is_dir():
        if len(names) > 1:
            raise LayoutError(
                f"{src} has several tables", seen=", ".join(names[:10]), do="import them one by one"
            )
        src /= name
    more = f"; {len(names) - 1} more files like it" if len(names) > 1 else ""
    return DetectedLayout(layout, f"{name}: {evidence}{more}", src)


def _list_files(src: Path) -> Iterator[str]:
    if not src.is_dir():
        yield src.name
        return
    for prefix, names in walk_folders(src):
        for name in names:
            if not name.lower().endswith((*IMAGE_SUFFIXES, ".zip")):
                yield f"{prefix}{name}"


def _drop_weaker(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drop layouts of files that accompany an export of another layout."""
    if "meta-download" in found or "tiktok-download" in found:
        kept = {"meta-download", "tiktok-download"}
        return {layout: evidence for layout, evidence in found.items() if layout in kept}
    # 4CAT also gives NDJSON with the structure of Zeeschuimer.
    if "4cat" in found:
        found.pop("zeeschuimer", None)
    if len(found) > 1:
        found.pop("table", None)
    return found


def _recognise(path: Path, name: str, options: ReadingOptions) -> Recognised:
    """Recognise the layout of a file, or describe it."""
    lower = path.name.lower()
    try:
        if is_archive_file(path.name):
            return Recognised("x", "the posts in an archive of an account")
        if lower.endswith((".json.xz", "_utc.txt")) and "_utc" in lower:
            return Recognised("instaloader", "a file named like those of Instaloader")
        if not lower.endswith(_JSON_FILES):
            return recognise_table(path, options)
        found = _recognise_json(path, name, options)
        if lower.endswith(".xz") and found.layout not in {None, *_COMPRESSED}:
            return Recognised(None, f"compressed JSON of layout {found.layout}: unpack it first")
        if found.layout or lower.endswith(".js"):
            return found
        table = recognise_table(path, options)
        if not table.layout:
            # Its keys are proposed as columns only if they look like those of posts.
            is_likely = "=NAME" not in table.options
            return found._replace(options=table.options if is_likely else "")
    except (OSError, ValueError, PostbiasError, RecordError) as error:
        return Recognised(None, " ".join(str(error).split())[:120])
    return table


def _recognise_json(path: Path, name: str, options: ReadingOptions) -> Recognised:
    value = _first_value(path, options.encoding)
    first = value[0] if isinstance(value, list) and value else value
    if has_default_columns(first):
        return recognise_table(path, options)
    if is_post_file(name) and is_post_list(value):
        return Recognised("meta-download", "a list of posts as in a download of Meta")
    if structure := find_structure(first):
        return Recognised(structure.layout, structure.evidence)
    return Recognised(None, f"JSON of {describe_value(first)}")


def _first_value(path: Path, encoding: str | None) -> Any:  # noqa: ANN401 - foreign JSON
    if is_ndjson(path):
        for line in read_json_lines(path):
            with suppress(RecordError):
                return parse_json(line) if isinstance(line, bytes) else None
        return None
    if path.stat().st_size > _MAX_BYTES:
        return None
    return read_json_value(path, encoding)
