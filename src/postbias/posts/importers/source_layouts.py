"""Open the exports of research tools, platform APIs and account downloads.

Each opens a file, or a folder in which it reads all files of its kind; other files can be images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from postbias.errors import InputError, LayoutError, SchemaError
from postbias.posts.importers.export_files import digest_tree, walk_folders
from postbias.posts.importers.json_exports import JSON_FILES, JsonSource, json_units
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.meta_download import is_post_file, meta_units
from postbias.posts.importers.records import (
    Export,
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
)
from postbias.posts.importers.source_tables import table_units, to_unknown_table
from postbias.posts.importers.tiktok_posts import TIKTOK_DOWNLOAD, TIKTOK_POSTS
from postbias.posts.importers.x_archive import archive_units, is_archive_file
from postbias.posts.importers.x_posts import X_POSTS
from postbias.posts.importers.youtube_posts import YOUTUBE_COMMENTS, YOUTUBE_VIDEOS
from postbias.posts.importers.zeeschuimer import ZEESCHUIMER
from postbias.posts.reasons import RejectReason
from postbias.posts.remote_files import content_digest

#: Reads one file: its path, its path relative to the export, the folder of the images, and the
#: encoding if the user named it.
ReadFile = Callable[[Path, str, MediaFolder, str | None], Iterator[ReadUnit]]

TABLE_FILES = (".csv", ".tsv", ".tab")

_YOUTUBE_KIND = re.compile(rb'"kind"\s*:\s*"youtube#(\w+)"')
_HEAD_BYTES = 65_536


def open_fourcat(src: Path, encoding: str | None = None) -> Export:
    """Open a CSV or NDJSON file of 4CAT, or a folder with it and its images."""
    return _open(
        src, encoding, {TABLE_FILES: partial(table_units, "4cat"), JSON_FILES: _json(ZEESCHUIMER)}
    )


def open_zeeschuimer(src: Path, encoding: str | None = None) -> Export:
    """Open an NDJSON file of Zeeschuimer, or a folder of them."""
    return _open(src, encoding, {JSON_FILES: _json(ZEESCHUIMER)})


def open_crowdtangle(src: Path, encoding: str | None = None) -> Export:
    """Open a CSV file of CrowdTangle, or a folder of them."""
    return _open(src, encoding, {TABLE_FILES: partial(table_units, "crowdtangle")})


def open_meta_content_library(src: Path, encoding: str | None = None) -> Export:
    """Open a CSV file of the Meta Content Library, or a folder of them."""
    return _open(src, encoding, {TABLE_FILES: partial(table_units, "meta-content-library")})


def open_x(src: Path, encoding: str | None = None) -> Export:
    """Open JSON or CSV of the API of X, or the archive of an account."""
    if src.is_file() and src.suffix == ".js":
        return _open(src, encoding, {(".js",): archive_units})
    if src.is_dir() and any(is_archive_file(name) for name in _list_files(src)):
        return _open(src, encoding, {(".js",): archive_units}, is_archive_file)
    return _open(
        src, encoding, {TABLE_FILES: partial(table_units, "x"), JSON_FILES: _json(X_POSTS)}
    )


def open_youtube(src: Path, encoding: str | None = None) -> Export:
    """Open JSON of YouTube's Data API; comments are posts if there are only comments."""
    paths = [src / name for name in _list_files(src)] if src.is_dir() else [src]
    kinds = {kind for path in paths if path.suffix in JSON_FILES for kind in _youtube_kinds(path)}
    has_comments = any(kind.startswith(b"comment") for kind in kinds)
    has_videos = any(not kind.startswith((b"comment", b"channel")) for kind in kinds)
    source = YOUTUBE_COMMENTS if has_comments and not has_videos else YOUTUBE_VIDEOS
    return _open(src, encoding, {JSON_FILES: _json(source)})


def _youtube_kinds(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return _YOUTUBE_KIND.findall(file.read(_HEAD_BYTES))
    except OSError:
        return []


def open_tiktok(src: Path, encoding: str | None = None) -> Export:
    """Open JSON of TikTok's Research API, a file or a folder."""
    return _open(src, encoding, {JSON_FILES: _json(TIKTOK_POSTS)})


def open_meta_download(src: Path, encoding: str | None = None) -> Export:
    """Open a download of Instagram or Facebook, or a folder with several."""
    return _open(src, encoding, {(".json",): meta_units}, is_post_file)


def open_tiktok_download(src: Path, encoding: str | None = None) -> Export:
    """Open the download of a TikTok account, or a folder with several."""
    return _open(src, encoding, {(".json",): _json(TIKTOK_DOWNLOAD)}, is_tiktok_download_file)


def is_tiktok_download_file(name: str) -> bool:
    """Tell by its name whether a file is the download of a TikTok account."""
    return name.rpartition("/")[2].lower().startswith("user_data")


def _json(source: JsonSource) -> ReadFile:
    def read(
        path: Path, name: str, folder: MediaFolder, encoding: str | None
    ) -> Iterator[ReadUnit]:
        return json_units(path, name, source, folder, encoding)

    return read


def _list_files(src: Path) -> list[str]:
    return [f"{prefix}{name}" for prefix, names in walk_folders(src) for name in names]


def _open(
    src: Path,
    encoding: str | None,
    readers: dict[tuple[str, ...], ReadFile],
    accepts: Callable[[str], bool] = lambda _name: True,
) -> Export:
    """Open the files whose suffixes have a reader and whose names are accepted."""
    if not src.exists():
        raise InputError("no such file or folder", seen=str(src))
    names = _list_files(src) if src.is_dir() else [src.name]
    root = src if src.is_dir() else src.parent
    files = [
        (name, read)
        for name in names
        for suffixes, read in readers.items()
        if name.lower().endswith(suffixes) and (accepts(name) or src.is_file())
    ]
    if not files:
        known = sorted(suffix for suffixes in readers for suffix in suffixes)
        raise LayoutError(
            f"no file of this layout in {src}",
            seen=f"{names[:10]}",
            allowed=f"files that end in {', '.join(known)}",
            do="unpack the archive first" if src.suffix.lower() == ".zip" else None,
        )
    folder = MediaFolder(root)
    is_table = src.is_file() and src.name.lower().endswith(TABLE_FILES)
    return Export(
        digest=content_digest(src) if is_table else digest_tree(src),
        n_units=None,
        units=lambda: _units(root, files, folder, encoding),
    )


def _units(
    root: Path, files: list[tuple[str, ReadFile]], folder: MediaFolder, encoding: str | None
) -> Iterator[ReadUnit]:
    for name, read in files:
        try:
            yield from read(root / name, name, folder, encoding)
        except SchemaError as error:
            if len(files) == 1:
                raise
            reject = to_unknown_table(root / name, encoding, error)
            yield partial(_reject, ImportReject.from_error(reject, name))
        except (OSError, UnicodeError) as error:
            detail = f"unreadable: {getattr(error, 'strerror', None) or error}"
            unreadable = RecordError(RejectReason.BROKEN_FILE, detail[:200])
            yield partial(_reject, ImportReject.from_error(unreadable, name))


def _reject(reject: ImportReject) -> list[Record]:
    return [reject]


#: The opener of each layout of this module.
SOURCE_LAYOUTS: dict[str, Callable[[Path, str | None], Export]] = {
    "4cat": open_fourcat,
    "zeeschuimer": open_zeeschuimer,
    "meta-content-library": open_meta_content_library,
    "crowdtangle": open_crowdtangle,
    "x": open_x,
    "youtube": open_youtube,
    "tiktok": open_tiktok,
    "meta-download": open_meta_download,
    "tiktok-download": open_tiktok_download,
}
