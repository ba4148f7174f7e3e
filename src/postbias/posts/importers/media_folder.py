"""Images of an export: its folder, the ZIP archives in it, and the list that 4CAT writes.

4CAT's image download is a ZIP archive, or the folder it was unpacked to, with a file
`.metadata.json` that has the file name of each address.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.embedded_images import check_image_bytes
from postbias.posts.importers.export_files import VIDEO_SUFFIXES, walk_folders
from postbias.posts.importers.image_addresses import is_address, split_address
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.records import ImageFault, ImageFile
from postbias.posts.importers.subtitles import read_subtitles
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.importers.zip_archives import ZIP_ERRORS
from postbias.posts.reasons import RejectReason

_METADATA = ".metadata.json"
_MAX_METADATA_BYTES = 256 * 2**20
_ABSENT = (RejectReason.MISSING_FILE, RejectReason.NOT_DOWNLOADED)
# Playlists, which name the parts of a video, are never files of an export.
_VIDEO_ENDINGS = (*VIDEO_SUFFIXES, ".m3u8", ".mpd")


class MediaFolder:
    """Finds the images that posts name in the folder of an export."""

    def __init__(self, root: Path) -> None:
        """Remember the folder; it is searched when the first image needs it.

        Args:
            root: The folder of the export.
        """
        self.root = root
        self._folder = ImageFolder(root)

    def read(self, reference: str | tuple[object, ...]) -> ImageFile | ImageFault | None:
        """Find and read an image.

        Args:
            reference: Its address or path, or several, of which the first that leads to a file is
                used; the last one names it in faults.

        Returns:
            The image, or why it could not be read; None for a video that is not in the folder, as
            a video is no image.
        """
        texts = (reference,) if isinstance(reference, str) else reference
        names = [repair_text(text) for text in texts if isinstance(text, str) and text]
        if not names:
            return None
        for name in names[:-1]:
            if (stored := self._find_stored(name)) is not None:
                return stored
            # A name without a folder is that of a file in any folder.
            found = self._folder.read(name) if "/" in name else self._folder.read_name(name)
            if isinstance(found, ImageFile) or found.reason not in _ABSENT:
                return found
        return self._read_last(names[-1])

    def _read_last(self, name: str) -> ImageFile | ImageFault | None:
        if (stored := self._find_stored(name)) is not None:
            return stored
        if _is_video(name) and not self._folder.is_known(name):
            return None
        return self._folder.read(name)

    def read_ids(self, ids: Iterable[str | None]) -> list[ImageFile | ImageFault]:
        """Find and read the images that are named after a post, as `ImageFolder.read_ids`."""
        return self._folder.read_ids(ids)

    def may_have_files_of(self, post_id: str) -> bool:
        """Tell whether a file may be named after a post, as `FileIndex.may_be_named_after`."""
        return self._folder.index.may_be_named_after(post_id)

    def read_subtitles(self, name: str) -> str:
        """Find and read a subtitle file.

        Args:
            name: Its path.

        Returns:
            Its text; "" if the file is not there.

        Raises:
            RecordError: If it cannot be read.
        """
        path = self._folder.locate(name)
        return "" if isinstance(path, ImageFault) else read_subtitles(self.root, path)

    def _find_stored(self, name: str) -> ImageFile | ImageFault | None:
        """Find a file by 4CAT's list, or in an archive."""
        listed = self._names_of_addresses.get(name)
        if listed is not None and self._folder.is_known(listed):
            return self._folder.read(listed)
        if not self._archives:
            return None
        candidates = [listed] if listed is not None else [_path_of(name).rpartition("/")[2]]
        for candidate in candidates:
            for archive, members in self._archives:
                if candidate in members:
                    return _read_member(archive, members[candidate])
        return None

    @cached_property
    def _names_of_addresses(self) -> dict[str, str]:
        """The path of the file of each address that 4CAT has downloaded."""
        names: dict[str, str] = {}
        for prefix, _ in walk_folders(self.root):
            path = self.root / prefix / _METADATA
            if path.is_file() and path.stat().st_size <= _MAX_METADATA_BYTES:
                names |= _parse_metadata(path.read_bytes(), prefix)
        for archive, _ in self._archives:
            try:
                with zipfile.ZipFile(archive) as file:
                    info = file.getinfo(_METADATA)
                    if info.file_size <= _MAX_METADATA_BYTES:
                        names |= _parse_metadata(file.read(info), "")
            except (KeyError, *ZIP_ERRORS):
                continue
        return names

    @cached_property
    def _archives(self) -> list[tuple[Path, dict[str, str]]]:
        """The ZIP archives in the folder, with their members by file name."""
        return list(self._list_archives())

    def _list_archives(self) -> Iterator[tuple[Path, dict[str, str]]]:
        for prefix, names in walk_folders(self.root):
            for name in names:
                path = self.root / prefix / name
                if not name.lower().endswith(".zip") or path.is_symlink():
                    continue
                try:
                    with zipfile.ZipFile(path) as file:
                        members = [i.filename for i in file.infolist() if not i.is_dir()]
                except ZIP_ERRORS:
                    continue
                yield path, {member.rpartition("/")[2]: member for member in members}


def _is_video(name: str) -> bool:
    return _path_of(name).lower().endswith(_VIDEO_ENDINGS)


def _path_of(name: str) -> str:
    return split_address(name)[0] if is_address(name) else name


def _read_member(archive: Path, member: str) -> ImageFile | ImageFault:
    path = f"{archive.name}/{member}"
    try:
        with zipfile.ZipFile(archive) as file:
            if file.getinfo(member).file_size > MAX_BYTES:
                return ImageFault(RejectReason.TOO_LARGE, f"{path}: over {MAX_BYTES} bytes")
            return check_image_bytes(file.read(member), path)
    except (KeyError, *ZIP_ERRORS) as error:
        return ImageFault(RejectReason.BROKEN_FILE, f"{path}: {error}"[:200])


def _parse_metadata(data: bytes, prefix: str) -> dict[str, str]:
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    names: dict[str, str] = {}
    for address, entry in content.items() if isinstance(content, dict) else ():
        if not isinstance(entry, dict):
            continue
        files = entry.get("files")
        first = files[0] if isinstance(files, list) and files else entry
        name = first.get("filename") if isinstance(first, dict) else None
        if isinstance(name, str) and name and name == Path(name).name:
            names[address] = f"{prefix}{name}"
    return names
