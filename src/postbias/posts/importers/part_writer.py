"""Write records to parts on disk; the import can be resumed after each part.

A part is one shard of posts (none if all were rejected) and one table of rejects. Where a part ends
depends only on the records, so that a resumed import writes the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import StorageError
from postbias.posts.importers.import_progress import (
    PROGRESS_FILE,
    VIDEOS_FOLDER,
    ImportProgress,
    RecordReader,
    SeenIds,
)
from postbias.posts.importers.post_arrays import posts_to_arrow
from postbias.posts.importers.records import (
    ImportedPost,
    ImportReject,
    Record,
)
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.importers.withheld_posts import withhold_forgotten
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    SHARD_BYTES,
    SHARD_POSTS,
    atomic_write,
    parquet_writer,
    write_table,
)
from postbias.posts.video_details import VIDEO_DETAILS, write_video_details

#: A part also ends after this many rejects, which are kept in memory.
PART_REJECTS = 50_000

#: A row group also ends at this size, which fits into the cache of a processor.
GROUP_BYTES = 4 * 2**20

# Values of the column `stage` of rejects.
STAGE_POST, STAGE_IMAGE = "import", "import image"


class BackgroundWriter:
    """A thread that writes while the next records are read; runs tasks in order.

    After a task has failed, no further task runs: the last task of a part records it as complete,
    which it must not do if an earlier one has not written its posts.
    """

    def __init__(self) -> None:
        """Start the thread."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="import-writer")
        self._pending: deque[Future[None]] = deque()
        self._has_failed = False

    def submit(self, task: Callable[[], None]) -> None:
        """Add a task; block while two are pending, which bounds the memory.

        An exception of a task is raised by a later call of `submit` or `wait`.
        """
        while len(self._pending) > 1:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._run, task))

    def clean_up(self, task: Callable[[], None]) -> None:
        """Run a task after all pending ones, even if one has failed, and wait for it."""
        self._pool.submit(task).result()

    def _run(self, task: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            task()
        except BaseException:
            self._has_failed = True
            raise

    def wait(self) -> None:
        """Wait until all tasks are done."""
        while self._pending:
            self._pending.popleft().result()

    def __enter__(self) -> BackgroundWriter:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the running task and cancel the others."""
        self._pool.shutdown(cancel_futures=True)


def write_part(
    folder: Path,
    records: RecordReader,
    progress: ImportProgress,
    seen: SeenIds,
    writer: BackgroundWriter,
) -> None:
    """Write one part, then the progress.

    Args:
        folder: Receives `posts/`, `rejects/` and the progress file.
        records: The remaining records, at least one.
        progress: Counts so far; updated.
        seen: Ids so far; updated.
        writer: Does the writing; everything is on disk after its `wait`.
    """
    part = _Part()
    shard = _Shard(folder / "posts" / f"{progress.n_shards:05d}.parquet")
    try:
        while (record := records.head) is not None and not part.is_full_before(record):
            records.advance()
            part.add(record, progress, seen)
            if part.is_group_full:
                writer.submit(partial(shard.append, part.take_group(progress)))
        if part.group:
            writer.submit(partial(shard.append, part.take_group(progress)))
    except BaseException as error:
        writer.clean_up(partial(shard.abandon, error))
        raise
    rejects = folder / "rejects" / f"{progress.n_parts:05d}.parquet"
    progress.n_shards += part.n_posts > 0
    progress.n_parts += 1
    progress.is_complete = records.head is None
    progress.unit, progress.offset = records.position
    progress_json = progress.to_json()

    def finish() -> None:
        shard.close()
        write_table(pa.Table.from_pylist(part.rejects, REJECTS), rejects, REJECTS)
        videos = folder / VIDEOS_FOLDER / rejects.name
        write_video_details([pa.Table.from_pylist(part.videos, VIDEO_DETAILS)], videos)
        with atomic_write(folder / PROGRESS_FILE) as temporary:
            temporary.write_text(progress_json, encoding="utf-8")

    writer.submit(finish)


class _Shard:
    """A shard that is written atomically on `close`; without posts there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._out: pq.ParquetWriter | None = None

    def append(self, posts: list[ImportedPost]) -> None:
        """Write posts as one row group."""
        try:
            if self._out is None:
                temporary = self._stack.enter_context(atomic_write(self._path))
                self._out = self._stack.enter_context(parquet_writer(temporary, POSTS))
            self._out.write_table(posts_to_arrow(posts))
        except BaseException as error:
            self.abandon(error)
            if isinstance(error, OSError):
                raise StorageError(
                    f"cannot write {self._path}: {error.strerror or error}",
                    do="free space or choose another disk, then run the same command again",
                ) from error
            raise

    def close(self) -> None:
        """Replace the shard by what was written."""
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        """Remove what was written."""
        with suppress(BaseException):
            self._stack.__exit__(type(error), error, None)


class _Part:
    """The current part: its rejects, and the posts of its unfinished row group."""

    def __init__(self) -> None:
        self.group: list[ImportedPost] = []
        self.group_bytes = 0
        self.n_posts = 0
        self.n_bytes = 0
        self.rejects: list[dict[str, str | None]] = []
        self.videos: list[dict[str, str | float | None]] = []

    def is_full_before(self, record: Record) -> bool:
        """Tell whether a record belongs to the next part."""
        if len(self.rejects) >= PART_REJECTS or self.n_posts >= SHARD_POSTS:
            return True
        if not self.n_posts or not isinstance(record, ImportedPost):
            return False
        return self.n_bytes + record.n_bytes > SHARD_BYTES

    @property
    def is_group_full(self) -> bool:
        return len(self.group) >= ROW_GROUP_POSTS or self.group_bytes >= GROUP_BYTES

    def add(self, record: Record, progress: ImportProgress, seen: SeenIds) -> None:
        """Add a post or a reject."""
        if seen.forgotten.lists:
            record = withhold_forgotten(record, seen.forgotten)
        if isinstance(record, ImportedPost):
            if record.image_faults:
                record = _reject_without_content(record) or record
            if isinstance(record, ImportedPost) and not seen.is_new(record.post_id):
                record = _reject_duplicate(record)
        if isinstance(record, ImportReject):
            self._reject(record.source, record.post_id, STAGE_POST, record.reason, record.detail)
            progress.count_reject(record)
            return
        if record.image_faults:
            self._reject_images(record, progress)
        if record.emptied_cells:
            progress.emptied_cells.update(record.emptied_cells)
        if record.duration_s is not None or record.transcript:
            self.videos += record.video_details
        self.group.append(record)
        n_bytes = record.n_bytes
        self.group_bytes += n_bytes
        self.n_bytes += n_bytes
        self.n_posts += 1

    def _reject_images(self, post: ImportedPost, progress: ImportProgress) -> None:
        for fault in post.image_faults:
            self._reject(post.source, post.post_id, STAGE_IMAGE, fault.reason, fault.detail)
            progress.count_image_fault(post.source, fault)
        faults = {fault.reason for fault in post.image_faults}
        progress.n_address_posts += RejectReason.NOT_DOWNLOADED in faults

    def _reject(
        self, source: str, post_id: str | None, stage: str, reason: RejectReason, detail: str
    ) -> None:
        self.rejects.append(
            {
                "source": repair_text(source),
                "post_id": post_id and repair_text(post_id),
                "stage": stage,
                "reason": str(reason),
                "detail": repair_text(detail),
            }
        )

    def take_group(self, progress: ImportProgress) -> list[ImportedPost]:
        """Count and return the posts of the row group, and start the next one."""
        progress.count_posts(self.group)
        group, self.group, self.group_bytes = self.group, [], 0
        return group


def _reject_without_content(post: ImportedPost) -> ImportReject | None:
    """Reject a post without a caption whose images are all unreadable.

    A post that never had a caption or an image is kept, and one whose images were not downloaded.
    """
    if post.caption or post.images or not post.image_faults:
        return None
    faults = [f for f in post.image_faults if f.reason != RejectReason.NOT_DOWNLOADED]
    if not faults:
        return None
    details = "; ".join(fault.detail for fault in post.image_faults)
    reason = faults[0].reason
    return ImportReject(post.source, post.post_id, reason, f"no caption, and {details}")


def _reject_duplicate(post: ImportedPost) -> ImportReject:
    return ImportReject(
        post.source, post.post_id, RejectReason.DUPLICATE_ID, "an earlier post has this id"
    )
