"""Columns of `truth.parquet` that demo corpora need not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.shards import read_table


def read_recorded(path: Path, column: str, post_ids: Sequence[str]) -> list[Any] | None:
    """Read what a demo corpus records of some posts.

    Args:
        path: `truth.parquet` of the corpus.
        column: Name of the column.
        post_ids: Ids of the posts.

    Returns:
        One value per post; None if the corpus does not record the column, or lacks a post.

    Raises:
        SchemaError: If the file cannot be read.
    """
    table = read_table(path)
    if column not in table.column_names:
        return None
    rows = pc.index_in(pa.array(post_ids, pa.string()), table["post_id"].combine_chunks())
    if rows.null_count:
        return None
    values: list[Any] = table[column].take(rows).to_pylist()
    return values
