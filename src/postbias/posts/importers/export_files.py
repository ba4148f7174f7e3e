"""Read and index the files of an export.

No file outside the export is opened: names that contain a path are refused, and links to folders
are not followed.
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

from postbias.posts.file_kinds import recognise_kind
from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.records import ImageFault, ImageFile, MediaFile, RecordError
from postbias.posts.importers.text_repair import decode_text
from postbias.posts.reasons import RejectReason

#: A page of 100 posts takes less than 1 MiB.
MAX_JSON_BYTES = 256 * 2**20

_JSON: TypeAdapter[Any] = TypeAdapter(Any)

#: Suffixes of images and videos. They do not tell the format: some JPEG files are named `.heic`.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".avif", ".heic", ".heif", ".tif", ".tiff"),
    *(".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi"),
)


def read_json(path: str) -> Any:  # noqa: ANN401 - foreign JSON has any shape
    """Read a JSON file.

    Args:
        path: The file; it is decompressed if it ends in `.xz`.

    Returns:
        The parsed JSON.

    Raises:
        RecordError: If it is missing, unreadable, too large, or not JSON in a known encoding.
    """
    data = _read(path)
    with suppress(ValueError):
        # Twice as fast as json.loads, but accepts only valid UTF-8.
        return _JSON.validate_json(data)
    text = decode_text(data)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise RecordError(RejectReason.BROKEN_FILE, f"not JSON: {message}"[:200]) from error


def read_text(path: str) -> str:
    """Read a text file in any known encoding.

    Args:
        path: The file; it is decompressed if it ends in `.xz`.

    Returns:
        The text, not repaired.

    Raises:
        RecordError: If it is missing, unreadable, too large, or in no known encoding.
    """
    return decode_text(_read(path))


def _read(path: str) -> bytes:
    try:
        if path.endswith(".xz"):
            with lzma.open(path) as file:
                data = file.read(MAX_JSON_BYTES + 1)
        else:
            data, _ = _read_up_to(path, MAX_JSON_BYTES + 1)
    except FileNotFoundError as error:
        raise RecordError(RejectReason.MISSING_FILE, "the file is not there") from error
    except (OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise RecordError(RejectReason.BROKEN_FILE, f"unreadable: {_describe(error)}") from error
    if len(data) > MAX_JSON_BYTES:
        raise RecordError(RejectReason.TOO_LARGE, f"over {MAX_JSON_BYTES} bytes")
    return data


def _read_up_to(path: str, limit: int) -> tuple[bytes, int]:
    """Read at most `limit` bytes of a file; also return its size.

    Uses system calls: for small files, Python's file objects take longer than reading.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(handle).st_size
        data = os.read(handle, min(size, limit))
        while len(data) < min(size, limit) and (chunk := os.read(handle, limit - len(data))):
            data += chunk
        return data, size
    finally:
        os.close(handle)


def read_image(root: str, name: str) -> ImageFile | ImageFault:
    """Read an image file without decoding it; a video is recognised by its content.

    Args:
        root: The folder of the export.
        name: Path of the image relative to `root`.

    Returns:
        The image, or why it could not be read.
    """
    try:
        data, size = _read_up_to(f"{root}/{name}", MAX_BYTES)
    except FileNotFoundError:
        return ImageFault(RejectReason.MISSING_FILE, f"{name}: not there")
    except (OSError, ValueError) as error:
        return ImageFault(RejectReason.BROKEN_FILE, f"{name}: {_describe(error)}")
    kind = recognise_kind(data)
    if kind and kind.is_video:
        return MediaFile(b"", name, kind, f"{root}/{name}")
    if size > MAX_BYTES:
        return ImageFault(RejectReason.TOO_LARGE, f"{name}: {size} bytes, over {MAX_BYTES}")
    return MediaFile(data, name, kind) if kind else ImageFile(data, name)


def _describe(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def is_plain_name(name: str) -> bool:
    """Tell whether a name is a file name without a path."""
    return bool(name) and name not in {".", ".."} and not set(name) & set("/\\\0:")


def walk_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the folders of an export in a fixed order.

    Hidden files and folders are left out; links to folders are not followed.

    Args:
        root: The top folder.

    Yields:
        A folder relative to `root`, "" or ending in a slash, and its sorted file names.
    """
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        yield prefix, sorted(name for name in names if not name.startswith("."))


def digest_tree(root: Path) -> str:
    """Hash the names and sizes of the files of an export, a folder or a single file."""
    digest = hashlib.sha256()
    folder = root if root.is_dir() else root.parent
    files = (
        (f"{prefix}{name}" for prefix, names in walk_folders(root) for name in names)
        if root.is_dir()
        else iter([root.name])
    )
    for name in files:
        size = os.lstat(folder / name).st_size
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


class ImageIndex:
    """Find image files by name in all folders of an export, in ten bytes of memory per file.

    For an export with two million images in 16 folders, a dictionary of their names would take half
    a gigabyte, and trying each folder would take eight failed look-ups per image.
    """

    def __init__(self, root: Path, exclude: frozenset[str] = frozenset()) -> None:
        """List all folders once.

        Args:
            root: The export.
            exclude: Top-level folders without images.
        """
        self._root = str(root)
        self._folders: list[str] = []
        keys, positions = array("Q"), array("H")
        for prefix, names in walk_folders(root):
            if prefix.split("/")[0] in exclude:
                continue
            folder_keys = [_key(name) for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
            if folder_keys:
                keys.extend(folder_keys)
                positions.extend([len(self._folders)] * len(folder_keys))
                self._folders.append(prefix)
        unsorted = np.array(keys, np.uint64)
        order = np.argsort(unsorted, kind="stable")
        # A look-up in a NumPy array takes four times as long as in a Python array.
        self._keys = array("Q", unsorted[order].tobytes())
        self._positions = array("H", np.array(positions, np.uint16)[order].tobytes())

    def __len__(self) -> int:
        """Return the number of image files."""
        return len(self._keys)

    @property
    def digest(self) -> str:
        """Hash of the names of all images and folders."""
        folders = "\0".join(self._folders).encode(errors="surrogateescape")
        content = folders + self._keys.tobytes() + self._positions.tobytes()
        return hashlib.sha256(content).hexdigest()

    def find(self, name: str) -> str | None:
        """Find a file by its name.

        Args:
            name: A file name without a path.

        Returns:
            Its path in the first folder that has it, relative to the export; None if none has.
        """
        key = _key(name)
        position = bisect_left(self._keys, key)
        if position == len(self._keys) or self._keys[position] != key:
            return None
        return f"{self._folders[self._positions[position]]}{name}"

    def read(self, name: str) -> ImageFile | ImageFault:
        """Find and read an image file.

        Args:
            name: A file name without a path.

        Returns:
            The image, or why it could not be read.
        """
        path = self.find(name)
        if path is None:
            return ImageFault(RejectReason.MISSING_FILE, f"{name}: in no folder")
        return read_image(self._root, path)


def _key(name: str) -> int:
    encoded = name.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
