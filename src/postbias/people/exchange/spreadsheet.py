"""Rating in a spreadsheet: one CSV or Excel file per rater, with links to image files."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from postbias.errors import InputError, MissingExtraError
from postbias.people.exchange.tool_answers import ToolAnswer, ToolAnswers, read_bytes
from postbias.people.exchange.tool_tasks import (
    ALTERNATIVES,
    MAX_CHOICES,
    TaskList,
    describe_axis,
)
from postbias.teacher.rubric import RubricAxis

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

_KEY, _CAPTION, _INSTEAD = "task", "caption", "instead of scores"
_CAPTION_COLUMN = 2
_MAX_ROWS = 2**17
_MAX_COLUMNS = 200
_MAX_UNPACKED = 2**29
_MAX_CELL = 32_767  # of Excel
#: Spreadsheet programs run a cell that starts so as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def write_csv_tasks(dest: Path, lists: Sequence[TaskList], axes: Sequence[RubricAxis]) -> None:
    """Write one CSV file per rater, and `scale.txt` with the rubric.

    Args:
        dest: The exported folder.
        lists: Tasks of each rater.
        axes: Axes of the rubric.
    """
    for tasks in lists:
        with (dest / f"{tasks.rater}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows(_rows(tasks, axes))
    text = "\n\n".join("\n".join((axis.name, *describe_axis(axis))) for axis in axes)
    choices = "\n".join(ALTERNATIVES)
    (dest / "scale.txt").write_text(
        f"{text}\n\n{_INSTEAD}\nIf a post cannot be scored, one of:\n{choices}\n", encoding="utf-8"
    )


def write_excel_tasks(dest: Path, lists: Sequence[TaskList], axes: Sequence[RubricAxis]) -> None:
    """Write one Excel file per rater: a sheet with the posts, and one with the rubric.

    Args:
        dest: The exported folder.
        lists: Tasks of each rater.
        axes: Axes of the rubric.

    Raises:
        MissingExtraError: If openpyxl is not installed.
    """
    openpyxl = import_openpyxl()
    for tasks in lists:
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.title = "posts"
        for number, row in enumerate(_rows(tasks, axes), start=1):
            for place, value in enumerate(row, start=1):
                cell = sheet.cell(number, place, value)
                cell.data_type = "s"  # never a formula
                if number > 1 and value.startswith("images/"):
                    cell.hyperlink = value
                    cell.style = "Hyperlink"
                elif place == _CAPTION_COLUMN:
                    cell.alignment = openpyxl.styles.Alignment(wrap_text=True, vertical="top")
        sheet.freeze_panes = "B2"
        sheet.column_dimensions["B"].width = 80
        _add_validation(openpyxl, sheet, len(tasks.tasks), axes)
        scale = book.create_sheet("scale")
        scale.column_dimensions["B"].width = 120
        for axis in axes:
            for line in describe_axis(axis):
                scale.append([axis.name, neutralise(line)])
        for choice in ALTERNATIVES:
            scale.append([_INSTEAD, choice])
        book.save(dest / f"{tasks.rater}.xlsx")


def import_openpyxl() -> ModuleType:
    """Import openpyxl.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Excel files need the package openpyxl",
            do="run `pip install 'postbias[excel]'`, or use CSV files",
        ) from error
    module: ModuleType = openpyxl
    return module


def neutralise(text: str) -> str:
    """Return text that a spreadsheet program does not run as a formula.

    An apostrophe is put before text that would be one (OWASP, "CSV Injection"); characters that
    Excel files cannot hold are removed.
    """
    text = _CONTROLS.sub("", text)
    if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA):
        text = f"'{text}"
    return text[:_MAX_CELL]


def _rows(tasks: TaskList, axes: Sequence[RubricAxis]) -> Iterator[list[str]]:
    n_images = max((len(task.images) for task in tasks.tasks), default=0)
    names = [axis.name for axis in axes]
    yield [_KEY, _CAPTION, *(f"image {i + 1}" for i in range(n_images)), *names, _INSTEAD]
    for task in tasks.tasks:
        images = [*task.images, *[""] * (n_images - len(task.images))]
        yield [task.key, neutralise(task.text), *images, *[""] * (len(names) + 1)]


def _add_validation(
    openpyxl: ModuleType, sheet: Worksheet, n: int, axes: Sequence[RubricAxis]
) -> None:
    last = sheet.max_column
    letters = [openpyxl.utils.get_column_letter(last - len(axes) + i) for i in range(len(axes) + 1)]
    make = openpyxl.worksheet.datavalidation.DataValidation
    for axis, letter in zip(axes, letters, strict=False):
        if len(axis.points) <= MAX_CHOICES:
            points = ",".join(f"{point:g}" for point in axis.points)
            rule = make(type="list", formula1=f'"{points}"', allow_blank=True)
        else:
            rule = make(type="decimal", formula1=axis.low, formula2=axis.high, allow_blank=True)
        # Excel limits titles to 32 characters and messages to 255.
        rule.promptTitle, rule.prompt = axis.name, axis.question[:250]
        rule.showInputMessage = rule.showErrorMessage = True
        sheet.add_data_validation(rule)
        rule.add(f"{letter}2:{letter}{n + 1}")
    rule = make(type="list", formula1=f'"{",".join(ALTERNATIVES)}"', allow_blank=True)
    sheet.add_data_validation(rule)
    rule.add(f"{letters[-1]}2:{letters[-1]}{n + 1}")


def read_spreadsheet(src: Path, axes: Sequence[RubricAxis], rater: str) -> ToolAnswers:
    """Read a file that a rater filled in; rows without an answer are passed over.

    Args:
        src: A `.csv` or `.xlsx` file.
        axes: Axes of the rubric.
        rater: Pseudonym of whoever filled it in.

    Returns:
        The answers.

    Raises:
        InputError: If the file cannot be read, or a column is missing.
        MissingExtraError: If openpyxl is needed and not installed.
    """
    if src.suffix.lower() not in (".csv", ".xlsx"):
        raise InputError("not a spreadsheet", seen=src.name, allowed=".csv or .xlsx")
    data = read_bytes(src)
    rows = _read_excel(src, data) if src.suffix.lower() == ".xlsx" else _read_csv(src, data)
    found = ToolAnswers("spreadsheet")
    header = next(rows, (0, []))[1]
    names = [str(cell).strip() if cell is not None else "" for cell in header]
    wanted = (_KEY, *(axis.name for axis in axes))
    if missing := [name for name in wanted if name not in names]:
        raise InputError(
            f"{src} has no column {', '.join(missing)}",
            seen=", ".join(filter(None, names))[:200],
            do="use a file that `postbias ratings tasks spreadsheet` wrote, for the same rubric",
        )
    for number, cells in rows:
        row = {name: _clean(cell) for name, cell in zip(names, cells, strict=False) if name}
        scores = {axis.name: row.get(axis.name) for axis in axes}
        alternative = row.get(_INSTEAD)
        if all(value in (None, "") for value in (*scores.values(), alternative)):
            continue
        found.answers.append(
            ToolAnswer(
                place=f"{src.name}:{number}",
                annotator=rater,
                key=row.get(_KEY),
                scores=scores,
                alternative=alternative,
                identity=rater,
            )
        )
    return found


def _clean(cell: object) -> object:
    """Return a cell; with decimal comma if that is how the spreadsheet program writes numbers."""
    if not isinstance(cell, str):
        return cell
    cell = cell.strip()
    return cell.replace(",", ".") if re.fullmatch(r"-?\d+,\d+", cell) else cell


def _read_csv(src: Path, data: bytes) -> Iterator[tuple[int, list[Any]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{src} is not UTF-8", do="save it as CSV UTF-8") from error
    # Excel writes semicolons where the comma separates decimals.
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{src} is damaged: {error}", seen=f"line {reader.line_num}") from error


def _read_excel(src: Path, data: bytes) -> Iterator[tuple[int, list[Any]]]:
    openpyxl = import_openpyxl()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED:
                raise InputError(f"{src} is too large", allowed="512 MiB when unpacked")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        for number, row in enumerate(sheet.iter_rows(values_only=True, max_col=_MAX_COLUMNS), 1):
            if number > _MAX_ROWS:
                raise InputError(f"{src} has too many rows", allowed=_MAX_ROWS)
            yield number, list(row)
    except InputError:
        raise
    except Exception as error:  # openpyxl documents no set of errors
        raise InputError(f"{src} is damaged: {type(error).__name__}: {error}") from error
