"""Iterate over captions without a Python object for each caption at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.posts.remote_files import AnyPath
from postbias.posts.shards import iter_posts

_CHUNK_POSTS = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredCaptions:
    """Captions of some of the posts in shards, read again each time they are needed.

    Captions take more memory than everything else that is known of posts without their images.

    Attributes:
        shards: Post shards, in order.
        is_kept: Which posts of the shards are meant, bool, (M,).
    """

    shards: tuple[AnyPath, ...]
    is_kept: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of captions N."""
        return int(np.count_nonzero(self.is_kept))

    def batches(self) -> Iterator[pa.Array]:
        """Yield the captions as arrays of at most one shard, which may be empty."""
        start = 0
        for batch in iter_posts(self.shards, ["caption"], _CHUNK_POSTS):
            end = start + batch.num_rows
            yield batch["caption"].filter(pa.array(self.is_kept[start:end]))
            start = end


#: A column in memory, or one that is read again.
Captions: TypeAlias = pa.ChunkedArray | StoredCaptions


def iterate_captions(captions: Captions) -> Iterator[str]:
    """Yield captions one by one."""
    for chunk in iterate_chunks(captions):
        yield from chunk


def iterate_chunks(captions: Captions) -> Iterator[list[str]]:
    """Yield captions as lists of about 65,536."""
    batches = captions.batches() if isinstance(captions, StoredCaptions) else captions.chunks
    waiting: list[pa.Array] = []
    for batch in batches:
        for start in range(0, len(batch), _CHUNK_POSTS):
            waiting.append(batch.slice(start, _CHUNK_POSTS))
            if sum(map(len, waiting)) >= _CHUNK_POSTS:
                yield pa.chunked_array(waiting).to_pylist()
                waiting = []
    if waiting:
        yield pa.chunked_array(waiting).to_pylist()
