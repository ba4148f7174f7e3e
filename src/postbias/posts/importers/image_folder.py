"""Find and read the images that posts name by path, by address, by file name or by their id.

A name is compared exactly first; then separators, percent-encoding, Unicode form and case may
differ, if only one file matches. No file outside the folder is opened and nothing is fetched.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote

from postbias.posts.file_kinds import is_video, looks_like_image
from postbias.posts.importers.embedded_images import read_data_uri
from postbias.posts.importers.export_files import (
    IMAGE_SUFFIXES,
    is_inside,
    is_plain_name,
    read_head,
    read_image,
)
from postbias.posts.importers.fetched_names import fetched_stem
from postbias.posts.importers.file_index import CASE, SUFFIX_CASE, FileIndex, FileMatch, canonical
from postbias.posts.importers.image_addresses import is_address, split_address
from postbias.posts.importers.records import ImageFault, ImageFile
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason

# Begins with the name of a folder if it is a path.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")

# Numbered images of one post, such as `<id>_1.jpg`; a carousel has at most 20.
_MAX_NUMBERED = 32

_MAX_CHARS = 120  # of a reference in a detail

# Paths relative to the folder, or why there is none.
_Found = list[str | ImageFault]


class ImageFolder:
    """The folder whose images posts name."""

    def __init__(self, root: Path, exclude: frozenset[str] = frozenset()) -> None:
        """Remember the folder; it is listed when the first look-up needs it.

        Args:
            root: The folder; images in its subfolders are found too.
            exclude: Top-level folders without images.
        """
        self._path = root
        self._exclude = exclude
        self._root = os.path.normpath(root.absolute())
        self._real_root = os.path.realpath(root)
        self._is_folder_inside = lru_cache(2**16)(self._check_folder)
        self._has_entry = lru_cache(2**10)(self._check_entry)

    @cached_property
    def index(self) -> FileIndex:
        """The files in the folder, listed once."""
        return FileIndex(self._path, self._exclude)

    def path_of(self, name: str) -> str:
        """Return the full path of a file, given relative to the folder."""
        return f"{self._root}/{name}"

    def read(self, reference: str) -> ImageFile | ImageFault:
        """Find and read the image that a path or an address names.

        Args:
            reference: A path relative to the folder, an absolute path inside it, a `file:` or
                `data:` URI, or an address, whose file is searched by name in all subfolders.

        Returns:
            The image, or why it could not be read.
        """
        if reference[:5].lower() == "data:":
            return read_data_uri(reference)
        path = self.locate(reference)
        return path if isinstance(path, ImageFault) else read_image(self._root, path)

    def read_name(self, name: str) -> ImageFile | ImageFault:
        """Find and read the image with a file name, in any subfolder.

        Args:
            name: A file name, or a path relative to the folder.

        Returns:
            The image, or why it could not be read.
        """
        path = self._choose(self.index.find_name(name), name)
        if path is None and not is_plain_name(canonical(name)):
            return self.read(name)
        if path is None:
            return ImageFault(RejectReason.MISSING_FILE, f"{_clip(name)}: in no folder")
        return path if isinstance(path, ImageFault) else read_image(self._root, path)

    def read_ids(self, ids: Iterable[str | None]) -> list[ImageFile | ImageFault]:
        """Find and read the images that are named after a post: `<id>.*`, or `<id>_1.*` and so on.

        Videos are used if there are no images.

        Args:
            ids: Ids of the post; the first one with images is used.

        Returns:
            The images in order.
        """
        videos: _Found = []
        for post_id in ids:
            if not post_id or not is_plain_name(post_id):
                continue
            if not self.index.may_be_named_after(post_id):
                continue
            for stems in ([post_id], [f"{post_id}_{n}" for n in range(1, _MAX_NUMBERED + 1)]):
                images, others = self._find_stems(stems)
                if images:
                    return self._read_found(images)
                videos = videos or others
        return self._read_found(videos)

    def _find_stems(
        self, stems: list[str]
    ) -> tuple[list[str | ImageFault], list[str | ImageFault]]:
        """Find the images and the videos with some names, without regard to their suffixes."""
        found: tuple[_Found, _Found] = ([], [])
        for stem in stems:
            # Without a suffix that says so, only the content tells an image from other files. Ids
            # that differ in case are different posts.
            matches = [m for m in self.index.find_name(stem) if m.difference < SUFFIX_CASE]
            files = [m._replace(has_other_suffix=False) for m in self._images_among(matches)]
            are_videos = [self._is_video(match.path) for match in files]
            for kind, chosen in enumerate(found):
                of_kind = [m for m, is_one in zip(files, are_videos, strict=True) if is_one == kind]
                if (path := self._choose(of_kind, stem)) is not None:
                    chosen.append(path)
        return found

    def _read_found(self, found: _Found) -> list[ImageFile | ImageFault]:
        return [
            path if isinstance(path, ImageFault) else read_image(self._root, path) for path in found
        ]

    def _is_video(self, path: str) -> bool:
        return is_video(read_head(self._root, path))

    def locate(self, reference: str) -> str | ImageFault:
        """Find the file that a path or an address names, without reading it.

        Args:
            reference: As for `read`, but no `data:` URI.

        Returns:
            Its path relative to the folder, or why there is none.
        """
        if self.is_exact(reference):
            return self._relative(reference) or ""
        if is_address(reference):
            return self._locate_address(reference)
        path = reference
        if path[:5].lower() == "file:":
            path = re.sub(r"^/(?=[A-Za-z]:)", "", unquote(split_address(path)[0]))
        path = path.replace("\\", "/")
        relative = None if _DRIVE.match(path) and os.sep == "/" else self._relative(path)
        if relative is None:
            found = self._find_end(path, reference)
            return found or _outside(reference, "leaves the folder; paths are relative to it")
        if self.is_exact(relative):
            return relative
        for text in dict.fromkeys((relative, repair_text(relative))):
            if (found := self._choose(self.index.find_path(text), reference)) is not None:
                return found
        if self._exists(relative):
            return _outside(reference, "is a link that leads out of the folder")
        return ImageFault(RejectReason.MISSING_FILE, f"{_clip(reference)}: {self._hint(relative)}")

    def is_known(self, reference: str) -> bool:
        """Tell whether a reference leads to a file, or to several between which it is ambiguous."""
        found = self.locate(reference)
        return isinstance(found, str) or found.reason == RejectReason.AMBIGUOUS_FILE

    def is_exact(self, path: str) -> bool:
        """Tell whether a path is the exact one of a file in the folder."""
        if _SCHEME.match(path) and ".." not in path and not self._has_entry(path.partition("/")[0]):
            return False
        relative = self._relative(path)
        if not relative or not self._exists(relative):
            return False
        return self._is_folder_inside(relative.rpartition("/")[0])

    def _exists(self, relative: str) -> bool:
        return os.path.isfile(f"{self._root}/{relative}")  # noqa: PTH113 - in a third of the time

    def _check_entry(self, name: str) -> bool:
        return os.path.lexists(f"{self._root}/{name}")

    def _check_folder(self, relative: str) -> bool:
        return is_inside(f"{self._root}/{relative}", self._root)

    def _relative(self, path: str) -> str | None:
        """Return a path relative to the folder; None if it leads out of it."""
        # Lexically: links are checked when the file is opened.
        if os.sep == "/" and not path.startswith("/") and ".." not in path:
            # Far faster than `Path`.
            return os.path.normpath(path).removeprefix(".")
        normal = Path(os.path.normpath(Path(self._root, path)))
        for root in (self._root, self._real_root):
            if normal.is_relative_to(root):
                return normal.relative_to(root).as_posix().removeprefix(".")
        return None

    def _locate_address(self, address: str) -> str | ImageFault:
        # A fetched file has the image of exactly this address, and the suffix of its content.
        if self.index.has_fetched_files:
            fetched = self.index.find_name(fetched_stem(address))
            if fetched:
                return fetched[0].path
        path, query = split_address(address)
        name = path.rstrip("/").rpartition("/")[2]
        # Some programs keep the query in the name of the file.
        for text in dict.fromkeys((f"{name}?{query}", name) if query else (name,)):
            if not text:
                continue
            # Names on servers that differ in case are different files.
            matches = [m for m in self.index.find_name(text) if m.difference < CASE]
            if (found := self._choose(matches, address)) is not None:
                return found
        detail = f"{_clip(address)}: no file {_clip(unquote(name))!r} in the folder"
        return ImageFault(RejectReason.NOT_DOWNLOADED, detail)

    def _find_end(self, path: str, reference: str) -> str | ImageFault | None:
        """Find a file by the end of an absolute path: the export was moved from another folder.

        A file name alone does not suffice: the file must be in a folder of the same name.
        """
        parts = path.split("/")
        if ".." in parts or not (path.startswith("/") or _DRIVE.match(path)):
            return None
        ends = ("/".join(parts[start:]) for start in range(1, len(parts) - 1))
        found = (self._choose(self.index.find_path(end), reference) for end in ends)
        return next((match for match in found if match), None)

    def _hint(self, relative: str) -> str:
        matches = self.index.find_name(relative.rpartition("/")[2])
        named = [match.path for match in matches if not match.has_other_suffix]
        return f"not there; a file of this name is {_clip(named[0])}" if named else "not there"

    def _images_among(self, matches: list[FileMatch]) -> list[FileMatch]:
        """Keep the images; files that are only named like one count if there is no real one."""
        images = [match for match in matches if self._has_image_content(match.path)]
        return images or [m for m in matches if m.path.lower().endswith(IMAGE_SUFFIXES)]

    def _has_image_content(self, path: str) -> bool:
        return looks_like_image(read_head(self._root, path))

    def _choose(self, matches: list[FileMatch], reference: str) -> str | ImageFault | None:
        """Choose the file whose name is closest to a reference, if there is only one."""
        if not matches:
            return None
        by_name = [match for match in matches if not match.has_other_suffix]
        if not by_name and not _has_image_suffix(reference):
            by_name = self._images_among(matches)
        if not by_name:
            return None
        least = min(match.difference for match in by_name)
        paths = [match.path for match in by_name if match.difference == least]
        if len(paths) == 1 or self._are_equal(paths):
            return paths[0]
        more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
        return ImageFault(
            RejectReason.AMBIGUOUS_FILE,
            f"{_clip(reference)}: may be {_clip(paths[0])} or {_clip(paths[1])}{more}",
        )

    def _are_equal(self, paths: list[str]) -> bool:
        """Tell whether files are copies of one image."""
        if not all(isinstance(read_image(self._root, path), ImageFile) for path in paths):
            return False  # a link out of the folder must not be read
        first, *others = map(self.path_of, paths)
        # Not `data`: that of a video is not read.
        return all(filecmp.cmp(first, other, shallow=False) for other in others)


def _outside(reference: str, detail: str) -> ImageFault:
    return ImageFault(RejectReason.OUTSIDE_FOLDER, f"{_clip(reference)}: {detail}")


def _has_image_suffix(reference: str) -> bool:
    path = split_address(reference)[0] if is_address(reference) else reference
    return path.lower().endswith(IMAGE_SUFFIXES)


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}..."
