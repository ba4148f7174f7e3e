"""Read which posts have a label, and in which round of sampling they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CorpusError, SchemaError
from postbias.posts.schema import SAMPLE, axes_in_schema, check_table, labels_schema
from postbias.posts.shards import read_table

#: With fewer labels, the folds are too small to measure anything.
MIN_LABELS = 50


def read_main_axis_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """Read the valid labels of the main axis.

    Args:
        path: The labels table.

    Returns:
        Sorted post ids, and the label of each, (N,).

    Raises:
        CorpusError: If there are fewer than `MIN_LABELS`.
        SchemaError: If the file is damaged or does not match the schema.
    """
    table = read_table(path)
    axes = axes_in_schema(table.schema, companion="_sd")
    table = check_table(table, labels_schema(axes), str(path))
    table = table.filter(pc.equal(table["status"], "ok")).sort_by("post_id")
    if table.num_rows < MIN_LABELS:
        raise CorpusError(
            "too few labelled posts to split",
            seen=table.num_rows,
            allowed=f"at least {MIN_LABELS}",
            do="raise sample.n, or read in reports/labels.json why labels were rejected",
        )
    return table["post_id"].to_pylist(), table[axes[0]].to_numpy()


def read_rounds_of_posts(path: Path, post_ids: Sequence[str]) -> pa.Array:
    """Read in which round of sampling each post was drawn.

    Args:
        path: The sample.
        post_ids: Labelled posts. (N,)

    Returns:
        The rounds, from 1. (N,)

    Raises:
        SchemaError: If the sample is damaged, or lacks a labelled post.
    """
    sample = read_table(path, SAMPLE, ["post_id", "round"])
    at = pc.index_in(pa.array(post_ids, pa.string()), value_set=sample["post_id"].combine_chunks())
    if at.null_count:
        raise SchemaError(
            f"{at.null_count} labelled posts are not in the sample",
            seen=post_ids[at.is_null().index(True).as_py()],
            do="run `dvc repro`, so that labels and sample match",
        )
    return sample["round"].take(at).combine_chunks()
