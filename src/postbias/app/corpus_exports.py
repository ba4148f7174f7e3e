"""Write selected posts as CSV, Excel or Parquet; no cell runs as a formula."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from postbias.app.corpus_query import Rows
from postbias.app.explored_corpus import MODALITIES, SPONSORSHIP, ExploredCorpus
from postbias.app.upload_limits import MAX_EXCEL_ROWS
from postbias.axes import BAND_NAMES
from postbias.errors import InputError
from postbias.people.exchange.spreadsheet import import_openpyxl, neutralise
from postbias.posts.schema import REJECTS
from postbias.posts.shards import read_table

ExportFormat = Literal["csv", "xlsx", "parquet"]

_BATCH_ROWS = 10_000


def build_export(corpus: ExploredCorpus, rows: Rows) -> pa.Table:
    """Return posts with their scores as a table.

    Args:
        corpus: The corpus.
        rows: Rows of the posts, in the wanted order. (M,)

    Returns:
        `post_id`, `author`, `caption`, `posted_at`, `sponsored`, per axis the score and the ends of
        its interval, `band`, `modalities`, `n_images` and `status`; `label` if there are labels.
    """
    columns = {
        "post_id": corpus.ids.take(rows),
        "author": corpus.authors.take(rows).cast(pa.string()),
        "caption": corpus.captions.take(rows),
        "posted_at": pa.array(corpus.posted[rows], pa.timestamp("us", tz="UTC")),
        "sponsored": _names(corpus.sponsored[rows], SPONSORSHIP),
    }
    for axis in corpus.axes:
        for ends, suffix in ((corpus.values, ""), (corpus.lows, "_lo"), (corpus.highs, "_hi")):
            columns[axis + suffix] = pa.array(ends[axis][rows], pa.float32(), from_pandas=True)
    columns |= {
        "band": _names(corpus.bands[rows], BAND_NAMES),
        "modalities": _names(corpus.modalities[rows], MODALITIES),
        "n_images": pa.array(corpus.n_images[rows]),
        "status": corpus.statuses.take(rows).cast(pa.string()),
    }
    if np.isfinite(corpus.labels).any():
        columns["label"] = pa.array(corpus.labels[rows], pa.float32(), from_pandas=True)
    return pa.table(columns)


def write_export(table: pa.Table, path: Path, rejects: Path | None = None) -> None:
    """Write a table; its suffix says the format.

    Text that a spreadsheet program would take for a formula starts with an apostrophe in CSV and
    Excel files. Parquet files contain the text as it is.

    Args:
        table: The posts.
        path: A `.csv`, `.xlsx` or `.parquet` file.
        rejects: Table of what could not be read or scored, for a second sheet of an Excel file.

    Raises:
        InputError: If it has more rows than an Excel file should have.
        MissingExtraError: If openpyxl is not installed.
    """
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        _write_csv(table, path)
    else:
        sheets = {"posts": table}
        if rejects is not None:
            sheets["rejects"] = read_table(rejects, REJECTS)
        _write_excel(sheets, path)


def _write_csv(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\xef\xbb\xbf")  # for Excel, which takes a file without it for Windows-1252
        for number, batch in enumerate(_neutral_batches(table)):
            options = pa.csv.WriteOptions(include_header=number == 0)
            pa.csv.write_csv(batch, file, options)


def _write_excel(sheets: dict[str, pa.Table], path: Path) -> None:
    openpyxl = import_openpyxl()
    book = openpyxl.Workbook(write_only=True)
    for name, table in sheets.items():
        if table.num_rows > MAX_EXCEL_ROWS:
            raise InputError(
                "too many rows for an Excel file", seen=table.num_rows,
                allowed=f"up to {MAX_EXCEL_ROWS:,}", do="choose CSV or Parquet, or select fewer",
            )  # fmt: skip
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        sheet.append(table.column_names)
        for batch in _neutral_batches(table):
            for row in zip(*(batch[column].to_pylist() for column in batch.column_names),
                           strict=True):  # fmt: skip
                sheet.append([_to_cell(openpyxl, sheet, value) for value in row])
    book.save(path)


def _to_cell(openpyxl: object, sheet: object, value: object) -> object:
    if not isinstance(value, str):
        return value
    cell = openpyxl.cell.WriteOnlyCell(sheet, value)  # type: ignore[attr-defined]
    cell.data_type = "s"  # never a formula
    return cell


def _neutral_batches(table: pa.Table) -> Iterator[pa.Table]:
    """Yield parts of a table, with text that is no formula, and times as text."""
    for start in range(0, max(1, table.num_rows), _BATCH_ROWS):
        part = table.slice(start, _BATCH_ROWS)
        for place, field in enumerate(part.schema):
            column = part[field.name]
            if pa.types.is_timestamp(field.type):
                column = pc.strftime(column, format="%Y-%m-%d %H:%M:%S")
            elif pa.types.is_floating(field.type):
                rounded = pc.round(column.cast(pa.float64()), 4)
                part = part.set_column(place, field.name, rounded)
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                texts = [None if text is None else neutralise(text) for text in column.to_pylist()]
                part = part.set_column(place, field.name, pa.array(texts, pa.string()))
        yield part


def _names(codes: np.ndarray, names: tuple[str, ...]) -> pa.Array:
    places = pa.array(np.where(codes < 0, 0, codes).astype(np.int32))
    texts = pa.array(names, pa.string()).take(places)
    return pc.if_else(pa.array(codes >= 0), texts, pa.scalar(None, pa.string()))
