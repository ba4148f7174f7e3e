"""Unpack a ZIP archive of a table and its images, without trusting it."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from postbias.errors import InputError, LayoutError
from postbias.posts.importers.scratch_folder import ExpansionLimit, write_chunks

MAX_ENTRIES = 1_000_000
_MAX_NAME_BYTES = 255
_CHUNK_BYTES = 2**20

#: Raised by zipfile on damaged or unsupported entries.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
    RuntimeError,
)


class UnpackedArchive(NamedTuple):
    """An unpacked archive.

    Attributes:
        table: The only table in it.
        notes: Remarks for the user.
    """

    table: Path
    notes: tuple[str, ...]


def list_zip(src: Path) -> list[str]:
    """List the names of the entries of a ZIP file.

    Raises:
        InputError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(src) as archive:
            return archive.namelist()
    except ZIP_ERRORS as error:
        raise damaged_zip(src, error) from error


def damaged_zip(src: Path, error: Exception) -> InputError:
    """Describe a damaged archive."""
    detail = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(f"{src.name} cannot be unpacked: {detail}", do="copy or export it again")


def unpack_zip(src: Path, folder: Path, table_suffixes: tuple[str, ...]) -> UnpackedArchive:
    """Unpack all files of an archive that has one table.

    Args:
        src: The archive.
        folder: The folder that receives the files.
        table_suffixes: Endings of the names of tables, in lower case.

    Returns:
        The table.

    Raises:
        InputError: If the archive is damaged or encrypted, or expands too much, or an entry has an
            unsafe name.
        LayoutError: If it has no table, or several.
    """
    with _open_archive(src) as (archive, entries):
        table = _find_table(src, entries, table_suffixes)
        n_damaged = _unpack(archive, entries, folder, ExpansionLimit(src), table)
    notes = [f"table {table.filename!r} of {src.name}"]
    if n_damaged:
        notes.append(f"{n_damaged} damaged files of {src.name} were left out")
    return UnpackedArchive(folder / table.filename, tuple(notes))


def unpack_export(src: Path, folder: Path) -> int:
    """Unpack all files of an archive of an export.

    Args:
        src: The archive.
        folder: The folder that receives the files.

    Returns:
        Number of damaged files, which were left out.

    Raises:
        InputError: If the archive is damaged or encrypted, or expands too much, or an entry has an
            unsafe name.
        StorageError: If the disk is full.
    """
    with _open_archive(src) as (archive, entries):
        return _unpack(archive, entries, folder, ExpansionLimit(src))


@contextmanager
def _open_archive(src: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open an archive and list its files."""
    try:
        with zipfile.ZipFile(src) as archive:
            yield archive, _check_entries(src, archive.infolist())
    except ZIP_ERRORS as error:
        raise damaged_zip(src, error) from error


def _unpack(
    archive: zipfile.ZipFile,
    entries: list[zipfile.ZipInfo],
    folder: Path,
    limit: ExpansionLimit,
    needed: zipfile.ZipInfo | None = None,
) -> int:
    """Unpack files, and return how many were left out because they are damaged."""
    n_damaged = 0
    for entry in entries:
        target = folder / entry.filename
        try:
            write_chunks(_read(archive, entry), target, limit)
        except ZIP_ERRORS:
            if entry is needed:
                raise
            target.unlink(missing_ok=True)
            n_damaged += 1
    return n_damaged


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _check_entries(src: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the files in an archive; hidden ones are left out."""
    if len(entries) > MAX_ENTRIES:
        raise InputError(
            f"{src.name} has too many entries", seen=len(entries), allowed=f"up to {MAX_ENTRIES}"
        )
    kept = []
    for entry in entries:
        fault = _find_fault(entry)
        if fault:
            raise InputError(
                f"{src.name} has an entry that {fault}",
                seen=entry.filename[:120],
                do="pack the table and its images again, or unpack it yourself if you trust it",
            )
        parts = PurePosixPath(entry.filename).parts
        is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if not entry.is_dir() and not is_hidden:
            kept.append(entry)
    twins = [name for name, n in Counter(entry.filename for entry in kept).items() if n > 1]
    if twins:
        raise InputError(f"{src.name} has two entries of the same name", seen=twins[0][:120])
    return kept


def _find_fault(entry: zipfile.ZipInfo) -> str | None:
    name = entry.filename
    parts = name.split("/")
    if entry.flag_bits & 0x1:
        return "is encrypted, which is not supported"
    if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0] or "\0" in name:
        return "leads out of it"
    if any(len(part.encode(errors="replace")) > _MAX_NAME_BYTES for part in parts):
        return "has too long a name"
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device"
    return None


def _find_table(
    src: Path, entries: list[zipfile.ZipInfo], suffixes: tuple[str, ...]
) -> zipfile.ZipInfo:
    tables = [entry for entry in entries if entry.filename.lower().endswith(suffixes)]
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise LayoutError(f"{src.name} has no table", allowed=", ".join(suffixes))
    names = ", ".join(entry.filename[:60] for entry in tables[:3])
    raise LayoutError(
        f"{src.name} has {len(tables)} tables",
        seen=names,
        allowed="one",
        do="unpack it and name the table, or the folder with its layout",
    )
