"""Arrow schemas of the tables that stages exchange.

`postbias.posts.shards` checks them on every write and read.
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

#: One row per sampled post. `group_size` is the number of posts with its normalised caption (of a
#: given test fold, those in that fold). `round` is 1, or that of a later round of active sampling.
#: `probability` is its inclusion probability in that round and includes the choice of one post per
#: caption. `weight` is the weight of the post in estimates: 1 / `probability`, unless there are
#: several rounds.
SAMPLE = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("stratum", pa.string(), nullable=False),
        pa.field("group_size", pa.int64(), nullable=False),
        pa.field("round", pa.int64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

#: The posts that could have been sampled.
FRAME = pa.schema([pa.field("post_id", pa.string(), nullable=False)])

#: `round` is as in `SAMPLE`: metrics and intervals use posts of the first round only, because those
#: of later rounds were chosen for large expected errors.
SPLIT = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("fold", pa.string(), nullable=False),
        pa.field("round", pa.int64(), nullable=False),
    ]
)

#: The round of the first sample.
FIRST_ROUND = 1

#: Folds in `SPLIT`. Posts that would leak between folds given in a file are `excluded` instead.
FOLDS = ("train", "valid", "calib", "test")
EXCLUDED = "excluded"

#: Folds whose labels a cross-fitted student is trained on; those of test stay held out.
CROSS_FITTED_FOLDS = ("train", "valid", "calib")


def labels_schema(axes: Sequence[str]) -> pa.Schema:
    """Build the schema of labels.

    Args:
        axes: Names of the rubric's axes, the main one first.

    Returns:
        `post_id`, `<axis>` and `<axis>_sd` (null if there is no label) per axis, then
        `n_replies`, `reason`, `teacher`, `rubric`, `status` (`ok` or a `RejectReason`).
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


def cascade_schema(axes: Sequence[str]) -> pa.Schema:
    """Return the schema of decisions: who decided each post, and what.

    Args:
        axes: Names of the axes in rubric order.
    """
    return pa.schema(
        [
            pa.field("post_id", pa.string(), nullable=False),
            *(pa.field(name, pa.float64(), nullable=False) for name in axes),
            pa.field("band", pa.string(), nullable=False),
            pa.field("decided_by", pa.string(), nullable=False),
            pa.field("misband_probability", pa.float64(), nullable=False),
        ]
    )


def variants_schema(axes: Sequence[str]) -> pa.Schema:
    """Return the schema of labels by variants of the teacher: `variant`, then as `labels_schema`.

    Args:
        axes: Names of the axes in rubric order.
    """
    labels = labels_schema(axes)
    return pa.schema([pa.field("variant", pa.string(), nullable=False), *labels])


def scores_schema(axes: Sequence[str]) -> pa.Schema:
    """Build the schema of scores.

    Args:
        axes: Names of the student's axes, the main one first.

    Returns:
        `post_id`, `author`, `sponsored`, `posted_at`, then `<axis>`, `<axis>_lo`, `<axis>_hi` per
        axis (null if the post could not be scored), `band` of the main axis, `modalities`,
        `n_images`, `status` (`ok` or a `RejectReason`) and `champion` (digest).
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


def out_of_fold_schema(axes: Sequence[str]) -> pa.Schema:
    """Build the schema of out-of-fold scores.

    Args:
        axes: Names of the students' axes, the main one first.

    Returns:
        `post_id`, `student` (number from 1 of the cross-fitted student, or 0 for the one that
        ships; neither has seen a label of the post), `is_whole` (false for a caption or images
        alone), `modalities`, `<axis>` per axis (null if there is no score), and `status` (`ok` or a
        `RejectReason`).
    """
    return pa.schema(
        [
            pa.field("post_id", pa.string(), nullable=False),
            pa.field("student", pa.int32(), nullable=False),
            pa.field("is_whole", pa.bool_(), nullable=False),
            pa.field("modalities", pa.string()),
            *(pa.field(axis, pa.float32()) for axis in axes),
            pa.field("status", pa.string(), nullable=False),
        ]
    )


def axes_in_schema(schema: pa.Schema, *, companion: str) -> tuple[str, ...]:
    """List the axes of a labels or scores schema.

    Args:
        schema: A schema built by `labels_schema` or `scores_schema`.
        companion: Suffix of the column beside each axis: `_sd` for labels, `_lo` for scores.

    Returns:
        The axes in column order.
    """
    stems = [name.removesuffix(companion) for name in schema.names if name.endswith(companion)]
    return tuple(stem for stem in stems if stem in schema.names)


def check_table(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Check that a table has exactly the columns of a schema and no forbidden nulls.

    Args:
        where: Path or name of the table, for error messages.

    Returns:
        The same table.

    Raises:
        SchemaError: If a column's name, type or position differs, or a required value is null.
    """
    if not table.schema.equals(schema, check_metadata=False):
        seen = {field.name: str(field.type) for field in table.schema}
        required = {field.name: str(field.type) for field in schema}
        if seen != required:
            differing = sorted(
                name
                for name in seen.keys() | required.keys()
                if seen.get(name) != required.get(name)
            )
            raise SchemaError(
                f"{where} has the wrong columns",
                seen={name: seen.get(name, "missing") for name in differing},
                allowed={name: required.get(name, "no such column") for name in differing},
            )
        if list(seen) != list(required):
            raise SchemaError(
                f"{where} has its columns in the wrong order",
                seen=list(seen),
                allowed=list(required),
            )
        table = table.cast(schema)
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise SchemaError(f"{where} has nulls in required column {field.name!r}")
    return table


def leaf_columns(schema: pa.Schema) -> list[str]:
    """List the dotted leaf paths of a schema, as the Parquet writer names its columns."""

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
