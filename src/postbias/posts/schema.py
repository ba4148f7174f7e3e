"""The columns of every table that leaves a part of postbias.

One Arrow schema each, checked on write and on read (see `postbias.posts.shards`). Knows nothing of
where the tables lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from postbias.errors import SchemaError

_TIME = pa.timestamp("us", tz="UTC")

#: Layout of the Hugging Face `Image` feature, so that `datasets` and its viewers show the images.
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

POSTS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("images", pa.list_(pa.field("element", IMAGE)), nullable=False),
        pa.field("sponsored", pa.bool_()),
        pa.field("posted_at", _TIME),
        pa.field("likes", pa.int64()),
        pa.field("comments", pa.int64()),
        pa.field("media_type", pa.string()),
        pa.field("platform", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)

REJECTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("post_id", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

#: One row per sampled post. `group_size` posts share its normalised caption; `probability` is its
#: own of being sampled, the choice among those included: 1 / `probability` weights it for all.
SAMPLE = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("stratum", pa.string(), nullable=False),
        pa.field("group_size", pa.int64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
    ]
)

SPLIT = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("fold", pa.string(), nullable=False),
    ]
)

#: Folds of `SPLIT`; `excluded` posts would leak between folds that were given from outside.
FOLDS = ("train", "valid", "calib", "test")
EXCLUDED = "excluded"


def labels_schema(axes: Sequence[str]) -> pa.Schema:
    """Return the schema of labels for these axes.

    Args:
        axes: Names of the rubric's axes, the main one first.

    Returns:
        `post_id`, `<axis>` and `<axis>_sd` (null where there is no label) per axis, then
        `n_replies`, `reason`, `teacher`, `rubric`, `status` (`ok` or a reject's `Reason`).
    """
    per_axis = [pa.field(f"{axis}{end}", pa.float64()) for axis in axes for end in ("", "_sd")]
    return pa.schema(
        [
            pa.field("post_id", pa.string(), nullable=False),
            *per_axis,
            pa.field("n_replies", pa.int64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("teacher", pa.string(), nullable=False),
            pa.field("rubric", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
        ]
    )


def scores_schema(axes: Sequence[str]) -> pa.Schema:
    """Return the schema of scores for these axes.

    Args:
        axes: Names of the student's axes, the main one first.

    Returns:
        Identity columns of the post, then `<axis>`, `<axis>_lo`, `<axis>_hi` per axis (null where
        the post could not be scored), `band` of the main axis, `modalities`, `n_images`, `status`
        (`ok` or a reject's `Reason`) and `champion` (digest).
    """
    ends = ("", "_lo", "_hi")
    per_axis = [pa.field(f"{axis}{end}", pa.float32()) for axis in axes for end in ends]
    return pa.schema(
        [
            pa.field("post_id", pa.string(), nullable=False),
            pa.field("author", pa.string(), nullable=False),
            pa.field("sponsored", pa.bool_()),
            pa.field("posted_at", _TIME),
            *per_axis,
            pa.field("band", pa.string()),
            pa.field("modalities", pa.string()),
            pa.field("n_images", pa.int32(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("champion", pa.string(), nullable=False),
        ]
    )


def axes_of(schema: pa.Schema, *, spread: str) -> tuple[str, ...]:
    """Return the axes of a labels or scores schema.

    Args:
        schema: A schema as made by `labels_schema` or `scores_schema`.
        spread: The ending of the column beside each axis: `_sd` for labels, `_lo` for scores.

    Returns:
        The axes in column order.
    """
    ends = [name.removesuffix(spread) for name in schema.names if name.endswith(spread)]
    return tuple(axis for axis in ends if axis in schema.names)


def check_table(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Check that a table has exactly the agreed columns and no null where none may be.

    Args:
        table: The table.
        schema: What it must be.
        where: What to call it in an error: a path or a noun.

    Returns:
        The same table.

    Raises:
        SchemaError: If a name, type, order or null differs.
    """
    if not table.schema.equals(schema, check_metadata=False):
        seen = {field.name: str(field.type) for field in table.schema}
        want = {field.name: str(field.type) for field in schema}
        if seen != want:
            differs = sorted(
                name for name in seen.keys() | want.keys() if seen.get(name) != want.get(name)
            )
            raise SchemaError(
                f"{where} has other columns than agreed",
                seen={name: seen.get(name, "missing") for name in differs},
                allowed={name: want.get(name, "no such column") for name in differs},
            )
        if list(seen) != list(want):
            raise SchemaError(f"{where} has its columns in another order", seen=list(seen))
        table = table.cast(schema)
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise SchemaError(f"{where} has nulls in column {field.name!r}, which allows none")
    return table


def leaves(schema: pa.Schema) -> list[str]:
    """Return the dotted leaf paths of a schema, as the Parquet writer names columns."""

    def walk(field: pa.Field, prefix: str) -> Iterator[str]:
        path = f"{prefix}{field.name}"
        if pa.types.is_list(field.type):
            yield from walk(field.type.value_field, f"{path}.list.")
        elif pa.types.is_struct(field.type):
            for child in field.type:
                yield from walk(child, f"{path}.")
        else:
            yield path

    return [leaf for field in schema for leaf in walk(field, "")]
