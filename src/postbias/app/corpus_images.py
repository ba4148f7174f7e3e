"""Read images of single posts from shards, as small JPEG files, and keep the last ones."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from postbias.errors import UnreadableImageError
from postbias.posts.images import decode_upright

THUMBNAIL_PX, LARGE_PX = 320, 1280
_QUALITY = 82
_MAX_KEPT_BYTES = 64 * 2**20
# Rows that are decoded at a time on the way to the wanted one.
_BATCH_ROWS = 8


class CorpusImages:
    """Reads images of a corpus; thread-safe."""

    def __init__(self, shards: Sequence[Path], starts: npt.NDArray[np.int64]) -> None:
        """Name the shards.

        Args:
            shards: Post shards.
            starts: First row of each shard, and the number of rows.
        """
        self._shards, self._starts = shards, starts
        self._kept: OrderedDict[tuple[int, int, int], bytes | None] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, row: int, number: int, side_px: int) -> bytes | None:
        """Read an image as JPEG.

        Args:
            row: The post.
            number: Its image, from 0.
            side_px: Longest side.

        Returns:
            The file; None if there is no such image, or it cannot be decoded.

        Raises:
            SchemaError: If the shard is damaged.
        """
        key = (row, number, side_px)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        files = self.files(row)
        data = _to_jpeg(files[number], side_px) if number < len(files) else None
        with self._lock:
            self._kept[key] = data
            self._kept_bytes += len(data or b"")
            while self._kept_bytes > _MAX_KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1] or b"")
        return data

    def files(self, row: int) -> list[bytes]:
        """Return the image files of a post as they were published; empty for a missing one."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = row - int(self._starts[shard])
        with pq.ParquetFile(self._shards[shard], memory_map=True) as file:
            group = 0
            while place >= (n := file.metadata.row_group(group).num_rows):
                place -= n
                group += 1
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=["images"]):
                if place < batch.num_rows:
                    return [image["bytes"] or b"" for image in batch["images"][place].as_py()]
                place -= batch.num_rows
        return []


def _to_jpeg(data: bytes, side_px: int) -> bytes | None:
    try:
        image = decode_upright(data, max_side_px=side_px)
    except UnreadableImageError:
        return None
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
