"""Recorded labels: a teacher's answers, or people's, read from a CSV or Parquet file.

Wants a `post_id` column and one column per axis of the rubric; `reason` is optional, other columns
are ignored. A row that gives no label is a reject with its reason, and the counts add up. Calls
nobody and stores nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from postbias.errors import CountsError, LabelsError
from postbias.posts.reasons import RejectReason
from postbias.teacher.labels import OK, Label, LabelReject
from postbias.teacher.rubric import Rubric, RubricAxis


@dataclass(frozen=True, slots=True)
class RecordedLabels:
    """What a file of labels gave for a sample.

    Attributes:
        teacher: Name and digest of the file.
        labels: One per sampled post.
        rejects: Rows that gave no label, then sampled posts without any row.
        n_rows: Rows of the file.
        n_unneeded: Good rows for posts of the corpus that are not in the sample.
    """

    teacher: str
    labels: tuple[Label, ...]
    rejects: tuple[LabelReject, ...]
    n_rows: int
    n_unneeded: int


def read_recorded_labels(
    path: Path, rubric: Rubric, sampled: frozenset[str], corpus: frozenset[str]
) -> RecordedLabels:
    """Read the labels of sampled posts from a file.

    The first good row of a post counts; further rows of it are rejects.

    Args:
        path: A `.csv` or `.parquet` file.
        rubric: Which axes to read, and their ranges.
        sampled: The posts to label.
        corpus: All posts there are.

    Returns:
        A label for every sampled post, and what was rejected.

    Raises:
        LabelsError: If the file is missing, unreadable or lacks a column.
        CountsError: If the rows do not add up.
    """
    table = _read_strings(path, rubric)
    teacher = f"recorded:{path.name}@{_digest(path)}"
    good: dict[str, Label] = {}
    bad: dict[str, LabelReject] = {}
    rejects: list[LabelReject] = []
    for label, reject in _judge(table, rubric, path.name, teacher):
        if label is not None and label.post_id not in corpus:
            reject = _reject_row(reject, RejectReason.UNKNOWN_POST, "no such post in data/posts")
        elif label is not None and label.post_id in good:
            reject = _reject_row(
                reject, RejectReason.DUPLICATE_ID, "an earlier row labels this post"
            )
        elif label is not None:
            good[label.post_id] = label
            continue
        rejects.append(reject)
        bad.setdefault(reject.post_id or "", reject)
    needed = {post_id: label for post_id, label in good.items() if post_id in sampled}
    if table.num_rows != len(good) + len(rejects):
        raise CountsError(
            f"{path.name} does not add up",
            seen=f"{table.num_rows} rows, {len(good)} used, {len(rejects)} rejected",
        )
    for post_id in sorted(sampled - needed.keys()):
        why = bad.get(post_id)
        if why is None:
            why = LabelReject(path.name, post_id, RejectReason.NO_LABEL, "no row for this post")
            rejects.append(why)
        needed[post_id] = Label.rejected(post_id, why.reason, why.detail, teacher)
    unneeded = len(good.keys() - sampled)
    return RecordedLabels(teacher, tuple(needed.values()), tuple(rejects), table.num_rows, unneeded)


def _read_strings(path: Path, rubric: Rubric) -> pa.Table:
    """Read the columns of interest as text: an id must never pass through a float."""
    try:
        if path.suffix == ".csv":
            with pv.open_csv(path, parse_options=_PARSE) as reader:
                columns = _columns(reader.schema.names, rubric, path.name)
            options = pv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            )
            table = pv.read_csv(path, parse_options=_PARSE, convert_options=options)
        elif path.suffix == ".parquet":
            columns = _columns(pq.read_schema(path).names, rubric, path.name)
            table = pq.ParquetFile(path).read(columns=columns)
            if pa.types.is_floating(table.schema.field("post_id").type):
                raise LabelsError(
                    f"{path.name} holds post_id as fractions, which cannot tell long ids apart",
                    do="write the ids as text",
                )
        else:
            raise LabelsError("labels of no known format", seen=path.name, allowed=".csv, .parquet")
        return table.cast(pa.schema([(name, pa.string()) for name in table.schema.names]))
    except FileNotFoundError as error:
        raise LabelsError(
            "no file of labels", seen=str(path), do="set annotate.labels, or run `dvc pull`"
        ) from error
    except (OSError, pa.ArrowException) as error:
        # Arrow's message may quote the row, and with it a caption.
        raise LabelsError(
            f"{path} cannot be read ({type(error).__name__})",
            allowed="UTF-8 CSV with a header and commas, or Parquet",
        ) from error


def _columns(header: list[str], rubric: Rubric, file: str) -> list[str]:
    wanted = ["post_id", *rubric.axis_names]
    if missing := [name for name in wanted if name not in header]:
        raise LabelsError(
            f"{file} lacks columns: {', '.join(missing)}",
            seen=", ".join(header)[:200],
            allowed=f"post_id, {', '.join(rubric.axis_names)}, reason (optional)",
            do="add them, or set annotate.rubric to a rubric with the axes that you have",
        )
    if twice := [name for name in [*wanted, "reason"] if header.count(name) > 1]:
        raise LabelsError(f"{file} has columns twice: {', '.join(twice)}", do="remove one of each")
    return [name for name in [*wanted, "reason"] if name in header]


#: Captions and reasons may span lines.
_PARSE = pv.ParseOptions(newlines_in_values=True)


def _judge(
    table: pa.Table, rubric: Rubric, file: str, teacher: str
) -> Iterator[tuple[Label | None, LabelReject]]:
    """Give each row's label if it has one, and the reject that it is (or would become)."""
    columns = {name: table[name].to_pylist() for name in table.schema.names}
    reasons = columns.get("reason", [None] * table.num_rows)
    for row, post_id in enumerate(columns["post_id"]):
        source, post_id = f"{file}:{row + 1}", (post_id or "").strip()
        if not post_id:
            yield None, LabelReject(source, None, RejectReason.MISSING_ID, "no post_id")
            continue
        values = [_score(columns[axis.name][row], axis) for axis in rubric.axes]
        fault = next((value for value in values if isinstance(value, tuple)), None)
        if fault is not None:
            yield None, LabelReject(source, post_id, *fault)
            continue
        scores = tuple(value for value in values if isinstance(value, float))
        label = Label(post_id, scores, (None,) * len(scores), 1, reasons[row] or "", teacher, OK)
        yield label, LabelReject(source, post_id, RejectReason.NO_LABEL, "")


def _score(text: str | None, axis: RubricAxis) -> float | tuple[RejectReason, str]:
    """Read one score, or say why it is none; never echoes text, which may be a caption."""
    text = (text or "").strip()
    if not text:
        return RejectReason.NO_LABEL, f"{axis.name} is empty"
    try:
        value = float(text)
    except ValueError:
        return RejectReason.NOT_A_NUMBER, f"{axis.name} is not a number"
    if not math.isfinite(value):
        return RejectReason.NOT_A_NUMBER, f"{axis.name} is {value}"
    if not axis.low <= value <= axis.high:
        return (
            RejectReason.OUT_OF_RANGE,
            f"{axis.name} is {value:g}, not {axis.low:g}..{axis.high:g}",
        )
    return value


def _reject_row(row: LabelReject, reason: RejectReason, detail: str) -> LabelReject:
    return LabelReject(row.source, row.post_id, reason, detail)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
