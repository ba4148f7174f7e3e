"""Leave out posts that were forgotten."""

from __future__ import annotations

from pathlib import Path

from postbias.posts.forgotten_ids import ForgottenLists
from postbias.posts.importers.records import ImportedPost, ImportReject, Record
from postbias.posts.reasons import RejectReason
from postbias.posts.shards import list_shards, read_table


def withhold_forgotten(record: Record, forgotten: ForgottenLists) -> Record:
    """Replace a forgotten post by a reject without its id and source.

    Returns:
        The record itself if it is not forgotten.
    """
    author = record.author if isinstance(record, ImportedPost) else None
    if not forgotten.has_post(record.post_id, author):
        return record
    detail = "in the list of forgotten posts"
    return ImportReject("(forgotten)", None, RejectReason.FORGOTTEN, detail)


def has_forgotten_posts(posts: Path, forgotten: ForgottenLists) -> bool:
    """Tell whether a folder of shards has a post that was forgotten after its import.

    Raises:
        SchemaError: If a shard is damaged.
        CorpusError: If there is no shard.
    """
    if not forgotten.lists:
        return False
    return any(
        forgotten.has_post(post_id, author)
        for shard in list_shards(posts)
        for post_id, author in zip(
            *read_table(shard, columns=["post_id", "author"]).to_pydict().values(), strict=True
        )
    )
