"""The list of forgotten posts and authors, which importers leave out.

A list has keyed hashes, not names: it does not say who was forgotten, but somebody who knows an
id can test whether it is in the list. There is one at the root of the repository, which outlives
the folder of the posts, and one in that folder, which goes with it to other repositories.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError
from postbias.paths import Paths
from postbias.posts.shards import atomic_write

FORGOTTEN_FILE = "forgotten.json"


@dataclass(frozen=True, slots=True)
class ForgottenIds:
    """Hashes of forgotten posts and authors.

    Attributes:
        key: Key of the hashes; random for each repository, so that lists cannot be compared.
        posts: Hashes of post ids.
        authors: Hashes of author names.
    """

    key: str
    posts: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> ForgottenIds:
        """Read the list of a folder; an empty one with a new key if there is none.

        Args:
            folder: The root of a repository, or the folder that contains `posts/`.

        Raises:
            InputError: If the file is damaged.
        """
        path = folder / FORGOTTEN_FILE
        if not path.is_file():
            return cls(secrets.token_hex(16))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            bytes.fromhex(content["key"])
            return cls(content["key"], frozenset(content["posts"]), frozenset(content["authors"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "the list of forgotten posts cannot be read",
                seen=str(path),
                do=f"restore it (`git checkout {FORGOTTEN_FILE}`, or `dvc pull --force` if it is "
                "in `data`); without it, an import brings posts back",
            ) from error

    def add(self, post_ids: Iterable[str], authors: Iterable[str]) -> ForgottenIds:
        """Return a list that also has these posts and authors."""
        return ForgottenIds(
            self.key,
            self.posts | {self._hash(post_id) for post_id in post_ids},
            self.authors | {self._hash(author) for author in authors},
        )

    def write(self, folder: Path) -> None:
        """Write the list of a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        content = {"key": self.key, "posts": sorted(self.posts), "authors": sorted(self.authors)}
        with atomic_write(folder / FORGOTTEN_FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def has_post(self, post_id: str | None, author: str | None) -> bool:
        """Tell whether a post, or its author, is forgotten."""
        is_forgotten = (
            bool(self.posts) and bool(post_id) and self._hash(post_id or "") in self.posts
        )
        if is_forgotten or not self.authors or author is None:
            return is_forgotten
        return self._hash(author) in self.authors

    def _hash(self, name: str) -> str:
        return hashlib.blake2b(
            name.encode(), digest_size=16, key=bytes.fromhex(self.key)
        ).hexdigest()


@dataclass(frozen=True, slots=True)
class ForgottenLists:
    """All lists of forgotten posts that apply to an import.

    Attributes:
        lists: Those that have an entry.
    """

    lists: tuple[ForgottenIds, ...]

    @classmethod
    def find(cls, dest: Path) -> ForgottenLists:
        """Find the lists of DEST, of the repository that contains it, and of the current one.

        Args:
            dest: The folder that receives the posts; it need not exist.

        Raises:
            InputError: If a list is damaged.
        """
        folders = [dest.resolve()]
        for start in (dest, Path.cwd()):
            with suppress(InputError):  # not in a repository
                folders.append(Paths.find(start).root)
        lists = [ForgottenIds.read(folder) for folder in dict.fromkeys(folders)]
        return cls(tuple(entry for entry in lists if entry.posts or entry.authors))

    def has_post(self, post_id: str | None, author: str | None) -> bool:
        """Tell whether a post, or its author, is forgotten."""
        return any(entry.has_post(post_id, author) for entry in self.lists)

    @property
    def fingerprint(self) -> str:
        """A text that changes with the lists; "" without an entry."""
        hashes = [hash_ for entry in self.lists for hash_ in (*entry.posts, *entry.authors)]
        return hashlib.blake2b(repr(sorted(hashes)).encode()).hexdigest() if hashes else ""


def add_forgotten(root: Path, data: Path, post_ids: Iterable[str], authors: Iterable[str]) -> None:
    """Add posts and authors to the list of a repository and to that of its corpus.

    Args:
        root: The root of the repository.
        data: The folder that contains `posts/`.
        post_ids: Ids of posts.
        authors: Names of authors.

    Raises:
        InputError: If a list is damaged.
        StorageError: If a list cannot be written.
    """
    ids, names = tuple(post_ids), tuple(authors)
    for folder, other in ((root, data), (data, root)):
        # A new list starts as a copy of the other one, with its key: the entries cannot be merged.
        source = folder if (folder / FORGOTTEN_FILE).is_file() else other
        ForgottenIds.read(source).add(ids, names).write(folder)
