"""Read and index the files of an export.

No file outside the export is opened: names that contain a path are refused, and links to folders
are not followed.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from postbias.posts.file_kinds import is_video, recognise_kind
from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.limited_json import parse_limited_json
from postbias.posts.importers.records import ImageFault, ImageFile, MediaFile, RecordError
from postbias.posts.importers.text_repair import decode_named
from postbias.posts.reasons import RejectReason

#: A page of 100 posts takes less than 1 MiB.
MAX_JSON_BYTES = 256 * 2**20

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi")

#: Suffixes of images and videos. They do not determine the format: some JPEG files are named
#: `.heic`.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".avif", ".heic", ".heif", ".tif", ".tiff"),
    *VIDEO_SUFFIXES,
)


# Characters that are not part of a file name on all systems.
_NO_NAME = re.compile(r"[/\\\0:]").search

#: Enough to recognise every image format.
HEAD_BYTES = 256

# Images of exports are mostly smaller, videos mostly larger: they are recognised before they are
# read.
_LARGE_BYTES = 2**20


def read_json(path: str, encoding: str | None = None) -> Any:  # noqa: ANN401 - any shape
    """Read a JSON file.

    Args:
        path: The file; it is decompressed if it ends in `.xz`.
        encoding: Its encoding, if the user named it.

    Returns:
        The parsed JSON.

    Raises:
        RecordError: If it is missing, unreadable, too large, or not JSON in a known encoding.
    """
    return read_json_named(path, encoding)[0]


def read_json_named(
    path: str, encoding: str | None = None, parse: Callable[[str], Any] = parse_limited_json
) -> tuple[Any, str]:
    """Read a JSON file as `read_json`; also return its encoding, "" for UTF-8.

    Args:
        path: The file.
        encoding: Its encoding, if the user named it.
        parse: Parses text that is no JSON in UTF-8; raises `ValueError` or `RecordError`.

    Raises:
        RecordError: If it is missing, unreadable, too large, or not JSON in a known encoding.
    """
    data = _read(path)
    with suppress(ValueError):
        # Faster than json.loads, but accepts only valid UTF-8.
        if encoding is None or data.isascii():
            return from_json(data), ""
    text, name = decode_named(data, encoding)
    try:
        return parse(text), name
    except ValueError as error:
        message = " ".join(str(error).split())
        raise RecordError(RejectReason.BROKEN_FILE, f"not JSON: {message}"[:200]) from error


def read_text(path: str, encoding: str | None = None) -> str:
    """Read a text file in any known encoding.

    Args:
        path: The file; it is decompressed if it ends in `.xz`.
        encoding: Its encoding, if the user named it.

    Returns:
        The text, not repaired.

    Raises:
        RecordError: If it is missing, unreadable, too large, or in no known encoding.
    """
    return read_text_named(path, encoding)[0]


def read_text_named(path: str, encoding: str | None = None) -> tuple[str, str]:
    """Read a text file as `read_text`; also return its encoding, "" for UTF-8.

    Raises:
        RecordError: If it is missing, unreadable, too large, or in no known encoding.
    """
    return decode_named(_read(path), encoding)


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


def _read_up_to(
    path: str, limit: int, flags: int = 0, *, skips_media: bool = False
) -> tuple[bytes, int]:
    """Read at most `limit` bytes of a file; also return its size.

    With `skips_media`, only the head of a large file is read if it is a video or over the limit.

    Uses system calls: for small files, Python's file objects take longer than reading.
    """
    # Opening a named pipe without O_NONBLOCK would wait for ever.
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file")
        size = status.st_size
        if skips_media and size > _LARGE_BYTES:
            head = os.read(handle, HEAD_BYTES)
            if size > limit or is_video(head):
                return head, size
            os.lseek(handle, 0, os.SEEK_SET)
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
        data, size = _read_inside(root, name, MAX_BYTES, skips_media=True)
    except FileNotFoundError:
        return ImageFault(RejectReason.MISSING_FILE, f"{name}: not there")
    except PathOutsideError:
        detail = f"{name}: is a link that leads out of the folder"
        return ImageFault(RejectReason.OUTSIDE_FOLDER, detail)
    except (OSError, ValueError) as error:
        return ImageFault(RejectReason.BROKEN_FILE, f"{name}: {_describe(error)}")
    kind = recognise_kind(data)
    if kind and kind.is_video:
        return MediaFile(b"", name, kind, f"{root}/{name}")
    if size > MAX_BYTES:
        return ImageFault(RejectReason.TOO_LARGE, f"{name}: {size} bytes, over {MAX_BYTES}")
    return MediaFile(data, name, kind) if kind else ImageFile(data, name)


def read_head(root: str, name: str) -> bytes:
    """Read the first bytes of a file, by which image formats are recognised.

    Args:
        root: The folder of the export.
        name: Path of the file relative to `root`.

    Returns:
        At most `HEAD_BYTES`; none if the file cannot be read.
    """
    try:
        return _read_inside(root, name, HEAD_BYTES)[0]
    except (OSError, ValueError):
        return b""


class PathOutsideError(OSError):
    """A link in an export leads out of it."""


def _read_inside(
    root: str, name: str, limit: int, *, skips_media: bool = False
) -> tuple[bytes, int]:
    """Read a file, following a link only if it leads to a file in the export."""
    path = f"{root}/{name}"
    no_follow = getattr(os, "O_NOFOLLOW", 0)
    if no_follow:
        try:
            return _read_up_to(path, limit, no_follow, skips_media=skips_media)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.EMLINK}:
                raise
    if not is_inside(path, root):
        raise PathOutsideError(path)
    return _read_up_to(path, limit, skips_media=skips_media)


def is_inside(path: str, root: str) -> bool:
    """Tell whether a path leads into a folder once all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _describe(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def is_plain_name(name: str) -> bool:
    """Tell whether a name is a file name without a path."""
    return name not in {"", ".", ".."} and _NO_NAME(name) is None


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
