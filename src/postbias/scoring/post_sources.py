"""Find out what `postbias score` is given: post shards, a table, or an export of some layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import InputError, LayoutError
from postbias.posts.importers import Columns, ReadingOptions, detect_layout
from postbias.posts.importers.containers import TABLE_SUFFIXES
from postbias.posts.remote_files import AnyPath, pyarrow_source
from postbias.posts.schema import POSTS

#: The layout that stands for the one that is to be found out.
AUTO = "auto"

# Files that exports and tables have.
_EXPORT_FILES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class PostSource:
    """Where the posts to score are.

    Attributes:
        path: Post shards, a table, or an export.
        layout: Layout of an export; None for shards and tables.
        evidence: Why it has this layout, in one line; "" if that was not found out, or if it is
            a table and nobody asked.
    """

    path: AnyPath
    layout: str | None
    evidence: str = ""


def identify_source(path: AnyPath, layout: str | None, options: ReadingOptions) -> PostSource:
    """Find out the layout of a source as `postbias import auto` does, if it is not named.

    Args:
        path: Post shards, a table, or an export.
        layout: A layout, `auto`, or None, which takes shards and containers of tables as they are.
        options: Names of columns, which only tables have, and the encoding if it is known.

    Returns:
        The source with its layout; of a folder with one table, the table.

    Raises:
        InputError: If there is no such file or folder, or its layout cannot be found out.
        LayoutError: If no layout or several ones fit.
    """
    is_asked = layout == AUTO
    if not is_asked and (layout is not None or options.columns != Columns()):
        return PostSource(path, layout)
    if not isinstance(path, Path):
        if is_asked and not _is_table_name(path):
            raise InputError(
                "the layout of an export in an object store cannot be found out",
                seen=str(path),
                do="import it on a disk (`postbias import auto`), and score its posts/",
            )
        return PostSource(path, None)
    if not path.exists():
        raise InputError("no such file or folder", seen=str(path))
    if _has_shards(path) or not (is_asked or _may_be_export(path)):
        return PostSource(path, None)
    return _detect(path, options, is_asked=is_asked)


def _detect(path: Path, options: ReadingOptions, *, is_asked: bool) -> PostSource:
    try:
        found = detect_layout(path, options)
    except LayoutError as error:
        if path.is_dir():
            raise LayoutError(f"no post shards in {path}, and no export: {error}") from error
        if is_asked:
            raise
        # The error of the table says which columns are missing.
        return PostSource(path, None)
    is_obvious = found.layout == "table" and not is_asked
    evidence = "" if is_obvious else f"layout {found.layout}: {found.evidence}"
    return PostSource(found.src, found.layout, evidence)


def _is_table_name(path: AnyPath) -> bool:
    return path.suffix.lower() in TABLE_SUFFIXES


def _may_be_export(path: Path) -> bool:
    """Tell whether a source may be an export; containers are those of tables."""
    return path.is_dir() or path.suffix.lower() in _EXPORT_FILES or not _is_table_name(path)


def _has_shards(path: Path) -> bool:
    if path.is_dir():
        return bool(list_shards_in(path))
    return path.suffix == ".parquet" and is_shard(path)


def list_shards_in(folder: AnyPath) -> list[AnyPath]:
    """List the post shards in a folder and in its subfolder `posts`, which imports write.

    Raises:
        InputError: If a file of this suffix is no Parquet.
    """
    shards: list[AnyPath] = []
    for candidate in (folder, folder / "posts"):
        if candidate.is_dir():
            files: list[AnyPath] = [f for f in candidate.iterdir() if f.suffix == ".parquet"]
            shards += sorted((f for f in files if is_shard(f)), key=lambda f: f.name)
    return shards


def is_shard(path: AnyPath) -> bool:
    """Tell whether a Parquet file is a shard of posts.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return pq.read_schema(pyarrow_source(path)).equals(POSTS)  # type: ignore[no-any-return]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet") from error
