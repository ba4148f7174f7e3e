"""Check an import before it is moved into place."""

from __future__ import annotations

from pathlib import Path

from postbias.errors import CountsError
from postbias.posts.importers.import_progress import ImportProgress
from postbias.posts.importers.import_summary import POSTS_FOLDER
from postbias.posts.schema import REJECTS
from postbias.posts.shards import count_rows, read_table


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
            if not is_unknown_wrapper or "wrapper" in detail or "media node" in detail:
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
