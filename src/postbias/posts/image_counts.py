"""Count the images in shards of posts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from postbias.posts.shards import IMAGE_PATHS, SHARD_POSTS, iter_posts


def count_images(shards: Sequence[Path]) -> int:
    """Count the images of posts, reading only their names.

    Raises:
        SchemaError: If a shard is damaged.
    """
    batches = iter_posts(shards, [IMAGE_PATHS], SHARD_POSTS)
    return sum(pc.sum(pc.list_value_length(batch[0])).as_py() or 0 for batch in batches)
