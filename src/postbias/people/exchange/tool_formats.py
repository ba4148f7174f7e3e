"""Write the posts to rate for another tool, and import what was rated with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from postbias.errors import InputError
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.exchange.argilla import read_argilla, write_argilla_tasks
from postbias.people.exchange.label_studio import read_label_studio, write_label_studio_tasks
from postbias.people.exchange.potato import read_potato, write_potato_tasks
from postbias.people.exchange.spreadsheet import (
    import_openpyxl,
    read_spreadsheet,
    write_csv_tasks,
    write_excel_tasks,
)
from postbias.people.exchange.tool_answers import AnswersSummary, store_answers
from postbias.people.exchange.tool_tasks import TaskList, prepare_tasks
from postbias.people.rating_items import open_items
from postbias.people.rating_store import RatingStore
from postbias.teacher.rubric import RubricAxis, load_rubric


class ToolFormat(StrEnum):
    """A tool with which posts can be rated."""

    SPREADSHEET = "spreadsheet"
    CSV = "csv"
    LABEL_STUDIO = "label-studio"
    POTATO = "potato"
    ARGILLA = "argilla"


_WRITERS: dict[ToolFormat, Callable[[Path, Sequence[TaskList], Sequence[RubricAxis]], None]] = {
    ToolFormat.SPREADSHEET: write_excel_tasks,
    ToolFormat.CSV: write_csv_tasks,
    ToolFormat.LABEL_STUDIO: write_label_studio_tasks,
    ToolFormat.POTATO: write_potato_tasks,
    ToolFormat.ARGILLA: write_argilla_tasks,
}
_PER_RATER = frozenset({ToolFormat.SPREADSHEET, ToolFormat.CSV})


def write_tool_tasks(
    paths: Paths,
    params: Params,
    tool: ToolFormat,
    dest: Path,
    announce: Callable[[str], None],
) -> list[TaskList]:
    """Write the posts to rate, for a tool to read; draw them if the store has none.

    Args:
        tool: The tool.
        dest: A folder that does not exist or is empty.
        announce: Called with one line of progress at a time.

    Returns:
        The tasks: one list per rater, or one for all.

    Raises:
        CorpusError: If there is no post to rate.
        InputError: If the folder is not empty, or the store has ratings by another rubric.
        MissingExtraError: If an Excel file is to be written and openpyxl is not installed.
        StorageError: If the store or the folder cannot be written.
    """
    if tool is ToolFormat.SPREADSHEET:
        import_openpyxl()  # fail before anything is drawn
    rubric = load_rubric(paths.root / params.annotate.rubric)
    items = open_items(paths, params, rubric, announce)
    with RatingStore.open(paths.ratings) as store:
        raters = store.raters()
    folders = paths.posts, dest
    per_rater = tool in _PER_RATER
    lists = prepare_tasks(items, raters, params.rating, folders, per_rater=per_rater)
    _WRITERS[tool](dest, lists, rubric.axes)
    return lists


def import_tool_answers(
    paths: Paths, params: Params, tool: ToolFormat, src: Path, rater: str | None
) -> AnswersSummary:
    """Add the answers in a tool's export to the store.

    Args:
        tool: The tool.
        src: What the tool wrote: a file, or for potato its folder of annotations.
        rater: Pseudonym of the only annotator; None for `rater-N`.

    Returns:
        What was added, and what could not be used.

    Raises:
        InputError: If the export cannot be used at all.
        MissingExtraError: If an Excel file is to be read and openpyxl is not installed.
        StorageError: If the store cannot be used.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    with RatingStore.open(paths.ratings) as store:
        match tool:
            case ToolFormat.SPREADSHEET | ToolFormat.CSV:
                rater = rater or _rater_of_file(src, store.raters())
                answers = read_spreadsheet(src, rubric.axes, rater)
            case ToolFormat.LABEL_STUDIO:
                answers = read_label_studio(src)
            case ToolFormat.POTATO:
                answers = read_potato(src, rater)
            case ToolFormat.ARGILLA:
                answers = read_argilla(src)
        return store_answers(store, answers, rubric, params.rating.raters, rater)


def _rater_of_file(src: Path, raters: Sequence[str]) -> str:
    if src.stem in raters or re.fullmatch(r"rater-[1-9][0-9]{0,3}", src.stem):
        return src.stem
    raise InputError(
        "the name of the file does not say who filled it in",
        seen=src.name,
        do="give a pseudonym with --rater",
    )
