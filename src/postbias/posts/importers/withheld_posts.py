"""Leave out posts that were forgotten."""

from __future__ import annotations

from postbias.posts.forgotten_ids import ForgottenIds
from postbias.posts.importers.records import ImportedPost, ImportReject, Record
from postbias.posts.reasons import RejectReason


def withhold_forgotten(record: Record, forgotten: ForgottenIds) -> Record:
    """Replace a forgotten post by a reject without its id and source.

    Returns:
        The record itself if it is not forgotten.
    """
    author = record.author if isinstance(record, ImportedPost) else None
    if not forgotten.has_post(record.post_id, author):
        return record
    detail = "in the list of forgotten posts"
    return ImportReject("(forgotten)", None, RejectReason.FORGOTTEN, detail)
