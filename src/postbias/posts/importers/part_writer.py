"""Records to parts on disk: post shards and their rejects, each durable, resumable after any.

A part is one shard of posts (none if all were rejected) and one table of rejects. Where it ends
depends on the records alone, so that an interrupted import that goes on writes the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import StorageError
from postbias.posts.importers.import_progress import PROGRESS, Progress, Records, SeenIds
from postbias.posts.importers.records import Picture, Post, Record, Reject
from postbias.posts.importers.text_repair import clean
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import IMAGE, POSTS, REJECTS
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    SHARD_BYTES,
    SHARD_POSTS,
    atomic_write,
    write_table,
    parquet_writer,
)

#: A part also ends when so many rejects are waiting: they are held in memory.
PART_REJECTS = 50_000

#: Posts are handed to Parquet at the latest when they weigh this much: it fits a processor's cache.
GROUP_BYTES = 4 * 2**20

POST, IMAGE_OF_A_POST = "import", "import image"


class Background:
    """One thread that writes while the next files are read; tasks run in the order given."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="import-writer")
        self._waiting: deque[Future[None]] = deque()

    def do(self, task: Callable[[], None]) -> None:
        """Hand over a task; waits while two are not done, so that memory stays bounded.

        Args:
            task: What to do; what it raises, a later call of `do` or `wait` raises.
        """
        while len(self._waiting) > 1:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(task))

    def wait(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Background:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the running task end; what waits is dropped."""
        self._pool.shutdown(cancel_futures=True)


def write_part(
    folder: Path, records: Records, progress: Progress, seen: SeenIds, background: Background
) -> None:
    """Write one part and, behind it, the progress.

    Args:
        folder: Where `posts/`, `rejects/` and `progress.json` are written.
        records: What is left to import; at least one record.
        progress: Counts so far; updated.
        seen: Ids so far; updated.
        background: Who writes; all is on disk after its `wait`.
    """
    part = _Part()
    shard = _Shard(folder / "posts" / f"{progress.n_shards:05d}.parquet")
    try:
        while records.head is not None and not part.is_full_before(records.head):
            part.add(records.take(), progress, seen)
            if part.is_group_full:
                background.do(partial(shard.append, part.take_group()))
        if part.group:
            background.do(partial(shard.append, part.take_group()))
    except BaseException as error:
        background.do(partial(shard.abandon, error))
        raise
    rejects = folder / "rejects" / f"{progress.n_parts:05d}.parquet"
    progress.n_shards += part.n_posts > 0
    progress.n_parts += 1
    progress.is_complete = records.head is None
    progress.unit, progress.offset = records.position
    said = progress.render()

    def finish() -> None:
        shard.close()
        write_table(pa.Table.from_pylist(part.rejects, REJECTS), rejects, REJECTS)
        with atomic_write(folder / PROGRESS) as temporary:
            temporary.write_text(said, encoding="utf-8")

    background.do(finish)


class _Shard:
    """A shard that appears when it is closed, or not at all; no file if nothing is appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._out: pq.ParquetWriter | None = None

    def append(self, posts: list[Post]) -> None:
        """Write posts as one row group."""
        if self._out is None:
            temporary = self._stack.enter_context(atomic_write(self._path))
            self._out = self._stack.enter_context(parquet_writer(temporary, POSTS))
        try:
            self._out.write_table(_table(posts))
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror or error}",
                do="free space or choose another disk, then run the same command again",
            ) from error

    def close(self) -> None:
        """Let the shard appear."""
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        """Remove what was written."""
        with suppress(BaseException):
            self._stack.__exit__(type(error), error, None)


class _Part:
    """What of the current part is in memory."""

    def __init__(self) -> None:
        self.group: list[Post] = []
        self.group_bytes = 0
        self.n_posts = 0
        self.n_bytes = 0
        self.rejects: list[dict[str, str | None]] = []

    def is_full_before(self, record: Record) -> bool:
        """Tell whether a record belongs to the next part."""
        if len(self.rejects) >= PART_REJECTS or self.n_posts >= SHARD_POSTS:
            return True
        is_heavy = isinstance(record, Post) and self.n_bytes + record.n_bytes > SHARD_BYTES
        return is_heavy and self.n_posts > 0

    @property
    def is_group_full(self) -> bool:
        return len(self.group) >= ROW_GROUP_POSTS or self.group_bytes >= GROUP_BYTES

    def add(self, record: Record, progress: Progress, seen: SeenIds) -> None:
        """Keep a post or reject it."""
        if isinstance(record, Post):
            record = _without_content(record) or _duplicate(record, seen) or record
        if isinstance(record, Reject):
            self._reject(record.source, record.post_id, POST, record.reason, record.detail)
            progress.reasons[str(record.reason)] += 1
            progress.n_unknown_wrappers += record.is_unknown_wrapper
            return
        for fault in record.faults:
            self._reject(record.source, record.post_id, IMAGE_OF_A_POST, fault.reason, fault.detail)
            progress.image_reasons[str(fault.reason)] += 1
        self.group.append(record)
        n_bytes = record.n_bytes
        self.group_bytes += n_bytes
        self.n_bytes += n_bytes
        self.n_posts += 1
        progress.n_posts += 1
        progress.n_images += len(record.pictures)

    def _reject(
        self, source: str, post_id: str | None, stage: str, reason: RejectReason, detail: str
    ) -> None:
        self.rejects.append(
            {
                "source": clean(source),
                "post_id": post_id and clean(post_id),
                "stage": stage,
                "reason": str(reason),
                "detail": clean(detail),
            }
        )

    def take_group(self) -> list[Post]:
        """Give up the waiting posts: they become one row group."""
        group, self.group, self.group_bytes = self.group, [], 0
        return group


def _without_content(post: Post) -> Reject | None:
    """Reject a post of which the export has lost everything; one that never had more is kept."""
    if post.caption or post.pictures or not post.faults:
        return None
    details = "; ".join(fault.detail for fault in post.faults)
    return Reject(post.source, post.post_id, post.faults[0].reason, f"no caption, and {details}")


def _duplicate(post: Post, seen: SeenIds) -> Reject | None:
    if seen.is_new(post.post_id):
        return None
    return Reject(
        post.source, post.post_id, RejectReason.DUPLICATE_ID, "an earlier post has this id"
    )


def _table(posts: list[Post]) -> pa.Table:
    columns = {
        name: [getattr(post, attribute) for post in posts]
        for name, attribute in zip(POSTS.names, _ATTRIBUTES, strict=True)
        if attribute != "pictures"
    }
    columns["source"] = [clean(source) for source in columns["source"]]
    arrays = [
        _pictures(posts) if field.name == "images" else pa.array(columns[field.name], field.type)
        for field in POSTS
    ]
    return pa.Table.from_arrays(arrays, schema=POSTS)


_ATTRIBUTES = tuple(
    {"images": "pictures", "posted_at": "posted_at_us"}.get(name, name) for name in POSTS.names
)


def _pictures(posts: list[Post]) -> pa.Array:
    """Lay out the images column by column: Arrow takes ten times as long over dictionaries."""
    pictures: list[Picture] = [picture for post in posts for picture in post.pictures]
    counts = accumulate((len(post.pictures) for post in posts), initial=0)
    ends = accumulate((len(picture.data) for picture in pictures), initial=0)
    # One join is four times as fast as Arrow's own builder, which grows its buffer.
    data = pa.py_buffer(b"".join([picture.data for picture in pictures]))
    offsets = pa.array(list(ends), pa.int32()).buffers()[1]
    binary = pa.BinaryArray.from_buffers(pa.binary(), len(pictures), [None, offsets, data])
    paths = pa.array([clean(picture.path) for picture in pictures], pa.string())
    return pa.ListArray.from_arrays(
        pa.array(list(counts), pa.int32()),
        pa.StructArray.from_arrays([binary, paths], fields=list(IMAGE)),
        type=POSTS.field("images").type,
    )
