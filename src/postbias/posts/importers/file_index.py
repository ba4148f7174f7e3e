"""Index the files of an export, and find those that a path or a name may mean.

The folders are listed once, when the first look-up needs it. A file takes 40 bytes and its name in
memory, so that an export with a million images fits; dictionaries would take ten times as much.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from postbias.posts.importers.export_files import IMAGE_SUFFIXES, walk_folders
from postbias.posts.importers.fetched_names import is_fetched_stem

#: How far a file name may differ from the name that was looked up, from the strictest on.
EXACT, SEPARATORS, UNICODE_FORM, PERCENT_ENCODING, SUFFIX_CASE, CASE = range(6)

# What may follow the id of a post in the name of a file: a size of a preview, a number.
_ADDITION = re.compile(r"(?:[_-](?:\d+|[a-z]*default))+\Z")

# Spellings in which these do not occur differ in case alone, if they are ASCII.
_SPECIAL = ("%", "\\", "//", "./")

# A name that so many files share is ambiguous, whichever of them are compared.
_MAX_CANDIDATES = 100


class FileMatch(NamedTuple):
    """A file that a name may mean.

    Attributes:
        path: Path relative to the export.
        difference: The strictest level at which the names are equal.
        has_other_suffix: Whether only the part before the suffix is equal.
    """

    path: str
    difference: int
    has_other_suffix: bool


class FileIndex:
    """Find files of an export by path or by name, whatever the spelling of the name."""

    def __init__(self, root: Path, exclude: frozenset[str] = frozenset()) -> None:
        """List all folders once; hidden files and links to folders are left out.

        Args:
            root: The export.
            exclude: Top-level folders without images.
        """
        self._folders: list[str] = []
        self._folder_of = array("I")
        self._ends = array("Q")
        self._names = bytearray()
        for prefix, names in walk_folders(root):
            if prefix.split("/")[0] in exclude or not names:
                continue
            for name in names:
                self._names += name.encode(errors="surrogateescape")
                self._ends.append(len(self._names))
            self._folder_of.extend([len(self._folders)] * len(names))
            self._folders.append(prefix)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._ends)

    def _file(self, number: int) -> tuple[str, str]:
        start = self._ends[number - 1] if number else 0
        name = self._names[start : self._ends[number]].decode(errors="surrogateescape")
        return self._folders[self._folder_of[number]], name

    @cached_property
    def _by_path(self) -> _SortedKeys:
        return _SortedKeys(_stem(canonical(f"{folder}{name}")) for folder, name in self._files())

    @cached_property
    def _by_name(self) -> _SortedKeys:
        return _SortedKeys(_stem(_base(canonical(name))) for _, name in self._files())

    def _files(self) -> Iterator[tuple[str, str]]:
        return map(self._file, range(len(self)))

    def find_path(self, path: str) -> list[FileMatch]:
        """Find the files that a path may mean.

        Args:
            path: A path relative to the export.

        Returns:
            The files, in the order of the folders.
        """
        return self._find(self._by_path, path, is_name=False)

    def find_name(self, name: str) -> list[FileMatch]:
        """Find the files in any folder that a name may mean.

        Args:
            name: A file name without a path, with or without a suffix.

        Returns:
            The files, in the order of the folders.
        """
        return self._find(self._by_name, name, is_name=True)

    def _find(self, keys: _SortedKeys, reference: str, *, is_name: bool) -> list[FileMatch]:
        key = canonical(reference)
        stem = _stem(key)
        numbers = set(keys.find(key))
        if stem != key:
            numbers.update(keys.find(stem))
        if not numbers:
            return []
        wanted = _forms(reference)
        matches = []
        for number in sorted(numbers)[:_MAX_CANDIDATES]:
            folder, name = self._file(number)
            text = name if is_name else f"{folder}{name}"
            if (difference := _difference(wanted, text)) is not None:
                matches.append(FileMatch(folder + name, difference, has_other_suffix=False))
            elif (difference := _difference(wanted, _stem(text))) is not None:
                matches.append(FileMatch(folder + name, difference, has_other_suffix=True))
        return matches

    def may_be_named_after(self, post_id: str) -> bool:
        """Tell whether a file may be named `<id>.*`, `<id>_<number>.*` or `<id>_hqdefault.*`.

        Most posts of an export without images have none, and would take 33.
        """
        wanted = canonical(post_id)
        if wanted.isalnum():
            return self._by_unnumbered.has(wanted)
        texts = {wanted, _stem(wanted)} if "." in wanted else {wanted}
        if "_" in wanted or "-" in wanted:
            texts |= {_ADDITION.sub("", text) for text in texts}
        return any(map(self._by_unnumbered.has, texts))

    @cached_property
    def has_fetched_files(self) -> bool:
        """Whether a file is named as `fetch-images` names those that it writes."""
        return any(is_fetched_stem(_stem(_base(canonical(name)))) for _, name in self._files())

    @cached_property
    def _by_unnumbered(self) -> _SortedKeys:
        stems = (_stem(_base(canonical(name))) for _, name in self._files())
        return _SortedKeys(_ADDITION.sub("", stem) for stem in stems)

    @property
    def image_digest(self) -> str:
        """Hash of the folders, and of the names that end like an image."""
        folders: list[str] = []
        keys, positions = array("Q"), array("I")
        last = None
        for number, (folder, name) in enumerate(self._files()):
            if not name.lower().endswith(IMAGE_SUFFIXES):
                continue
            if self._folder_of[number] != last:
                last = self._folder_of[number]
                folders.append(folder)
            encoded = name.encode(errors="surrogateescape")
            key = hashlib.blake2b(encoded, digest_size=8).digest()
            keys.append(int.from_bytes(key, "little"))
            positions.append(len(folders) - 1)
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        width = np.uint16 if len(folders) < 2**16 else np.uint32
        digest = hashlib.sha256("\0".join(folders).encode(errors="surrogateescape"))
        digest.update(np.array(keys, np.uint64)[order].tobytes())
        digest.update(np.array(positions, width)[order].tobytes())
        return digest.hexdigest()


class _SortedKeys:
    """Numbers of files, sorted by the hash of a text."""

    def __init__(self, texts: Iterator[str]) -> None:
        keys = np.array(array("q", map(hash, texts)), np.int64)
        order = np.argsort(keys, kind="stable")
        # A look-up in a NumPy array takes four times as long as in a Python array.
        self._keys = array("q", keys[order].tobytes())
        self._order = array("I", order.astype(np.uint32).tobytes())

    def has(self, text: str) -> bool:
        """Tell whether a text has this hash."""
        key = hash(text)
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key

    def find(self, text: str) -> Sequence[int]:
        """List the numbers of the texts with the same hash, `_MAX_CANDIDATES` at most."""
        key = hash(text)
        first = last = bisect_left(self._keys, key)
        end = min(first + _MAX_CANDIDATES, len(self._keys))
        while last < end and self._keys[last] == key:
            last += 1
        return self._order[first:last]


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    """Remove the suffix of the last component; a leading dot is part of the name."""
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 else path


def _use_slashes(text: str) -> str:
    text = text.replace("\\", "/")
    if "//" in text or "./" in text:
        text = "/".join(part for part in text.split("/") if part not in {"", "."})
    return text


def _decode_percent(text: str) -> str:
    text = unquote(text, errors="surrogateescape") if "%" in text else text
    try:
        text.encode()
    except UnicodeEncodeError:
        try:  # a file name in Latin-1
            return text.encode("utf-8", "surrogateescape").decode("latin-1")
        except UnicodeEncodeError:  # half of a surrogate pair, from JSON
            return text
    return text


def _lower_suffix(text: str) -> str:
    stem = _stem(text)
    return stem + text[len(stem) :].lower()


def _compose(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return _compose(unicodedata.normalize("NFD", text).casefold())


def _forms(text: str) -> tuple[str, ...]:
    """Return a path in the spelling of each level, from `EXACT` to `CASE`."""
    slashes = _use_slashes(text)
    # Composed first: a decomposed letter after a percent sign may look like a hexadecimal digit.
    composed = _compose(slashes)
    decoded = _compose(_use_slashes(_decode_percent(composed)))
    return text, slashes, composed, decoded, _lower_suffix(decoded), _fold(decoded)


def canonical(path: str) -> str:
    """Return the spelling that all spellings of a path have in common."""
    if not path.isascii():
        return _forms(path)[CASE]
    for special in _SPECIAL:
        if special in path:
            return _forms(path)[CASE]
    return path.lower()


def _difference(wanted: tuple[str, ...], text: str) -> int | None:
    if text == wanted[EXACT]:
        return EXACT
    pairs = zip(wanted, _forms(text), strict=True)
    return next((level for level, (one, other) in enumerate(pairs) if one == other), None)
