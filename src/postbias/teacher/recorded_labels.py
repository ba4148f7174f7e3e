"""Read labels recorded in a CSV or Parquet file: a teacher's replies, or people's ratings.

The file has a column `post_id`, one column per axis of the rubric and, optionally, `reason`; other
columns are ignored. A row without a valid label becomes a reject.
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
    """Labels read from a file for a sample.

    Attributes:
        teacher: Name and digest of the file.
        labels: One per sampled post.
        rejects: Rows without a valid label, then sampled posts without a row.
        n_rows: Rows of the file.
        n_outside_sample: Valid rows for posts that could have been sampled and were not.
    """

    teacher: str
    labels: tuple[Label, ...]
    rejects: tuple[LabelReject, ...]
    n_rows: int
    n_outside_sample: int


def read_recorded_labels(
    path: Path, rubric: Rubric, sampled: frozenset[str], frame: frozenset[str]
) -> RecordedLabels:
    """Read the labels of the sampled posts from a file.

    The first valid row of a post counts; further rows for it are rejects.

    Args:
        path: A `.csv` or `.parquet` file.
        rubric: The axes to read, and their ranges.
        sampled: Ids of the posts to label.
        frame: Ids of all posts that could have been sampled.

    Returns:
        A label for every sampled post, and the rejects.

    Raises:
        LabelsError: If the file is missing, unreadable or lacks a column.
        CountsError: If the rows do not add up.
    """
    table = _read_strings(path, rubric)
    teacher = f"recorded:{path.name}@{_digest(path)}"
    valid: dict[str, Label] = {}
    first_rejects: dict[str, LabelReject] = {}
    rejects: list[LabelReject] = []
    for row, parsed in enumerate(_parse_rows(table, rubric, path.name, teacher)):
        accepted = _accept(parsed, f"{path.name}:{row + 1}", valid, frame)
        if isinstance(accepted, Label):
            valid[accepted.post_id] = accepted
        else:
            rejects.append(accepted)
            first_rejects.setdefault(accepted.post_id or "", accepted)
    if table.num_rows != len(valid) + len(rejects):
        raise CountsError(
            f"{path.name} does not add up",
            seen=f"{table.num_rows} rows, {len(valid)} used, {len(rejects)} rejected",
        )
    labels = {post_id: label for post_id, label in valid.items() if post_id in sampled}
    for post_id in sorted(sampled - labels.keys()):
        reject = first_rejects.get(post_id)
        if reject is None:
            reject = LabelReject(path.name, post_id, RejectReason.NO_LABEL, "no row for this post")
            rejects.append(reject)
        labels[post_id] = Label.rejected(post_id, reject.reason, reject.detail, teacher)
    n_outside = len(valid.keys() - sampled)
    return RecordedLabels(
        teacher, tuple(labels.values()), tuple(rejects), table.num_rows, n_outside
    )


def _accept(
    parsed: Label | LabelReject, source: str, valid: dict[str, Label], frame: frozenset[str]
) -> Label | LabelReject:
    if isinstance(parsed, LabelReject):
        return parsed
    if parsed.post_id not in frame:
        reason, detail = RejectReason.UNKNOWN_POST, "not in an import that is sampled"
    elif parsed.post_id in valid:
        reason, detail = RejectReason.DUPLICATE_ID, "an earlier row labels this post"
    else:
        return parsed
    return LabelReject(source, parsed.post_id, reason, detail)


def _read_strings(path: Path, rubric: Rubric) -> pa.Table:
    """Read the columns as text: a float would round long ids."""
    try:
        if path.suffix == ".csv":
            with pv.open_csv(path, parse_options=_PARSE_OPTIONS) as reader:
                columns = _select_columns(reader.schema.names, rubric, path.name)
            options = pv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            )
            table = pv.read_csv(path, parse_options=_PARSE_OPTIONS, convert_options=options)
        elif path.suffix == ".parquet":
            columns = _select_columns(pq.read_schema(path).names, rubric, path.name)
            table = pq.ParquetFile(path).read(columns=columns)
            if pa.types.is_floating(table.schema.field("post_id").type):
                raise LabelsError(
                    f"{path.name} stores post_id as floating-point numbers, which round long ids",
                    do="write the ids as text",
                )
        else:
            raise LabelsError("unknown label format", seen=path.name, allowed=".csv, .parquet")
        return table.cast(pa.schema([(name, pa.string()) for name in table.schema.names]))
    except FileNotFoundError as error:
        raise LabelsError(
            "label file not found", seen=str(path), do="set annotate.labels, or run `dvc pull`"
        ) from error
    except (OSError, pa.ArrowException) as error:
        # Arrow's message may quote the row, and with it a caption.
        raise LabelsError(
            f"{path} cannot be read ({type(error).__name__})",
            allowed="UTF-8 CSV with a header and commas, or Parquet",
        ) from error


def _select_columns(header: list[str], rubric: Rubric, file: str) -> list[str]:
    required = ["post_id", *rubric.axis_names]
    if missing := [name for name in required if name not in header]:
        raise LabelsError(
            f"{file} lacks columns: {', '.join(missing)}",
            seen=", ".join(header)[:200],
            allowed=f"post_id, {', '.join(rubric.axis_names)}, reason (optional)",
            do="add them, or set annotate.rubric to a rubric whose axes the file has",
        )
    columns = [*required, "reason"]
    if repeated := [name for name in columns if header.count(name) > 1]:
        raise LabelsError(
            f"{file} has repeated columns: {', '.join(repeated)}", do="keep one of each"
        )
    return [name for name in columns if name in header]


#: Captions and reasons may span lines.
_PARSE_OPTIONS = pv.ParseOptions(newlines_in_values=True)


def _parse_rows(
    table: pa.Table, rubric: Rubric, file: str, teacher: str
) -> Iterator[Label | LabelReject]:
    """Yield the label or the reject of each row."""
    columns = {name: table[name].to_pylist() for name in table.schema.names}
    reasons = columns.get("reason", [None] * table.num_rows)
    for row, cell in enumerate(columns["post_id"]):
        source, post_id = f"{file}:{row + 1}", (cell or "").strip()
        if not post_id:
            yield LabelReject(source, None, RejectReason.MISSING_ID, "no post_id")
            continue
        cells = [_parse_score(columns[axis.name][row], axis) for axis in rubric.axes]
        fault = next((cell for cell in cells if isinstance(cell, tuple)), None)
        if fault is not None:
            yield LabelReject(source, post_id, *fault)
            continue
        scores = tuple(cell for cell in cells if isinstance(cell, float))
        sds = (None,) * len(scores)
        yield Label(post_id, scores, sds, 1, reasons[row] or "", teacher, OK)


def _parse_score(text: str | None, axis: RubricAxis) -> float | tuple[RejectReason, str]:
    """Parse a score, or return a reject reason that never quotes the text: it may be a caption."""
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
