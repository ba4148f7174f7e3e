"""Check an import before it is moved into place."""

from __future__ import annotations

from pathlib import Path

from postbias.errors import CountsError, InputError
from postbias.posts.importers.import_progress import ImportProgress
from postbias.posts.importers.import_summary import POSTS_FOLDER
from postbias.posts.importers.table_columns import Columns, ReadingOptions
from postbias.posts.schema import REJECTS
from postbias.posts.shards import count_rows, read_table

# Parts of the details of JSON whose structure the layout does not know.
_UNKNOWN = ("wrapper", "media node", "belongs to layout", "no table of layout")


def check_options(layout: str, options: ReadingOptions) -> None:
    """Check that no option was given that the layout would ignore.

    Args:
        layout: The layout.
        options: How to read the export.

    Raises:
        InputError: If there is one.
    """
    if layout == "table":
        return
    given = [
        name
        for name, is_given in (
            ("--column", options.columns != Columns()),
            ("--null-values", bool(options.null_values)),
        )
        if is_given
    ]
    if given:
        raise InputError(
            f"{' and '.join(given)} applies to layout table only",
            seen=f"layout {layout}",
            do="leave it out; to import a table by columns that you name, use layout table",
        )


def first_reject(staging: Path, *, is_unknown_wrapper: bool = False) -> str | None:
    """Describe the first reject of an import.

    Args:
        staging: The folder that holds `rejects/`.
        is_unknown_wrapper: Whether it must be valid JSON of unknown structure.

    Returns:
        Source and detail in one line; None if there is no such reject.
    """
    for part in sorted((staging / "rejects").glob("*.parquet")):
        for row in read_table(part, REJECTS).to_pylist():
            detail = row["detail"]
            if not is_unknown_wrapper or any(part in detail for part in _UNKNOWN):
                return f"{row['source']}: {detail}"
    return None


def check_counts(staging: Path, progress: ImportProgress) -> None:
    """Check that the rows on disk are the records that were read.

    Args:
        staging: The folder that holds `posts/` and `rejects/`.
        progress: Counts of the records.

    Raises:
        CountsError: If a number differs.
    """
    shards = sorted((staging / POSTS_FOLDER).glob("*.parquet"))
    rejects = sorted((staging / "rejects").glob("*.parquet"))
    counted = (count_rows(shards), count_rows(rejects))
    expected = (progress.n_posts, progress.reasons.total() + progress.image_reasons.total())
    if counted != expected:
        raise CountsError(
            "rows of posts and rejects on disk are not the records that were read",
            seen=counted,
            allowed=expected,
            do=f"remove {staging} and import again",
        )
