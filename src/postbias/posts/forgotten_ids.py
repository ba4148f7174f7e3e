"""The list of forgotten posts and authors, which importers leave out.

The list has keyed hashes, not names: it does not say who was forgotten, but somebody who knows an
id can test whether it is in the list.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError
from postbias.posts.shards import atomic_write

FORGOTTEN_FILE = "forgotten.json"


@dataclass(frozen=True, slots=True)
class ForgottenIds:
    """Hashes of forgotten posts and authors.

    Attributes:
        key: Key of the hashes; random for each corpus, so that lists cannot be compared.
        posts: Hashes of post ids.
        authors: Hashes of author names.
    """

    key: str
    posts: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()

    @classmethod
    def read(cls, data: Path) -> ForgottenIds:
        """Read the list of a corpus; an empty one with a new key if there is none.

        Args:
            data: The folder that contains `posts/`.

        Raises:
            InputError: If the file is damaged.
        """
        path = data / FORGOTTEN_FILE
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
                do="restore it with `dvc pull --force`; without it, an import brings posts back",
            ) from error

    def add(self, post_ids: Iterable[str], authors: Iterable[str]) -> ForgottenIds:
        """Return a list that also has these posts and authors."""
        return ForgottenIds(
            self.key,
            self.posts | {self._hash(post_id) for post_id in post_ids},
            self.authors | {self._hash(author) for author in authors},
        )

    def write(self, data: Path) -> None:
        """Write the list of a corpus.

        Raises:
            StorageError: If it cannot be written.
        """
        content = {"key": self.key, "posts": sorted(self.posts), "authors": sorted(self.authors)}
        with atomic_write(data / FORGOTTEN_FILE) as temporary:
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
