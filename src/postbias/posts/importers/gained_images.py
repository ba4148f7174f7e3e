"""Add images to posts of a corpus that had none of them when they were imported.

A shard with such posts is rewritten: it keeps its name, its rows and all their other columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.schema import POSTS
from postbias.posts.shards import atomic_write, list_shards, open_shard, parquet_writer


def has_gained(before: list[str | None], after: list[str | None]) -> bool:
    """Tell whether a post has more images than before, and still all that it had.

    Args:
        before: Names of its images in the corpus.
        after: Names of its images in the export.
    """
    return len(after) > len(before) and set(before) <= set(after)


def rewrite_shards(shards: list[Path], export: Path, gained: pa.Array, folder: Path) -> list[Path]:
    """Write the shards that contain some posts again, with the images of an export.

    Args:
        shards: The shards of the corpus.
        export: The folder with the shards of the export.
        gained: Ids of posts that are in both.
        folder: Receives shards of the same names.

    Returns:
        The shards of the corpus that were written again.

    Raises:
        SchemaError: If a shard is damaged.
        StorageError: If a shard cannot be written.
    """
    if not len(gained):
        return []
    images = _ExportImages(export)
    rewritten = []
    for shard in shards:
        with open_shard(shard) as file:
            ids = file.read(columns=["post_id"])["post_id"]
            if not pc.any(pc.is_in(ids, value_set=gained)).as_py():
                continue
            with (
                atomic_write(folder / shard.name) as temporary,
                parquet_writer(temporary, POSTS) as out,
            ):
                for number in range(file.num_row_groups):
                    out.write_table(images.add_to(file.read_row_group(number), gained))
        rewritten.append(shard)
    return rewritten


class _ExportImages:
    """The images of an export, read one row group at a time."""

    def __init__(self, folder: Path) -> None:
        self._groups: list[tuple[Path, int]] = []
        ids, places = [], []
        for shard in list_shards(folder):
            with open_shard(shard) as file:
                for number in range(file.num_row_groups):
                    group = file.read_row_group(number, columns=["post_id"])["post_id"]
                    ids.append(group.combine_chunks())
                    places.append(np.full(len(group), len(self._groups)))
                    self._groups.append((shard, number))
        self._ids, self._places = pa.concat_arrays(ids), np.concatenate(places)
        # The posts of both are mostly in the same order.
        self._read = lru_cache(maxsize=2)(self._read_group)

    def add_to(self, group: pa.Table, gained: pa.Array) -> pa.Table:
        """Replace the images of some posts of a row group by those of the export."""
        ids = group["post_id"].combine_chunks()
        images = group["images"].combine_chunks()
        for found, place in self._find(ids.filter(pc.is_in(ids, value_set=gained))):
            later = self._read(place)
            rows = pc.index_in(later["post_id"], value_set=found)
            later = later.filter(pc.is_valid(rows))
            rows = pc.index_in(ids, value_set=later["post_id"].combine_chunks())
            taken = pc.fill_null(pc.add(rows, len(images)), pa.array(range(len(images))))
            images = pa.concat_arrays([images, later["images"].combine_chunks()]).take(taken)
        return group.set_column(
            group.schema.get_field_index("images"), POSTS.field("images"), images
        ).cast(POSTS)

    def _find(self, ids: pa.Array) -> Iterator[tuple[pa.Array, int]]:
        """Iterate over the row groups of the export that have some posts."""
        rows = pc.index_in(ids, value_set=self._ids).to_numpy()
        places = self._places[rows]
        for place in np.unique(places):
            yield ids.filter(pa.array(places == place)), int(place)

    def _read_group(self, place: int) -> pa.Table:
        shard, number = self._groups[place]
        with open_shard(shard) as file:
            return file.read_row_group(number, columns=["post_id", "images"])
