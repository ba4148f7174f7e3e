"""Read and write `DEST/updates.parquet`: what later imports changed about posts in the shards.

Scores, labels and caches are keyed by the content of shards and posts. So new engagement counts,
and the last import that had a post, are kept here; a later import rewrites only shards whose posts
gained images.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts, read_table, write_table

UPDATES_FILE = "updates.parquet"

#: One row per post that a later import contained again, or that had vanished from one. `likes` and
#: `comments` are the latest known counts. Imports are numbered from 0; `vanished_in` is the first
#: import that should have contained the post and did not, null if the post has not vanished.
POST_UPDATES = pa.schema(
    [
        POSTS.field("post_id"),
        POSTS.field("likes"),
        POSTS.field("comments"),
        pa.field("last_seen", pa.int32(), nullable=False),
        pa.field("vanished_in", pa.int32()),
    ]
)


def read_updates(data: Path) -> pa.Table:
    """Read the updates of a corpus; an empty table if nothing was ever appended.

    Args:
        data: The folder that contains `posts/`.

    Raises:
        SchemaError: If the file is damaged.
    """
    path = data / UPDATES_FILE
    return read_table(path, POST_UPDATES) if path.is_file() else POST_UPDATES.empty_table()


def write_updates(updates: pa.Table, path: Path) -> None:
    """Write updates, sorted by post id.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_table(updates.sort_by("post_id"), path, POST_UPDATES)


def apply_updates(posts: pa.Table, updates: pa.Table) -> pa.Table:
    """Replace `likes` and `comments` of posts by the latest known counts.

    Args:
        posts: Any posts, with the columns `post_id`, `likes` and `comments`.
        updates: Result of `read_updates`.

    Returns:
        The posts with the same columns, in the same order.
    """
    rows = pc.index_in(posts["post_id"], value_set=updates["post_id"].combine_chunks())
    for name in ("likes", "comments"):
        latest = updates[name].combine_chunks().take(rows.combine_chunks())
        column = pc.coalesce(latest, posts[name])
        posts = posts.set_column(posts.schema.get_field_index(name), POSTS.field(name), column)
    return posts


def read_engagement(data: Path) -> pa.Table:
    """Read the latest known engagement counts of all posts.

    Args:
        data: The folder that contains `posts/`.

    Returns:
        `post_id`, `likes` and `comments` of every post, in shard and row order.

    Raises:
        CorpusError: If there is no shard.
        SchemaError: If a file is damaged.
    """
    posts = read_posts(data / "posts", ["post_id", "likes", "comments"])
    return apply_updates(posts, read_updates(data))
