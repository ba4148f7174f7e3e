"""Write the new posts of an appended export to shards of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.schema import POSTS
from postbias.posts.shards import (
    SHARD_BYTES,
    SHARD_POSTS,
    atomic_write,
    open_shard,
    parquet_writer,
)


def write_new_shards(shards: list[Path], post_ids: pa.Array, folder: Path, first: int) -> int:
    """Write selected posts to new shards, within the limits of shards.

    Args:
        shards: Post shards, read one row group at a time.
        post_ids: Ids of the posts to write.
        folder: Receives the shards.
        first: Number of the first new shard.

    Returns:
        The number of shards written.

    Raises:
        StorageError: If a shard cannot be written.
    """
    groups = _iter_selected_groups(shards, post_ids)
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


def _iter_selected_groups(shards: list[Path], post_ids: pa.Array) -> Iterator[pa.Table]:
    for shard in shards:
        with open_shard(shard) as file:
            for number in range(file.num_row_groups):
                group = file.read_row_group(number)
                selected = group.filter(pc.is_in(group["post_id"], value_set=post_ids))
                if selected.num_rows:
                    yield selected.cast(POSTS)
