"""Files of an export: read with limits, found by name in many folders, summed up in a digest.

Nothing outside the export is ever opened: names with a path in them are refused, links are not
followed out of it.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.records import FaultError, Picture, PictureFault
from postbias.posts.importers.text_repair import to_text
from postbias.posts.reasons import RejectReason

#: A page of a hundred posts has under 1 MiB.
MAX_JSON_BYTES = 256 * 2**20

_JSON: TypeAdapter[Any] = TypeAdapter(Any)

_WAYS_OUT = frozenset("/\\\0:")

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")


def read_json(path: str) -> Any:  # noqa: ANN401 - the shape of foreign JSON is anyone's guess
    """Read a JSON file, also an xz-compressed one.

    Args:
        path: The file; `.xz` is decompressed.

    Returns:
        What it holds.

    Raises:
        FaultError: If it is missing, unreadable, too large, no text or no JSON.
    """
    data = _read(path)
    with suppress(ValueError):
        # Half the time of json.loads; it takes sound UTF-8 only and leaves the rest to it.
        return _JSON.validate_json(data)
    text = to_text(data)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise FaultError(RejectReason.BROKEN_FILE, f"not JSON: {said}"[:200]) from error


def _read(path: str) -> bytes:
    try:
        if path.endswith(".xz"):
            with lzma.open(path) as file:
                data = file.read(MAX_JSON_BYTES + 1)
        else:
            data, _ = _slurp(path, MAX_JSON_BYTES + 1)
    except FileNotFoundError as error:
        raise FaultError(RejectReason.MISSING_FILE, "the file is not there") from error
    except (OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise FaultError(RejectReason.BROKEN_FILE, f"unreadable: {_why(error)}") from error
    if len(data) > MAX_JSON_BYTES:
        raise FaultError(RejectReason.TOO_LARGE, f"over {MAX_JSON_BYTES} bytes")
    return data


def _slurp(path: str, limit: int) -> tuple[bytes, int]:
    """Read at most `limit` bytes of a file, and tell its size.

    System calls, because Python's file objects take longer than reading a small file does.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(handle).st_size
        data = os.read(handle, min(size, limit))
        while len(data) < min(size, limit) and (more := os.read(handle, limit - len(data))):
            data += more
        return data, size
    finally:
        os.close(handle)


def read_text(path: str) -> str:
    """Read a text file of any encoding.

    Args:
        path: The file.

    Returns:
        Its text.

    Raises:
        FaultError: If it is missing, unreadable, too large or no text.
    """
    return to_text(_read(path))


def read_picture(root: str, name: str) -> Picture | PictureFault:
    """Read an image file as it is.

    Args:
        root: The folder of the export.
        name: Its path below `root`.

    Returns:
        The picture, or why there is none.
    """
    try:
        data, size = _slurp(f"{root}/{name}", MAX_BYTES)
        if size > MAX_BYTES:
            return PictureFault(RejectReason.TOO_LARGE, f"{name}: {size} bytes, over {MAX_BYTES}")
        return Picture(data, name)
    except FileNotFoundError:
        return PictureFault(RejectReason.MISSING_FILE, f"{name}: not there")
    except (OSError, ValueError) as error:
        return PictureFault(RejectReason.BROKEN_FILE, f"{name}: {_why(error)}")


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def is_plain_name(name: str) -> bool:
    """Tell whether a name from a file is a mere file name, with no way out of its folder.

    Args:
        name: The name.

    Returns:
        Whether it is one.
    """
    return bool(name) and name not in {".", ".."} and not set(name) & set("/\\\0:")


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Go through the folders of an export in an order that never changes.

    Args:
        root: Its top; links to folders are not followed, hidden files and folders left out.

    Yields:
        A folder relative to `root` ("" for itself), ending in a slash, and its sorted file names.
    """
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        yield prefix, sorted(name for name in names if not name.startswith("."))


def digest_tree(root: Path) -> tuple[str, int]:
    """Sum up the files of an export by name and size.

    Args:
        root: A folder, or a single file.

    Returns:
        A digest and the number of files.
    """
    digest, count = hashlib.sha256(), 0
    files = (
        (f"{prefix}{name}" for prefix, names in walk(root) for name in names)
        if root.is_dir()
        else iter([root.name])
    )
    top = root if root.is_dir() else root.parent
    for name in files:
        size = os.lstat(top / name).st_size
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        count += 1
    return digest.hexdigest(), count


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's content.

    Args:
        path: The file.

    Returns:
        The digest in hex.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class PictureIndex:
    """Where each image file of an export lies, in nine bytes per file.

    The large export has two million files in sixteen folders: a dictionary of their names takes
    half a gigabyte, trying each folder for each file takes eight needless looks.
    """

    def __init__(self, root: Path, leave_out: frozenset[str] = frozenset()) -> None:
        """List the folders once.

        Args:
            root: The export.
            leave_out: Top folders that hold no images.
        """
        self._root = str(root)
        self._folders: list[str] = []
        keys, places = array("Q"), array("H")
        for prefix, names in walk(root):
            if prefix.split("/")[0] in leave_out:
                continue
            found = [_key(name) for name in names if name.lower().endswith(PICTURE_ENDINGS)]
            if found:
                keys.extend(found)
                places.extend([len(self._folders)] * len(found))
                self._folders.append(prefix)
        unsorted = np.array(keys, np.uint64)
        order = np.argsort(unsorted, kind="stable")
        # Back to arrays of Python's own: one look-up in NumPy takes four times as long.
        self._keys = array("Q", unsorted[order].tobytes())
        self._places = array("H", np.array(places, np.uint16)[order].tobytes())

    def __len__(self) -> int:
        """Return the number of image files."""
        return len(self._keys)

    @property
    def digest(self) -> str:
        """A digest of the names of all files and folders."""
        folders = "\0".join(self._folders).encode(errors="surrogateescape")
        return hashlib.sha256(folders + self._keys.tobytes() + self._places.tobytes()).hexdigest()

    def find(self, name: str) -> str | None:
        """Find a file by its name.

        Args:
            name: A file name without a folder.

        Returns:
            Its path below the export, the first one in folder order; None if there is none.
        """
        key = _key(name)
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return f"{self._folders[self._places[at]]}{name}"

    def read(self, name: str) -> Picture | PictureFault:
        """Read an image file by its name.

        Args:
            name: A file name without a folder.

        Returns:
            The picture, or why there is none.
        """
        path = self.find(name)
        if path is None:
            return PictureFault(RejectReason.MISSING_FILE, f"{name}: in no folder")
        return read_picture(self._root, path)


def _key(name: str) -> int:
    encoded = name.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
