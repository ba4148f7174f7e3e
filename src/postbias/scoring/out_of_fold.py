"""Out-of-fold scores: of each labelled post by a cross-fitted student that has not seen its label.

The table also has the scores of posts that none of the students has seen, by all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.errors import SchemaError
from postbias.posts.schema import out_of_fold_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.post_scores import OK, PostScore

#: Number of the student that ships; its scores are of posts that it has not seen.
SHIPPED = 0

#: Post id, whether its whole content was scored, and the result.
VariantScore = tuple[str, bool, PostScore]


@dataclass(frozen=True, slots=True)
class OutOfFoldScores:
    """Scores of cross-fitted students, one row per post, student and group of modalities.

    Attributes:
        axes: Names of the axes, the main one first.
        post_ids: Post of each row. (M,)
        students: Number from 1 of the student, or `SHIPPED`. (M,)
        is_whole: Whether the whole post was scored, not its caption or images alone. (M,)
        modalities: Modalities that the score was computed from; None without a score. (M,)
        values: Score per axis, as shipped (int8, clipped to the axis); NaN without one. (M, A)
        statuses: `ok`, or why there is no score. (M,)
    """

    axes: tuple[str, ...]
    post_ids: npt.NDArray[np.object_]
    students: npt.NDArray[np.intp]
    is_whole: npt.NDArray[np.bool_]
    modalities: npt.NDArray[np.object_]
    values: npt.NDArray[np.float64]
    statuses: npt.NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.post_ids)

    @classmethod
    def empty(cls, axes: Sequence[str]) -> Self:
        """Make a table without rows."""
        return cls.of_table(out_of_fold_schema(axes).empty_table())

    @classmethod
    def of_results(cls, axes: Sequence[str], results: Iterable[tuple[int, VariantScore]]) -> Self:
        """Collect the results of students, each with the number of the student."""
        rows = sorted(
            (_to_row(axes, student, result) for student, result in results),
            key=lambda row: (
                row["post_id"],
                row["student"],
                not row["is_whole"],
                row["modalities"] or "",
            ),
        )
        return cls.of_table(pa.Table.from_pylist(rows, out_of_fold_schema(axes)))

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Convert a table of the schema `out_of_fold_schema`."""
        axes = tuple(name for name in table.column_names if pa.types.is_float32(table[name].type))
        values = [table[axis].to_numpy(zero_copy_only=False).astype(np.float64) for axis in axes]
        return cls(
            axes,
            np.asarray(table["post_id"].to_pylist(), dtype=object),
            table["student"].to_numpy(zero_copy_only=False).astype(np.intp),
            table["is_whole"].to_numpy(zero_copy_only=False).astype(np.bool_),
            np.asarray(table["modalities"].to_pylist(), dtype=object),
            np.stack(values, axis=1),
            np.asarray(table["status"].to_pylist(), dtype=object),
        )

    @classmethod
    def read(cls, path: Path, axes: Sequence[str]) -> Self:
        """Read the scores of a stage train that has cross-fitted.

        Args:
            path: Written by `write`.
            axes: Axes of the student that was trained on all labels.

        Raises:
            SchemaError: If the file is missing, damaged, without rows, or of other axes.
        """
        table = read_table(path, out_of_fold_schema(axes))
        if not table.num_rows:
            raise SchemaError(
                f"{path} has no scores, although train.cross_fit is set",
                do="run `dvc repro` to train the students again",
            )
        return cls.of_table(table)

    def write(self, path: Path) -> None:
        """Write the scores as Parquet.

        Raises:
            StorageError: If the file cannot be written.
        """
        schema = out_of_fold_schema(self.axes)
        columns: list[pa.Array] = [
            pa.array(self.post_ids, pa.string()),
            pa.array(self.students, pa.int32()),
            pa.array(self.is_whole),
            pa.array(self.modalities, pa.string()),
            *(
                pa.array(column, pa.float32(), from_pandas=True)
                for column in self.values.astype(np.float32).T
            ),
            pa.array(self.statuses, pa.string()),
        ]
        write_table(pa.table(columns, schema=schema), path, schema)

    def select(self, rows: npt.NDArray[Any]) -> OutOfFoldScores:
        """Return the rows of a mask or of indices."""
        return OutOfFoldScores(
            self.axes,
            self.post_ids[rows],
            self.students[rows],
            self.is_whole[rows],
            self.modalities[rows],
            self.values[rows],
            self.statuses[rows],
        )


def _to_row(axes: Sequence[str], student: int, result: VariantScore) -> dict[str, Any]:
    post_id, is_whole, score = result
    is_scored = score.status == OK
    return {
        "post_id": post_id,
        "student": student,
        "is_whole": is_whole,
        "modalities": score.modalities if is_scored else None,
        "status": score.status,
        **{axis: score.scores[axis].value if is_scored else None for axis in axes},
    }
