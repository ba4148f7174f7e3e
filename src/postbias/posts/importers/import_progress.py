"""Progress of an import: counts so far, the next record, and the ids seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from postbias.posts.forgotten_ids import ForgottenLists
from postbias.posts.frame_paths import frame_time_s
from postbias.posts.importers.records import (
    Export,
    ImageFault,
    ImportedPost,
    ImportReject,
    Record,
)
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table

#: Stores an `ImportProgress` in the staging folder.
PROGRESS_FILE = "progress.json"

#: Folder in it with the durations and transcripts of each part, if there are any.
VIDEOS_FOLDER = "videos"

#: Examples in the summary are cut to this length; the table of rejects has the whole details.
MAX_EXAMPLE_CHARS = 200


@dataclass(slots=True)
class ImportProgress:
    """Counts and position of an import; saved after each part.

    Attributes:
        digest: Covers the export, the layout and the options.
        is_complete: Whether all records are read; then the output only has to be moved into place.
        unit: Number of finished units.
        offset: Number of finished records in the next unit.
        n_parts: Parts written.
        n_shards: Shards written; a part without posts has none.
        n_posts: Posts in the shards.
        n_images: Images in the shards.
        n_frames: Images in the shards that are frames of videos.
        n_unknown_wrappers: Rejects that are valid JSON of unknown structure.
        reasons: Number of rejects by reason.
        image_reasons: Number of unreadable images by reason.
        emptied_cells: Number of invalid values that were left out, by field.
        examples: The first reject of each reason.
        image_examples: The first unreadable image of each reason.
        n_address_posts: Posts that name images by addresses whose files are not in the folder.
        n_transcripts: Posts with a transcript of their video.
        encodings: Number of posts by the encoding of their file, if that is not UTF-8.
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
    n_frames: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    image_reasons: Counter[str] = field(default_factory=Counter)
    emptied_cells: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    image_examples: dict[str, str] = field(default_factory=dict)
    n_address_posts: int = 0
    n_transcripts: int = 0
    encodings: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, path: Path, digest: str) -> ImportProgress:
        """Read the progress of an interrupted import.

        Args:
            path: The file; it may be missing or damaged.
            digest: Digest of the import to resume.

        Returns:
            The saved progress, or a fresh one if there is none with this digest.
        """
        try:
            progress = cls(**json.loads(path.read_text(encoding="utf-8")))
            progress.reasons = Counter(progress.reasons)
            progress.image_reasons = Counter(progress.image_reasons)
            progress.emptied_cells = Counter(progress.emptied_cells)
            progress.encodings = Counter(progress.encodings)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls(digest)
        return progress if progress.digest == digest else cls(digest)

    def count_posts(self, posts: Sequence[ImportedPost]) -> None:
        """Count posts, their images and their transcripts."""
        self.n_posts += len(posts)
        for post in posts:
            if post.images:
                self.n_images += len(post.images)
                self.n_frames += sum(frame_time_s(image.path) is not None for image in post.images)
            if post.transcript:
                self.n_transcripts += 1
            if post.encoding:
                self.encodings[post.encoding] += 1

    def describe_encodings(self) -> str | None:
        """Describe the encodings of text files in one line; None if all are UTF-8."""
        counts = sorted(self.encodings.items())
        return "; ".join(f"{name}, {n} posts" for name, n in counts) or None

    def count_reject(self, reject: ImportReject) -> None:
        """Count a reject; keep the first of each reason as an example."""
        self.reasons[str(reject.reason)] += 1
        self.n_unknown_wrappers += reject.is_unknown_wrapper
        self.examples.setdefault(str(reject.reason), _to_line(reject.source, reject.detail))

    def count_image_fault(self, source: str, fault: ImageFault) -> None:
        """Count an image that could not be read; keep the first of each reason as an example."""
        self.image_reasons[str(fault.reason)] += 1
        self.image_examples.setdefault(str(fault.reason), _to_line(source, fault.detail))

    def to_json(self) -> str:
        """Serialise for `load`."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})


def _to_line(source: str, detail: str) -> str:
    return " ".join(repair_text(f"{source}: {detail}").split())[:MAX_EXAMPLE_CHARS]


class RecordReader:
    """Read the records of an export with one record of lookahead.

    Attributes:
        head: The next record; None at the end.
        position: Unit of the next record and its index in the unit; undefined at the end.
    """

    def __init__(
        self,
        export: Export,
        progress: ImportProgress,
        bar: tqdm[NoReturn],
        convert: Callable[[Record], Record],
    ) -> None:
        """Start at the first record that is not done.

        Args:
            progress: Where to start.
            bar: The progress bar; advances once per unit.
            convert: Applied to each record.
        """
        self._convert = convert
        self._records = self._iterate(export, progress.unit, progress.offset, bar)
        self.head: Record | None = None
        self.position = (0, 0)
        self.advance()

    def _iterate(
        self, export: Export, first_unit: int, offset: int, bar: tqdm[NoReturn]
    ) -> Iterator[Record]:
        bar.update(first_unit)
        for unit, load in enumerate(islice(export.units(), first_unit, None), start=first_unit):
            first = offset if unit == first_unit else 0
            records = islice(load(), first, None) if first else load()
            for index, record in enumerate(records, start=first):
                self.position = (unit, index)
                yield self._convert(record)
            bar.update()
        self.position = (0, 0)

    def advance(self) -> None:
        """Go to the next record."""
        self.head = next(self._records, None)


class SeenIds:
    """Ids of the posts written so far, as 8-byte hashes: 1.6 million take 150 MB.

    Python's hash has a random key per process, so that nobody can write ids with equal hashes.
    """

    def __init__(self, shards: Sequence[Path], forgotten: ForgottenLists) -> None:
        """Add the ids of finished shards.

        Args:
            forgotten: Posts to leave out.
        """
        self.forgotten = forgotten
        self._hashes: set[int] = set()
        for shard in shards:
            for post_id in read_table(shard, POSTS, ["post_id"])["post_id"].to_pylist():
                self.is_new(post_id)

    def is_new(self, post_id: str) -> bool:
        """Add an id and tell whether it was new."""
        n_before = len(self._hashes)
        self._hashes.add(hash(post_id))
        return len(self._hashes) > n_before
