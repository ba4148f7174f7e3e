"""Import the tables of research tools by the columns in `source_columns`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from postbias.errors import SchemaError
from postbias.posts.importers.csv_header import find_header
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.post_addresses import (
    id_in_address,
    platform_in_address,
    split_addresses,
)
from postbias.posts.importers.raw_posts import RawPost, build_post, join_texts
from postbias.posts.importers.records import (
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
    UnknownWrapperError,
    read_noted,
)
from postbias.posts.importers.source_columns import (
    COMMENT_PLATFORMS,
    TableSource,
    choose_source,
    find_source,
)
from postbias.posts.importers.text_lines import detect_file_encoding, is_decoded, read_table_lines
from postbias.posts.reasons import RejectReason

Cells = Mapping[str, str]

# Columns by which a table of 4CAT without addresses tells its platform.
_PLATFORM_COLUMNS = {
    "is_retweet": "x", "tiktok_url": "tiktok", "likes_hidden": "instagram",
    "subreddit": "reddit", "is_in_group": "facebook",
}  # fmt: skip

# Kinds of accounts in the Meta Content Library, and columns that only posts of Facebook have.
_OWNER_PLATFORMS = {
    "page": "facebook", "group": "facebook", "event": "facebook", "profile": "facebook",
    "creator": "instagram", "business": "instagram", "personal": "instagram",
}  # fmt: skip
_FACEBOOK_COLUMNS = frozenset(
    {"shared_post_id", "statistics.share_count", "statistics.reaction_count", "surface.type"}
)

_NO = frozenset({"", "no", "false", "0", "none", "null", "nan", "0.0", "[]"})

# Time zones of CrowdTangle, in hours from UTC; `parse_time_us` does not know them.
_ZONES = {
    "EST": "-05:00", "EDT": "-04:00", "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00",
    "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00", "BST": "+01:00", "CET": "+01:00",
    "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00",
}  # fmt: skip


def table_units(
    layout: str, path: Path, name: str, folder: MediaFolder, encoding: str | None = None
) -> Iterator[ReadUnit]:
    """Iterate over the rows of a table.

    Args:
        layout: A key of `TABLE_SOURCES`.
        path: A CSV file.
        name: Its path relative to the export.
        folder: The folder that has the images.
        encoding: The encoding of the file, if the user named it.

    Yields:
        Functions that read one row.

    Raises:
        SchemaError: If it is no table of the layout.
    """
    table = NamedTable(path, encoding, layout)
    source = choose_source(layout, table.names, name).limited_to(table.names)
    is_comments_only = bool(source.thread) and _has_only_comments(source, table)
    for number, row in enumerate(table.rows(), start=1):
        load = partial(_load_row, row, f"{name}:{number}", source, folder, is_comments_only)
        yield partial(read_noted, load, table.encoding) if table.encoding else load


def to_unknown_table(path: Path, encoding: str | None, error: SchemaError) -> UnknownWrapperError:
    """Say why a file is no table of a layout, and of which one it is."""
    try:
        found = find_source(NamedTable(path, encoding).names)
    except SchemaError:
        found = None
    if found is None:
        return UnknownWrapperError(" ".join(str(error).split())[:400])
    detail = f"belongs to layout {found[0]}: add it by `postbias import --append`"
    return UnknownWrapperError(detail, RejectReason.OTHER_LAYOUT)


@dataclass(frozen=True, slots=True)
class _SourceColumns:
    """Tells whether columns are those of a layout, or of any if it is None."""

    layout: str | None
    file: str

    def find(self, names: Sequence[str]) -> dict[str, str]:
        lowered = [name.lower() for name in names]
        if self.layout is not None:
            choose_source(self.layout, lowered, self.file)
        elif find_source(lowered) is None:
            raise SchemaError(f"{self.file} is no table of a known tool", seen=f"{lowered[:20]}")
        return {}


class NamedTable:
    """A CSV file whose cells are found by the names of their columns, in lower case.

    Attributes:
        names: The columns.
        encoding: Its encoding; "" for UTF-8.
    """

    def __init__(self, path: Path, encoding: str | None = None, layout: str | None = None) -> None:
        """Detect the encoding and find the header.

        Args:
            path: The file.
            encoding: Its encoding, if the user named it.
            layout: A key of `TABLE_SOURCES`; None for any of them.

        Raises:
            SchemaError: If no line among the first has the columns of the layout.
        """
        self._path = path
        self._encoding = detect_file_encoding(path, encoding)
        self.encoding = self._encoding.name
        self._header = find_header(self._lines, _SourceColumns(layout, path.name))
        self.names = [name.lower() for name in self._header.names]

    def rows(self) -> Iterator[Cells | RecordError]:
        """Iterate over the rows below the header as cells by column."""
        offset = int(self._header.has_row_names)
        # The first of two columns with one name counts.
        names = self.names[::-1]
        for cells in self._header.open(islice(self._lines(), self._header.n_skipped, None)):
            if isinstance(cells, RecordError):
                yield cells
            else:
                del cells[:offset]
                cells.reverse()
                yield dict(zip(names, cells, strict=True))

    def _lines(self) -> Iterator[str]:
        return read_table_lines(self._path, self._encoding)


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
    if "mcl_url" in row or "post_owner.id" in row or "post_owner.type" in row:
        return _meta_platform(row)
    for column in source.address:
        if found := platform_in_address(row.get(column, "")):
            return found
    return next((p for column, p in _PLATFORM_COLUMNS.items() if column in row), "4cat")


def _meta_platform(row: Cells) -> str:
    """Tell the platform of a row of the Meta Content Library, which has no column for it."""
    kinds = [row.get(column, "").strip().lower() for column in ("post_owner.type", "surface.type")]
    for kind in kinds:
        for platform in ("instagram", "facebook", "threads"):
            if platform in kind:
                return platform
        if kind in _OWNER_PLATFORMS:
            return _OWNER_PLATFORMS[kind]
    return "instagram" if _FACEBOOK_COLUMNS.isdisjoint(row) else "facebook"


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
