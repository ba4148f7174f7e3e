"""Unpack the file that holds a table: compressed, in an archive, JSON documents, Excel.

The content decides, not the name. What cannot be read in place is written to a temporary folder, in
constant memory.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from postbias.errors import InputError, LayoutError
from postbias.posts.importers.json_documents import MAX_OBJECT_CHARS, list_objects
from postbias.posts.importers.scratch_folder import ExpansionLimit, ScratchFolder, write_chunks
from postbias.posts.importers.spreadsheets import SheetReader
from postbias.posts.importers.table_columns import Columns
from postbias.posts.importers.text_lines import detect_file_encoding
from postbias.posts.importers.zip_archives import list_zip, unpack_zip

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_COMPRESSED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
_IN_ARCHIVES = (*_TEXT_SUFFIXES, ".parquet", ".xlsx")
_TABLE_ENDINGS = (
    *_IN_ARCHIVES,
    *(f"{table}{end}" for table in _IN_ARCHIVES for end in _COMPRESSED_SUFFIXES),
)
#: Endings of the names of files that may hold a table.
TABLE_SUFFIXES = (*_IN_ARCHIVES, *_COMPRESSED_SUFFIXES, ".zip")

# An archive of a compressed table, which is itself an archive (Excel) or a JSON document.
_MAX_DEPTH = 3
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 2**12
# Tabs, line ends, and the escape of Japanese mail are in text.
_CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\x1b"))
_MAX_CONTROL_SHARE = 0.02
_SPREADSHEETS = (b"\xd0\xcf\x11\xe0",)


def _open_zstd(path: Path) -> pa.CompressedInputStream:
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


_DECOMPRESSORS: tuple[tuple[bytes, Callable[[Path], object]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"\x28\xb5\x2f\xfd", _open_zstd),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
_ERRORS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException)


@dataclass(slots=True)
class PlainTable:
    """A table that a reader can open.

    Attributes:
        path: The file.
        suffix: The kind of the table, as in `READERS`.
        root: The folder of its images.
        encoding: Its encoding, if it is given or was changed.
        notes: Remarks for the user.
        scratch: The folder that it was unpacked to; removed with the last reference.
    """

    path: Path
    suffix: str
    root: Path
    encoding: str | None
    notes: list[str] = field(default_factory=list)
    scratch: ScratchFolder | None = None

    def new_file(self, name: str) -> Path:
        """Return the path of a new file in the temporary folder."""
        self.scratch = self.scratch or ScratchFolder()
        folder = self.scratch.path / f"step-{len(list(self.scratch.path.iterdir()))}"
        folder.mkdir()
        return folder / name


def unpack_table(src: Path, columns: Columns, encoding: str | None) -> PlainTable:
    """Unpack the file that holds a table, as far as its reader needs.

    Args:
        src: The file.
        columns: The names of its columns, to choose the sheet of an Excel file.
        encoding: The encoding, if it is known.

    Returns:
        The table; `src` itself if it needs no unpacking.

    Raises:
        InputError: If there is no such file, or it is damaged, encrypted or expands too much.
        LayoutError: If it holds no table, or several.
        SchemaError: If an Excel file has no sheet with the required columns.
        StorageError: If it cannot be unpacked to the disk.
    """
    if not src.is_file():
        raise InputError("no such file", seen=str(src))
    table = PlainTable(src, "", src.parent, encoding)
    for _ in range(_MAX_DEPTH + 1):
        if _unpack_once(table, columns):
            return table
    raise LayoutError(
        f"{src.name} is packed more than {_MAX_DEPTH} times", do="unpack it and name the table"
    )


def _unpack_once(table: PlainTable, columns: Columns) -> bool:
    """Unpack one layer; return whether the table is plain now."""
    path = table.path
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for signature, open_file in _DECOMPRESSORS:
        if head.startswith(signature):
            _decompress(table, open_file)
            return False
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _unpack_zip(table, columns)
    if head.startswith(_SPREADSHEETS):
        raise _old_spreadsheet(path)
    if head.startswith(b"PAR1") or path.suffix.lower() == ".parquet":
        table.suffix = ".parquet"
        return True
    if table.encoding is None and _is_binary(path, head):
        raise LayoutError(f"{path.name} is neither text nor a known container")
    table.suffix = _text_suffix(path, head)
    if table.suffix == ".json":
        _convert_json(table)
    return True


def _is_binary(path: Path, head: bytes) -> bool:
    """Tell whether a file has control characters other than NUL, as images and programs have."""
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    n_controls = len(head) - len(head.translate(None, _CONTROLS))
    if n_controls <= _MAX_CONTROL_SHARE * len(head):
        return False
    # Letters in two bytes can contain such bytes.
    return not detect_file_encoding(path).codec.startswith(("utf-16", "utf-32"))


def _old_spreadsheet(path: Path) -> LayoutError:
    return LayoutError(
        f"{path.name} is a spreadsheet in a format that is not read, or has a password",
        do="save it as .xlsx without a password, or as CSV",
    )


def _decompress(table: PlainTable, open_file: Callable[[Path], object]) -> None:
    path = table.path
    name = path.stem if path.suffix.lower() in _COMPRESSED_SUFFIXES else path.name
    target = table.new_file(name or "table")
    write_chunks(_read_compressed(path, open_file), target, ExpansionLimit(path))
    table.path = target


def _read_compressed(path: Path, open_file: Callable[[Path], object]) -> Iterator[bytes]:
    n_bytes = 0
    try:
        with open_file(path) as file:  # type: ignore[attr-defined]
            while chunk := file.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                yield chunk
    except _ERRORS as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path.name} cannot be decompressed after {n_bytes} bytes: {detail}",
            do="copy or export it again; nothing was imported",
        ) from error


def _unpack_zip(table: PlainTable, columns: Columns) -> bool:
    path = table.path
    names = list_zip(path)
    if "xl/workbook.xml" in names or "[Content_Types].xml" in names:
        sheet = SheetReader(path, columns)
        _write_lines(table, sheet.rows(), path)
        table.notes += sheet.notes
        return True
    if "mimetype" in names and "content.xml" in names:
        raise _old_spreadsheet(path)
    if table.scratch is not None:
        raise LayoutError(f"{path.name}: an archive in a container", do="unpack it")
    folder = table.new_file("files")
    unpacked = unpack_zip(path, folder, _TABLE_ENDINGS)
    table.notes += unpacked.notes
    table.path, table.root = unpacked.table, unpacked.table.parent
    return False


def _text_suffix(path: Path, head: bytes) -> str:
    """Tell the kind of a text file by its name, and by its first characters where they differ."""
    suffix = path.suffix.lower()
    if suffix in {".jsonl", ".ndjson", ".tsv"}:
        return suffix
    # JSON in UTF-16 has a zero in every second place.
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").replace(b" ", b"")
    is_json = suffix == ".json" or start.startswith((b'{"', b"[{", b"[\r\n{", b"[\n{", b"{\n"))
    if is_json:
        return ".jsonl" if _is_jsonl(path) else ".json"
    if suffix in {".csv", ".txt", ""}:
        return ".csv"
    raise LayoutError("unknown kind of table", seen=path.name, allowed=", ".join(TABLE_SUFFIXES))


def _is_jsonl(path: Path) -> bool:
    """Tell whether each line is an object, rather than the whole file a document."""
    codec = detect_file_encoding(path).codec
    with path.open(encoding=codec, errors="replace") as file:
        first = ""
        while not first.strip("\ufeff \t\r\n\0"):
            if not (first := file.readline(MAX_OBJECT_CHARS)):
                return True
        try:
            value = json.loads(first.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            # Damaged, or the first line of a document.
            return first.lstrip("\ufeff \t")[:1] not in {"[", "{"} or _next_is_object(
                first, file.readline(MAX_OBJECT_CHARS)
            )
        if not isinstance(value, dict):
            return False
        has_list = any(isinstance(v, list) and v and isinstance(v[0], dict) for v in value.values())
        return not has_list or bool(file.readline(_CHUNK_BYTES).strip())


def _next_is_object(first: str, second: str) -> bool:
    return first.startswith('{"') and second.startswith('{"')


def _convert_json(table: PlainTable) -> None:
    path = table.path
    encoding = detect_file_encoding(path, table.encoding)
    if encoding.codec.startswith("utf-8") and not encoding.is_given:
        # The bytes stay as they are, for the reader to decode.
        lines = list_objects(path, "utf-8-sig", "surrogateescape")
        _write_lines(table, lines, path, "surrogateescape")
        return
    table.notes += [f"encoding of {path.name}: {encoding}", *encoding.notes]
    _write_lines(table, list_objects(path, encoding.codec, "replace"), path)


def _write_lines(
    table: PlainTable,
    lines: Iterable[str],
    path: Path,
    errors: str = "replace",
) -> None:
    target = table.new_file(f"{path.stem}.jsonl")
    encode: Callable[[str], bytes] = partial(str.encode, errors=errors)
    limit = ExpansionLimit(path)
    write_chunks((encode(f"{line}\n") for line in lines), target, limit)
    table.path, table.suffix, table.encoding = target, ".jsonl", None
