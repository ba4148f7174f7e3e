"""Import the tables of research tools by the columns in `source_columns`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from postbias.errors import SchemaError
from postbias.posts.importers.csv_rows import CsvRows
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.post_addresses import (
    id_in_address,
    platform_in_address,
    split_addresses,
)
from postbias.posts.importers.raw_posts import RawPost, build_post, join_texts
from postbias.posts.importers.records import ImportReject, ReadUnit, Record, RecordError
from postbias.posts.importers.source_columns import COMMENT_PLATFORMS, TableSource, choose_source
from postbias.posts.importers.text_lines import detect_file_encoding, is_decoded, read_table_lines
from postbias.posts.reasons import RejectReason

Cells = Mapping[str, str]

# Columns by which a table of 4CAT without addresses tells its platform.
_PLATFORM_COLUMNS = {
    "is_retweet": "x", "tiktok_url": "tiktok", "likes_hidden": "instagram",
    "subreddit": "reddit", "is_in_group": "facebook",
}  # fmt: skip

_NO = frozenset({"", "no", "false", "0", "none", "null", "nan", "0.0", "[]"})

# Time zones of CrowdTangle, in hours from UTC; `parse_time_us` does not know them.
_ZONES = {
    "EST": "-05:00", "EDT": "-04:00", "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00",
    "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00", "BST": "+01:00", "CET": "+01:00",
    "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00",
}  # fmt: skip


def table_units(layout: str, path: Path, name: str, folder: MediaFolder) -> Iterator[ReadUnit]:
    """Iterate over the rows of a table.

    Args:
        layout: A key of `TABLE_SOURCES`.
        path: A CSV file.
        name: Its path relative to the export.
        folder: The folder that has the images.

    Yields:
        Functions that read one row.
    """
    table = NamedTable(path)
    source = choose_source(layout, table.names, name).limited_to(table.names)
    is_comments_only = bool(source.thread) and _has_only_comments(source, table)
    for number, row in enumerate(table.rows(), start=1):
        yield partial(_load_row, row, f"{name}:{number}", source, folder, is_comments_only)


class NamedTable:
    """A CSV file whose cells are found by the names of their columns, in lower case.

    Attributes:
        names: The columns.
    """

    def __init__(self, path: Path) -> None:
        """Detect the encoding and read the header.

        Raises:
            SchemaError: If the header cannot be read.
        """
        self._path = path
        self._encoding = detect_file_encoding(path)
        header = next(iter(self._all_rows()), [])
        if isinstance(header, RecordError):
            raise SchemaError(f"the header of {path.name} cannot be read: {header.detail}")
        self.names = [cell.lstrip("\ufeff").strip().lower() for cell in header]

    def rows(self) -> Iterator[Cells | RecordError]:
        """Iterate over the rows below the header as cells by column."""
        # The first of two columns with one name counts.
        names = self.names[::-1]
        for cells in islice(self._all_rows(), 1, None):
            if isinstance(cells, RecordError):
                yield cells
            else:
                cells.reverse()
                yield dict(zip(names, cells, strict=True))

    def _all_rows(self) -> CsvRows:
        lines = read_table_lines(self._path, self._encoding)
        first = next((line for line in lines if line.strip("\ufeff\r\n\t ,;")), "")
        return CsvRows(chain([first], lines), max(",;\t", key=first.count))


def _load_row(
    row: Cells | RecordError,
    name: str,
    source: TableSource,
    folder: MediaFolder,
    is_comments_only: bool,
) -> list[Record]:
    post_id = None
    try:
        if isinstance(row, RecordError):
            raise row
        row_id = read_row_id(source, row)
        post_id = row_id[:200] or None
        _check_encoding(row)
        if _is_repost(source, row):
            raise RecordError(RejectReason.REPOST, "a repost: its text is of another author")
        if not is_comments_only and _is_comment(source, row):
            raise RecordError(RejectReason.COMMENT, "a comment, not a post")
        return [build_post(_to_raw(source, row, row_id), name, folder)]
    except RecordError as error:
        return [ImportReject.from_error(error, name, post_id)]


def _check_encoding(row: Cells) -> None:
    if not is_decoded("".join(row.values())):
        columns = [column for column, cell in row.items() if not is_decoded(cell)]
        raise RecordError(RejectReason.BAD_ENCODING, f"{columns}: in no known encoding")


def _to_raw(source: TableSource, row: Cells, row_id: str) -> RawPost:
    posted_at = _first(row, source.posted_at)
    zone = posted_at.rpartition(" ")[2]
    if zone in _ZONES:
        posted_at = posted_at.removesuffix(f" {zone}") + _ZONES[zone]
    return RawPost(
        post_id=row_id,
        caption=join_texts(*(row.get(column) for column in source.caption)),
        platform=_platform(source, row),
        author=_first(row, source.author),
        posted_at=posted_at,
        likes=_first(row, source.likes),
        comments=_first(row, source.comments),
        media_type=_first(row, source.media_type),
        sponsored=_is_sponsored(source, row),
        images=list_images(source, row),
        file_stems=[row.get(column, "") for column in source.file_stems],
        duration_s=_first(row, source.duration),
    )


def list_images(source: TableSource, row: Cells) -> list[Any]:
    """List the addresses and paths of the images of a row."""
    images = [image for column in source.images for image in split_addresses(row.get(column, ""))]
    return _drop_repeated(images) if len(images) > 1 else images


def _drop_repeated(images: list[Any]) -> list[Any]:
    """Keep the first of several addresses of one file, which differ in their query."""
    kept: dict[str, Any] = {}
    for image in images:
        kept.setdefault(str(image).partition("?")[0], image)
    return list(kept.values())


def _first(row: Cells, columns: tuple[str, ...]) -> str:
    for column in columns:
        if cell := row.get(column, "").strip():
            return cell
    return ""


def read_row_id(source: TableSource, row: Cells) -> str:
    """Read the id of the post in a row; "" if there is none."""
    if post_id := _first(row, source.post_id):
        return post_id
    return "" if source.post_id else id_in_address(_first(row, source.address))


def _platform(source: TableSource, row: Cells) -> str:
    if source.platform:
        return source.platform
    if "post_owner.type" in row or "surface.type" in row:
        kind = f"{row.get('post_owner.type', '')} {row.get('surface.type', '')}".lower()
        for platform in ("instagram", "facebook", "threads"):
            if platform in kind:
                return platform
    if "mcl_url" in row or "post_owner.id" in row:
        is_facebook = "shared_post_id" in row or "statistics.share_count" in row
        return "facebook" if is_facebook else "instagram"
    for column in source.address:
        if found := platform_in_address(row.get(column, "")):
            return found
    return next((p for column, p in _PLATFORM_COLUMNS.items() if column in row), "4cat")


def _is_sponsored(source: TableSource, row: Cells) -> bool | None:
    cells = [row[column].strip().lower() for column in source.sponsored if column in row]
    return any(cell not in _NO for cell in cells) if cells else None


def _is_repost(source: TableSource, row: Cells) -> bool:
    if source.repost and _says_yes(row, source.repost):
        return True
    if row.get("tweet_type", "").strip().lower() == "retweet":
        return True
    is_shared = source.shared and _says_yes(row, source.shared)
    return bool(is_shared) and not any(row.get(column, "").strip() for column in source.caption)


def _says_yes(row: Cells, columns: tuple[str, ...]) -> bool:
    return any(row.get(column, "").strip().lower() not in _NO for column in columns)


def _is_comment(source: TableSource, row: Cells) -> bool:
    if not source.thread:
        return False
    thread = _first(row, source.thread)
    is_answer = bool(thread) and thread not in {_first(row, source.post_id), "0"}
    is_comment = row.get("type", "").strip().lower() == "comment"
    return is_comment or (is_answer and _platform(source, row) in COMMENT_PLATFORMS)


def _has_only_comments(source: TableSource, table: NamedTable) -> bool:
    """Tell whether a table is one of comments; reads up to its first post."""
    has_row = False
    for row in table.rows():
        if isinstance(row, RecordError):
            continue
        if not _is_comment(source, row):
            return False
        has_row = True
    return has_row
