"""How far an import has come: what is done, what comes next, which ids were seen.

Knows no layout and writes no posts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from postbias.posts.importers.records import Record, Source
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table

#: The file that holds it.
PROGRESS = "progress.json"


@dataclass(slots=True)
class Progress:
    """How far an import has come; written after each part.

    Attributes:
        digest: Of the export, the layout and the options.
        is_complete: Whether all is read; what is left is to move it into place.
        unit: Units that are done.
        offset: Records that are done of the next unit.
        n_parts: Parts written.
        n_shards: Shards written; a part whose posts were all rejected has none.
        n_posts: Posts in them.
        n_images: Images in them.
        n_unknown_wrappers: Rejects whose JSON is sound but of no known shape.
        reasons: Rejects by reason.
        image_reasons: Images that could not be taken along, by reason.
    """

    digest: str
    is_complete: bool = False
    unit: int = 0
    offset: int = 0
    n_parts: int = 0
    n_shards: int = 0
    n_posts: int = 0
    n_images: int = 0
    n_unknown_wrappers: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    image_reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, path: Path, digest: str) -> Progress:
        """Read the progress of an interrupted import.

        Args:
            path: The file.
            digest: Of the import that is to go on.

        Returns:
            The progress; a fresh one if there is none or it is of another import.
        """
        try:
            progress = cls(**json.loads(path.read_text(encoding="utf-8")))
            progress.reasons = Counter(progress.reasons)
            progress.image_reasons = Counter(progress.image_reasons)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls(digest)
        return progress if progress.digest == digest else cls(digest)

    def render(self) -> str:
        """Write it down as `load` reads it.

        Returns:
            JSON.
        """
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})


class Records:
    """The records of a source with one of lookahead, and where each of them lies."""

    def __init__(self, source: Source, progress: Progress, bar: tqdm[NoReturn]) -> None:
        """Begin where an import stopped.

        Args:
            source: The export.
            progress: How far it came.
            bar: The progress bar, moved unit by unit.
        """
        self._all = self._walk(source, progress.unit, progress.offset, bar)
        self._next = next(self._all, None)

    @staticmethod
    def _walk(
        source: Source, unit: int, offset: int, bar: tqdm[NoReturn]
    ) -> Iterator[tuple[int, int, Record]]:
        bar.update(unit)
        for at, load in enumerate(islice(source.units(), unit, None), start=unit):
            first = offset if at == unit else 0
            for place, record in enumerate(islice(load(), first, None), start=first):
                yield at, place, record
            bar.update()

    @property
    def head(self) -> Record | None:
        """The next record; None at the end."""
        return self._next[2] if self._next else None

    @property
    def position(self) -> tuple[int, int]:
        """Unit and place of the next record; meaningless at the end."""
        return self._next[:2] if self._next else (0, 0)

    def take(self) -> Record:
        """Take the next record.

        Returns:
            It.
        """
        assert self._next is not None
        record = self._next[2]
        self._next = next(self._all, None)
        return record


class SeenIds:
    """Ids of the posts written so far, eight bytes each: 1.6 million fit in 150 MB."""

    def __init__(self, shards: Sequence[Path]) -> None:
        """Take up the ids of finished shards.

        Args:
            shards: The shards.
        """
        self._digests: set[int] = set()
        for shard in shards:
            for post_id in read_table(shard, POSTS, ["post_id"])["post_id"].to_pylist():
                self.is_new(post_id)

    def is_new(self, post_id: str) -> bool:
        """Remember an id.

        Args:
            post_id: The id.

        Returns:
            Whether it was not there before.
        """
        before = len(self._digests)
        digest = hashlib.blake2b(post_id.encode(), digest_size=8).digest()
        self._digests.add(int.from_bytes(digest, "little"))
        return len(self._digests) > before
