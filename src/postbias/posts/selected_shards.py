"""Write selected posts to shards of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.schema import POSTS
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    SHARD_BYTES,
    SHARD_POSTS,
    atomic_write,
    open_shard,
    parquet_writer,
)


def write_selected_shards(
    shards: Sequence[Path], post_ids: pa.Array, folder: Path, first: int
) -> int:
    """Write selected posts to new shards, within the limits of shards.

    Args:
        shards: Post shards, read one row group at a time.
        post_ids: Ids of the posts to write.
        folder: Receives the shards, with the posts in shard and row order.
        first: Number of the first new shard.

    Returns:
        The number of shards written.

    Raises:
        SchemaError: If a shard is damaged.
        StorageError: If a shard cannot be written.
    """
    groups = _iter_row_groups(shards, post_ids)
    group, n_shards = next(groups, None), 0
    while group is not None:
        n_posts = n_bytes = 0
        with (
            atomic_write(folder / f"{first + n_shards:05d}.parquet") as temporary,
            parquet_writer(temporary, POSTS) as out,
        ):
            while group is not None and not (
                n_posts
                and (n_posts + group.num_rows > SHARD_POSTS or n_bytes + group.nbytes > SHARD_BYTES)
            ):
                out.write_table(group)
                n_posts, n_bytes = n_posts + group.num_rows, n_bytes + group.nbytes
                group = next(groups, None)
        n_shards += 1
    return n_shards


def _iter_row_groups(shards: Sequence[Path], post_ids: pa.Array) -> Iterator[pa.Table]:
    """Fill row groups: of a small sample, a group of the corpus has a few posts only."""
    pending = POSTS.empty_table()
    for selected in _iter_selected(shards, post_ids):
        pending = pa.concat_tables([pending, selected])
        while pending.num_rows >= ROW_GROUP_POSTS:
            yield pending.slice(0, ROW_GROUP_POSTS).combine_chunks()
            pending = pending.slice(ROW_GROUP_POSTS)
    if pending.num_rows:
        yield pending.combine_chunks()


def _iter_selected(shards: Sequence[Path], post_ids: pa.Array) -> Iterator[pa.Table]:
    """Read the selected posts of each row group; images only of groups that have some."""
    for shard in shards:
        with open_shard(shard) as file:
            for number in range(file.num_row_groups):
                ids = file.read_row_group(number, columns=["post_id"])["post_id"]
                is_selected = pc.is_in(ids, value_set=post_ids)
                if pc.any(is_selected).as_py():
                    yield file.read_row_group(number).filter(is_selected).cast(POSTS)
