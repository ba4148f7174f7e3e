"""Iterate over a column of captions without a Python object for each caption at the same time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

_CHUNK_POSTS = 1 << 16


def iterate_captions(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the captions of a column one by one."""
    for chunk in iterate_chunks(column):
        yield from chunk


def iterate_chunks(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """Yield the captions of a column as lists of up to 65,536."""
    for start in range(0, len(column), _CHUNK_POSTS):
        yield column.slice(start, _CHUNK_POSTS).to_pylist()
