"""Importers skip work that most text does not need; the result is as without the shortcuts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ftfy
import pytest
from ftfy.badness import is_bad
from hypothesis import example, given
from hypothesis import strategies as st

from postbias.posts.importers import csv_rows
from postbias.posts.importers.csv_rows import CsvRows
from postbias.posts.importers.file_index import CASE, FileIndex, _forms, canonical
from postbias.posts.importers.image_addresses import split_plain_address
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_cells import parse_count, parse_id, parse_time_us
from postbias.posts.importers.text_lines import FileEncoding, is_decoded, read_table_lines
from postbias.posts.importers.text_repair import (
    _LATIN1_UTF8,
    _MOJIBAKE,
    _decode_sequence,
    repair_text,
)
from postbias.posts.text_cleaning import clean_text

# What looks like mojibake, controls and valid letters, of which chance alone writes few.
_PIECES = st.sampled_from(
    [
        "Ã©",
        "Ã¼",
        "â€œ",
        "â\x80\x99",
        "Ã\xa0",
        "Â£",
        "é",
        "ß",
        "\x85",
        "\xc3\xa9",
        "\r\n",
        "\0",
        "☕",
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=5) | st.text("abc \xa0Âãô", max_size=5)).map("".join)

_CELLS = st.sampled_from(
    ["a", "", "12345678", '"q"', '"a ""b"" c"', '"two\nlines"', '"\nx\ny\nz\n"', ' "b"', 'b"c', '"',
     '"open', '\\"esc\\"', '"\\"e\\""', "x, y", " z", "é\x0bü"]
)  # fmt: skip
_ROWS = st.lists(st.lists(_CELLS, min_size=2, max_size=4).map(",".join) | st.just(""), max_size=12)


@given(_TEXTS)
def test_text_is_repaired_as_by_all_patterns(text: str) -> None:
    expected = clean_text(text)
    expected = _LATIN1_UTF8.sub(_decode_sequence, expected)
    if _MOJIBAKE.search(expected) and is_bad(expected):
        expected = ftfy.fix_encoding(expected)
    # Without C1 controls, letters that could be UTF-8 in Latin-1 stay as they are.
    if not re.search("[\x80-\x9f]", clean_text(text)):
        expected = clean_text(text)
        if _MOJIBAKE.search(expected) and is_bad(expected):
            expected = ftfy.fix_encoding(expected)
    assert repair_text(text) == expected


def _read(text: str, batch_lines: int) -> tuple[list[object], tuple[int, int, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "_BATCH_LINES", batch_lines)
        if not batch_lines:
            patch.setattr(CsvRows, "_read_batch", lambda _self: [])
        rows = CsvRows(iter(text.splitlines(keepends=True)), ",")
        rows.id_cell = 0
        found = [
            f"{row.reason} {row.detail}" if isinstance(row, RecordError) else row for row in rows
        ]
    return found, (rows.n_lines, rows.n_row_like, rows.n_joined)


@given(_ROWS, st.sampled_from([1, 2, 3, 256]))
@example(["h,i", *["12345678,a"] * 8, '12345678,"', *["12345678,a"] * 3, '"'], 256)
def test_rows_read_in_batches_are_those_read_one_by_one(rows: list[str], batch_lines: int) -> None:
    text = "id,text,more\n" + "".join(f"{row}\n" for row in rows)
    assert _read(text, batch_lines) == _read(text, 0)


@given(st.text(st.characters(), max_size=9))
def test_only_escaped_bytes_are_undecoded(text: str) -> None:
    assert is_decoded(text) == (re.search("[\udc00-\udcff]", text) is None)


@given(st.text("aB.%/\\ _2é", max_size=9))
def test_plain_paths_have_the_spelling_of_all_paths(path: str) -> None:
    assert canonical(path) == _forms(path)[CASE]


@given(st.integers(2_005, 2_100), st.integers(0, 31_535_999))
def test_whole_seconds_are_the_time_in_any_form(year: int, second: int) -> None:
    seconds = parse_time_us(f"{year}-01-01T00:00:00Z") // 1_000_000 + second  # type: ignore[operator]
    assert seconds * 1_000_000 == parse_time_us(seconds) == parse_time_us(str(seconds))
    assert seconds * 1_000_000 == parse_time_us(f"{seconds}.0")
    assert seconds * 1_000_000 == parse_time_us(seconds * 1_000_000)


@pytest.mark.parametrize("value", [2**53, "9007199254740992", -1, "-1", "1²"])
def test_counts_that_are_not_exact_are_errors(value: object) -> None:
    with pytest.raises(RecordError):
        parse_count(value, "likes")
    assert parse_count(2**53 - 1, "likes") == parse_count(str(2**53 - 1), "likes") == 2**53 - 1


@given(st.integers(0, 10**30))
def test_digits_are_an_id_as_they_are(number: int) -> None:
    assert parse_id(f"00{number}") == f"00{number}"


@pytest.mark.parametrize("name", ["7.jpg", "7_12.jpg", "7_hqdefault.webp", "7-default_2.png"])
def test_files_named_after_a_post_are_not_missed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    index = FileIndex(tmp_path)
    assert index.may_be_named_after("7")
    assert not index.may_be_named_after("8")


def test_lines_of_a_table_have_no_nul_in_any_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postbias.posts.importers.text_lines._BATCH_CHARS", 4)
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\r\n1,\x00x\n\xff,2\n3,4")
    lines: Iterator[str] = read_table_lines(path, FileEncoding("utf-8"))
    assert list(lines) == ["a,b\r\n", "1,x\n", "\udcff,2\n", "3,4"]


_ADDRESS_PARTS = st.sampled_from(
    ["http", "https", "://", "//", "a.example", "[", "]", "é", "@", ":80", "/", "/a", "%2f", "?",
     "#", "x=1", ";", " ", "\t", "\n", "\x80", "\xa0", "..", "\u2100", "☕", "\ud83d"]
)  # fmt: skip


@given(st.lists(_ADDRESS_PARTS, max_size=7).map("".join), st.booleans())
def test_plain_addresses_are_split_as_by_urlsplit(text: str, is_usual: bool) -> None:
    address = f"https://cdn.example{text}" if is_usual else text
    if (plain := split_plain_address(address)) is not None:
        parts = urlsplit(address)
        assert plain == (parts.path, parts.query)


def test_ordinary_addresses_are_plain() -> None:
    address = "https://scontent.cdninstagram.com/v/t51/1_n.jpg?efg=x&_nc_ht=a.b#end"
    assert split_plain_address(address.partition("#")[0]) == ("/v/t51/1_n.jpg", "efg=x&_nc_ht=a.b")
    assert split_plain_address(address) is None


@given(
    st.datetimes(datetime(2004, 12, 30), datetime(2101, 1, 2)),
    st.sampled_from(["", "Z", "+00:00", "+05:30", "-11:00"]),
    st.sampled_from(["", " "]),
)
def test_iso_times_are_those_of_the_standard_library(
    moment: datetime, offset: str, space: str
) -> None:
    text = f"{space}{moment.isoformat()}{offset}"
    expected = datetime.fromisoformat(text.strip())
    expected = expected.astimezone(UTC) if offset else expected.replace(tzinfo=UTC)
    if 2005 <= expected.year <= 2100:
        whole, part = divmod(expected.timestamp() * 1_000_000, 1)
        assert abs(parse_time_us(text) - whole - part) < 2  # type: ignore[operator]
        assert parse_time_us(text) == parse_time_us(expected)
    else:
        with pytest.raises(RecordError):
            parse_time_us(text)


def _look_up(value: Any, path: tuple[str | int, ...]) -> Any:
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError):
        return None
    return value


@given(
    st.recursive(
        st.none() | st.integers(0, 1) | st.just("ab"),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
        max_leaves=6,
    ),
    st.lists(st.sampled_from(["a", "b", 0, 1, -1]), max_size=4).map(tuple),
)
def test_nested_values_are_those_of_plain_look_ups(value: Any, path: tuple[str | int, ...]) -> None:
    assert get_nested(value, *path) == _look_up(value, path)


@pytest.mark.parametrize("name", ["{}.jpg", "{}", "b/{}.webp"])
def test_files_of_fetch_images_are_found_by_their_address(tmp_path: Path, name: str) -> None:
    digest = hashlib.sha256(b"https://a.example/1").hexdigest()[:32]
    path = tmp_path / name.format(digest)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    (tmp_path / "other.jpg").touch()
    folder = ImageFolder(tmp_path)
    assert folder.locate("https://a.example/1") == name.format(digest)
    assert folder.index.has_fetched_files
