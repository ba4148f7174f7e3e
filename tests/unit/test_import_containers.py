"""Tables in containers give the same posts as the plain table, and damaged ones a clear error."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.tiny_artifact import write_tiny_artifact

from postbias.cli import main
from postbias.errors import InputError, LayoutError, MissingExtraError, PostbiasError, SchemaError
from postbias.posts.importers import Columns, ImportSummary, ReadingOptions, import_posts
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts
from postbias.scoring.bulk import LocalBackend
from postbias.scoring.file_scoring import ScoringJob, score_files
from postbias.scoring.scorer import Scorer

ROWS = [
    {"post_id": "1", "caption": "Monday mood, coffee\nfirst"},
    {"post_id": "2", "caption": 'Ünïcode "quotes"'},
    {"post_id": "3", "caption": "plain"},
]


def _csv(rows: list[dict[str, str]] = ROWS, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["post_id", "caption"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _jsonl(rows: list[dict[str, str]] = ROWS) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def _zip(files: dict[str, bytes], **more: Any) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if more else name, content)
    return data.getvalue()


def _zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)  # type: ignore[no-any-return]


def _import(path: Path, data: bytes, **options: Any) -> tuple[ImportSummary, list[dict[str, Any]]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    dest = path.parent.parent / f"{path.parent.name}-dest"
    summary = import_posts("table", path, dest, options=ReadingOptions(**options), replace=True)
    return summary, read_posts(dest / "posts", POSTS.names).to_pylist()


def _captions(path: Path, data: bytes, **options: Any) -> dict[str, str]:
    _, posts = _import(path, data, **options)
    return {post["post_id"]: post["caption"] for post in posts}


EXPECTED = {row["post_id"]: row["caption"] for row in ROWS}

_PLAIN = {
    "a.csv": _csv(),
    "a.txt": _csv(delimiter="\t"),
    "a.tsv": _csv(delimiter="\t"),
    "a": _csv(),
    "a.jsonl": _jsonl(),
    "lines.json": _jsonl(),
    "lines.csv": _jsonl(),
    "one.json": json.dumps(ROWS).encode(),
    "indented.json": json.dumps(ROWS, indent=2).encode(),
    "indented.csv": json.dumps(ROWS, indent=2).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS, ensure_ascii=False).encode(),
    "utf16.json": json.dumps(ROWS, ensure_ascii=False).encode("utf-16"),
    "latin.json": json.dumps(ROWS, ensure_ascii=False).encode("latin-1"),
    "member.json": json.dumps({"n": 3, "tags": ["a"], "data": ROWS, "x": {"y": []}}).encode(),
    "members.json": json.dumps({"n": 3, "data": ROWS, "e": []}, indent=1).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", _PLAIN)
@pytest.mark.parametrize("packing", ["plain", "gz", "zst", "bz2", "xz", "zip", "zip of gz"])
def test_every_packing_of_every_table_gives_the_same_posts(
    tmp_path: Path, name: str, packing: str
) -> None:
    data = _PLAIN[name]
    packed = {
        "plain": lambda: data,
        "gz": lambda: gzip.compress(data),
        "zst": lambda: _zstd(data),
        "bz2": lambda: bz2.compress(data),
        "xz": lambda: lzma.compress(data),
        "zip": lambda: _zip({f"x/{name if '.' in name else 'a.csv'}": data, "x/readme.md": b"hi"}),
        "zip of gz": lambda: _zip({f"{name if '.' in name else 'a.csv'}.gz": gzip.compress(data)}),
    }[packing]()
    suffix = "" if packing == "plain" else f".{packing[:3]}"
    assert _captions(tmp_path / "src" / f"{name}{suffix}", packed) == EXPECTED
    # The content decides, not the name.
    assert _captions(tmp_path / "src" / name, packed) == EXPECTED


def test_parts_of_compressed_files_are_all_read(tmp_path: Path) -> None:
    first, second = _csv(ROWS[:2]), _csv(ROWS[2:]).split(b"\r\n", 1)[1]
    for number, pack in enumerate((gzip.compress, bz2.compress, lzma.compress, _zstd)):
        data = pack(first) + pack(second)
        assert _captions(tmp_path / str(number) / "a.csv", data) == EXPECTED


def test_a_json_list_longer_than_any_buffer_is_read_and_damage_costs_one_post(
    tmp_path: Path,
) -> None:
    rows = [{"post_id": str(n), "caption": f"caption {n} " + "x" * (n % 3_000)} for n in range(500)]
    data = json.dumps(rows, indent=1)
    assert len(_captions(tmp_path / "a" / "a.json", data.encode())) == 500
    broken = data.replace('"caption": "caption 250 ', '"caption": caption 250 ', 1)
    summary, _ = _import(tmp_path / "b" / "a.json", broken.encode())
    assert (summary.n_posts, dict(summary.reasons)) == (499, {"broken_row": 1})
    summary, _ = _import(tmp_path / "c" / "a.json", data[: len(data) // 2].encode())
    assert summary.n_posts + summary.n_rejects >= 240
    assert summary.reasons["broken_row"] == 2  # the last object, and the end of the list


def test_json_without_one_list_of_objects_is_refused(tmp_path: Path) -> None:
    for document in ({"a": ROWS, "b": ROWS}, {"a": {"b": ROWS}}, {"a": [1, 2]}, ["a", "b"]):
        with pytest.raises(PostbiasError, match=r"list|object"):
            _import(tmp_path / "src" / "a.json", json.dumps(document, indent=1).encode())


# archives


def test_images_in_an_archive_are_found(tmp_path: Path) -> None:
    table = b"post_id,caption,images\n1,one,images/1.jpg\n2,two,images/gone.jpg\n"
    files = {"p/posts.csv": table, "p/images/1.jpg": b"\xff\xd8\xff one", "__MACOSX/._x.csv": b"x"}
    summary, posts = _import(tmp_path / "src" / "a.zip", _zip(files))
    assert [image["bytes"] for post in posts for image in post["images"]] == [b"\xff\xd8\xff one"]
    assert summary.image_reasons == {"missing_file": 1}
    assert "table 'p/posts.csv' of a.zip" in summary.render()
    again = import_posts("table", tmp_path / "src" / "a.zip", tmp_path / "src-dest")
    assert (again.is_new, again.notes) == (False, summary.notes)


def _raw_zip(entries: list[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return data.getvalue()


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../a.csv", _csv())], "leads out of it"),
        ([("a.csv", _csv()), ("/etc/x.jpg", b"x")], "leads out of it"),
        ([("a.csv", _csv()), ("x/../../x.jpg", b"x")], "leads out of it"),
        ([("a.csv", _csv()), ("C:/x.jpg", b"x")], "leads out of it"),
        ([("a.csv", _csv()), ("..\\x.jpg", b"x")], "leads out of it"),
        ([("a.csv", _csv()), (_link("x.jpg"), b"/etc/passwd")], "is a link"),
        ([("a.csv", _csv()), ("a.csv", _csv())], "two entries of the same name"),
        ([("a.csv", _csv()), ("b.csv", _csv())], "has 2 tables"),
        ([("a.csv", _csv()), ("x" * 300, b"")], "too long a name"),
        ([("readme.md", b"hi")], "has no table"),
        ([("a.csv", _zip({"b.csv": _csv()}))], "an archive in a container"),
        ([("a.csv", bytes(2**27))], "expands to more than"),
    ],
)  # fmt: skip
def test_unsafe_archives_are_refused(
    tmp_path: Path, entries: list[tuple[zipfile.ZipInfo | str, bytes]], message: str
) -> None:
    data = _raw_zip(entries) if len(entries[0][1]) < 2**20 else _zip({"a.csv": entries[0][1]})
    with pytest.raises(InputError, match=message):
        _import(tmp_path / "src" / "a.zip", data)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    assert [path.name for path in (tmp_path / "src").iterdir()] == ["a.zip"]


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(_zip({"a.csv": _csv()}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="encrypted"):
        _import(tmp_path / "src" / "a.zip", bytes(data))


def test_bombs_are_refused_without_filling_memory_or_disk(tmp_path: Path) -> None:
    zeros = bytes(2**27)
    for pack in (gzip.compress, bz2.compress, lzma.compress, _zstd):
        with pytest.raises(InputError, match="expands to more than"):
            _import(tmp_path / "src" / "a.csv", pack(_csv() + zeros))


def test_truncated_compressed_tables_are_one_error(tmp_path: Path) -> None:
    for pack in (gzip.compress, bz2.compress, lzma.compress, _zstd):
        data = pack(_csv())
        for size in range(8, len(data) - 1, 9):
            with pytest.raises(PostbiasError):
                _import(tmp_path / "src" / "a.csv", data[:size])


def test_old_spreadsheets_and_layers_of_compression_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"\.xlsx"):
        _import(tmp_path / "src" / "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    data = _csv()
    for _ in range(6):
        data = gzip.compress(data)
    with pytest.raises(LayoutError, match="packed more than"):
        _import(tmp_path / "src" / "a.csv", data)


# Excel


def _excel(sheets: dict[str, list[list[Any]]]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def test_the_first_sheet_with_the_columns_is_read(tmp_path: Path) -> None:
    time = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    rows = [
        ["Export of March", None], [None],
        ["Post ID", "caption", "likes", "posted_at", "sponsored"],
        ["1784567890123456789", "one", 3, time.replace(tzinfo=None), True], [None, None],
        ["b", None, 4.0, "2024-03-01", False], ["c", 12.0],
    ]  # fmt: skip
    data = _excel({"Notes": [["hello"]], "Posts": rows, "Old": [["post_id", "caption"]]})
    for name in ("a.xlsx", "a.csv", "a.zip"):
        packed = _zip({"x.xlsx": data}) if name == "a.zip" else data
        summary, posts = _import(tmp_path / "src" / name, packed)
        assert "sheet 'Posts', one of 3" in summary.render()
        assert [post["post_id"] for post in posts] == ["1784567890123456789", "b", "c"]
        assert [post["caption"] for post in posts] == ["one", "", "12"]
        assert [post["likes"] for post in posts] == [3, 4, None]
        assert posts[0]["posted_at"] == time
        assert [post["sponsored"] for post in posts] == [True, False, None]


def test_ids_that_excel_has_rounded_are_refused(tmp_path: Path) -> None:
    for post_id in (1.78456789012345e18, "1.78E+18", 1784567890123450000):
        data = _excel({"Posts": [["post_id", "caption"], [post_id, "one"]]})
        with pytest.raises(InputError, match="rounded"):
            _import(tmp_path / "src" / "a.xlsx", data)


def test_an_excel_file_without_the_columns_or_damaged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="post_id"):
        _import(tmp_path / "src" / "a.xlsx", _excel({"Posts": [["id", "text"], [1, "x"]]}))
    with pytest.raises(InputError, match="cannot be unpacked"):
        _import(tmp_path / "src" / "a.xlsx", _zip({"[Content_Types].xml": b"<x/>"}))


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (b'r="2"', b'r="99999999999"', "more than 1048576 rows"),
        (b"</c></row></sheetData>", b"<v>&a11;</v></c></row></sheetData>", "cannot be unpacked"),
    ],
)
def test_an_excel_file_with_impossible_rows_or_a_bomb_of_entities_is_an_error(
    tmp_path: Path, pattern: bytes, new: bytes, message: str
) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE l [<!ENTITY a0 "ha">{entities}]>'.encode()
    data = _excel({"Posts": [["post_id", "caption"], ["1", "x"]]})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sheet = files["xl/worksheets/sheet1.xml"]
    assert pattern in sheet
    files["xl/worksheets/sheet1.xml"] = bomb + sheet.replace(pattern, new)
    with pytest.raises(InputError, match=message):
        _import(tmp_path / "src" / "a.xlsx", _zip(files))


def test_without_the_extra_an_excel_file_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'postbias\[excel\]'"):
        _import(tmp_path / "src" / "a.csv", _zip({"xl/workbook.xml": b"<x/>"}))


# words for empty cells


def test_frequent_null_words_are_noted_and_read_as_empty_if_given(tmp_path: Path) -> None:
    rows = [{"post_id": str(n), "caption": "nan" if n % 10 == 0 else f"c{n}"} for n in range(90)]
    summary, posts = _import(tmp_path / "src" / "a.csv", _csv(rows))
    assert posts[0]["caption"] == "nan"
    assert any("9 captions" in note and "--null-values nan" in note for note in summary.notes)
    summary, posts = _import(tmp_path / "src" / "a.csv", _csv(rows), null_values=("nan", "NA"))
    assert [post["caption"] for post in posts[:2]] == ["", "c1"]
    assert not summary.notes


@pytest.mark.parametrize(("n_null", "n_rows"), [(4, 50), (5, 600)])
def test_a_few_null_words_are_captions(tmp_path: Path, n_null: int, n_rows: int) -> None:
    words = ["None", "null", "NA", "nan", "None"]
    rows = [{"post_id": str(n), "caption": words[n] if n < n_null else "c"} for n in range(n_rows)]
    assert not _import(tmp_path / "src" / "a.csv", _csv(rows))[0].notes


def test_the_command_takes_null_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("post_id,text\n1,None\n2,x\n")
    options = ["--column", "caption=text", "--null-values", "None"]
    command = ["import", "table", str(tmp_path / "a.csv"), str(tmp_path / "dest"), *options]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert read_posts(tmp_path / "dest" / "posts", ["caption"])["caption"].to_pylist() == ["", "x"]
    again = import_posts(
        "table", tmp_path / "a.csv", tmp_path / "dest", replace=True,
        options=ReadingOptions(Columns(caption="text")),
    )  # fmt: skip
    assert again.is_new


def test_scoring_reads_the_same_containers(tmp_path: Path) -> None:
    student = write_tiny_artifact(tmp_path / "student", "text").folder
    scored = []
    with Scorer.open(student) as scorer:
        for name, data in {
            "a.csv": _csv(),
            "a.jsonl.gz": gzip.compress(_jsonl()),
            "a.zst": _zstd(_csv()),
            "a.zip": _zip({"b.csv": _csv()}),
            "a.json": json.dumps(ROWS).encode(),
            "a.txt": _csv(),
        }.items():
            (tmp_path / name).write_bytes(data)
            job = ScoringJob(tmp_path / name, tmp_path / f"{name}.scores.parquet")
            score_files(job, LocalBackend(scorer, batch_size=4))
            scored.append(pq.read_table(tmp_path / f"{name}.scores.parquet"))
    assert all(table.equals(scored[0]) for table in scored)
    assert scored[0]["post_id"].to_pylist() == list(EXPECTED)
