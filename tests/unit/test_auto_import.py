"""`postbias import auto` opens tables as the layout `table` does, and ignores no option."""

from __future__ import annotations

import gzip
import json
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from tests.platform_exports import (
    capture,
    fourcat_row,
    instagram_item,
    tweet_v2,
    web_tweet,
    write_csv,
    write_example,
    write_json,
    write_lines,
)
from tests.tiny_artifact import write_tiny_artifact

from postbias.cli import main
from postbias.posts.importers import detect_layout, import_posts
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS


def _import(*words: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, words)])


_CSV = "post_id,caption\n1,hello\n2,you\n"
_ROWS = '{"post_id": "1", "caption": "hello"}\n{"post_id": "2", "caption": "you"}\n'


def _write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("posts.csv", _CSV)


def _write_excel(path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["post_id", "caption"], ["1", "hello"], ["2", "you"]):
        book.active.append(row)
    book.save(path)


_TABLES: dict[str, Callable[[Path], object]] = {
    "t.zip": _write_zip,
    "t.xlsx": _write_excel,
    "t.csv.gz": lambda path: path.write_bytes(gzip.compress(_CSV.encode())),
    "packed.csv": lambda path: path.write_bytes(gzip.compress(_CSV.encode())),
    "t.jsonl.gz": lambda path: path.write_bytes(gzip.compress(_ROWS.encode())),
    "t.json": lambda path: write_json(path, {"rows": [*map(json.loads, _ROWS.splitlines())]}),
    "t.txt": lambda path: path.write_text(_CSV),
    "t": lambda path: path.write_text(_CSV),
    "bar.csv": lambda path: path.write_text(_CSV.replace(",", "|")),
    "sep.csv": lambda path: path.write_text("sep=;\n" + _CSV.replace(",", ";")),
    "title.csv": lambda path: path.write_text("Posts of May\n\n" + _CSV),
    "names.csv": lambda path: path.write_text(_CSV.replace("post_id", "Post ID")),
}  # fmt: skip


@pytest.mark.parametrize("name", _TABLES)
def test_every_table_that_is_read_is_recognised(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _TABLES[name](path)
    result = _import("auto", path, tmp_path / "dest")
    assert result.exit_code == 0, result.output
    assert "layout table: " in result.stderr
    assert "imported 2 posts" in result.stdout


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, bytes(range(256)) * 9])
def test_bytes_are_never_printed_as_columns(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    for layout in ("auto", "table"):
        result = _import(layout, path, tmp_path / "dest")
        assert result.exit_code == 1
        assert "columns [" not in result.stderr
        assert "IHDR" not in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_packed_table_of_a_research_tool_must_be_unpacked(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "a.csv", [fourcat_row("A1")])
    packed = tmp_path / "packed" / "a.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    result = _import("auto", packed, tmp_path / "dest")
    assert "a table of layout 4cat that must be unpacked first" in result.stderr


@pytest.mark.parametrize("name", ["posts.json", "posts_1.json", "stories.json"])
@pytest.mark.parametrize("key", ["caption", "images"])
def test_a_table_may_be_named_like_a_file_of_a_download(
    tmp_path: Path, name: str, key: str
) -> None:
    path = write_json(tmp_path / "src" / name, [{"post_id": "1", key: "a", "uri": "x", "data": []}])
    assert detect_layout(path).layout == "table"
    assert detect_layout(path.parent).src == path


@pytest.mark.parametrize(
    "content",
    [
        [{"media": [{"uri": "a.jpg", "creation_timestamp": 1_700_000_000, "title": "hi"}]}],
        [{"timestamp": 1_700_000_000, "data": [{"post": "hi"}]}],
        [{"timestamp": 1_700_000_000, "label_values": []}],
        {"ig_stories": [{"uri": "a.jpg"}]},
    ],
)
def test_a_download_is_recognised_by_its_content(tmp_path: Path, content: object) -> None:
    path = write_json(tmp_path / "posts_1.json", content)
    assert detect_layout(path).layout == "meta-download"


def test_a_table_in_an_object_is_no_page_of_an_api(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"items": [{"post_id": "1", "caption": "hi"}]})
    assert detect_layout(path).layout == "table"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my posts.csv", "id,text\n1,hello\n"),
        ("t.jsonl", '{"uuid": "1", "message": "hello", "mood": 1}\n'),
        ("t.json", '[{"shortcode": "1", "body": "hello", "mood": 1}]'),
    ],
)
def test_the_command_for_other_columns_works(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    failed = _import("auto", tmp_path / name, tmp_path / "dest")
    command = failed.stderr.partition("run `postbias import ")[2].partition("`")[0]
    assert "--column" in command, failed.stderr
    words = [tmp_path / "dest" if word == "DEST" else word for word in shlex.split(command)]
    assert "imported 1 posts" in _import(*words).stdout


def test_options_are_passed_to_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("nr;words\n1;Grüße\n2;nan\n", encoding="latin-1")
    options = ("--column", "post_id=nr", "--column", "caption=words")
    more = ("--encoding", "iso8859-1", "--null-values", "nan")
    result = _import("auto", path, tmp_path / "dest", *options, *more)
    direct = _import("table", path, tmp_path / "direct", *options, *more)
    assert result.exit_code == direct.exit_code == 0, result.output
    assert result.stdout == direct.stdout
    assert "iso8859-1" in result.stdout


@pytest.mark.parametrize(
    "option",
    [("--column", "caption=text"), ("--null-values", "nan")],
)
@pytest.mark.parametrize("layout", ["auto", "4cat"])
def test_options_without_a_use_are_refused(
    tmp_path: Path, option: tuple[str, str], layout: str
) -> None:
    path = write_csv(tmp_path / "t.csv", [fourcat_row("A1")])
    result = _import(layout, path, tmp_path / "dest", *option)
    assert result.exit_code == 1
    assert option[0] in result.stderr
    assert "4cat" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "dest" / "posts").exists()


def test_a_folder_of_two_layouts_is_imported_by_the_commands_of_the_error(tmp_path: Path) -> None:
    src, dest = tmp_path / "src", tmp_path / "dest"
    node = {
        "id": "1", "shortcode": "A", "edge_media_to_caption": {"edges": [{"node": {"text": "a"}}]},
    }  # fmt: skip
    write_json(src / "a.json", {"graphql": {"shortcode_media": node}})
    write_json(src / "b.json", {"items": [instagram_item(2)]})
    error = _import("auto", src, dest).stderr
    commands = [part for part in error.split("`") if part.startswith("postbias import ")]
    assert len(commands) == 2
    for command in commands:
        words = [dest if word == "DEST" else word for word in shlex.split(command)[2:]]
        result = _import(*words)
        assert result.exit_code == 0, result.output
        assert "broken_file" not in result.output
        assert "other_layout" in result.output
    assert "belongs to layout" in result.output
    assert json.loads((dest / "import.json").read_text())["n_posts"] == 2


def test_the_download_is_named_only_where_it_works(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "a.json", {"items": [instagram_item(1)]})
    write_lines(tmp_path / "z" / "z.ndjson", [capture("x.com", web_tweet(1))])
    write_lines(tmp_path / "x" / "x.jsonl", [tweet_v2(1)])
    write_csv(tmp_path / "c" / "c.csv", [fourcat_row("A1")])
    rows = [{"post_id": "1", "caption": "a", "images": "https://x.invalid/a.jpg"}]
    table = write_csv(tmp_path / "t" / "t.csv", rows)
    n_warned = 0
    for layout, src in [
        ("api-v1", "a"), ("zeeschuimer", "z"), ("4cat", "c"), ("table", table)
    ]:  # fmt: skip
        result = _import(layout, tmp_path / src, tmp_path / f"dest-{layout}")
        n_warned += "name images by address" in result.stderr
        assert ("fetch-images" in result.output) == (layout in {"4cat", "table"}), result.output
    assert n_warned >= 3


def _score(source: Path, out: Path, model: Path, *options: str) -> Result:
    arguments = ["score", str(source), str(out), "--model", str(model), "--threads", "1", *options]
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("layout", SOURCE_LAYOUTS)
def test_an_export_is_scored_as_import_auto_reads_it(tmp_path: Path, layout: str) -> None:
    src = tmp_path / "src"
    write_example(layout, src)
    model = write_tiny_artifact(tmp_path / "student", "text").folder
    tables = []
    for name, options in (("a", []), ("b", ["--layout", "auto"]), ("c", ["--layout", layout])):
        result = _score(src, tmp_path / f"{name}.parquet", model, *options)
        assert result.exit_code == 0, result.output
        assert (f"layout {layout}: " in result.stderr) == (name != "c")
        tables.append(pq.read_table(tmp_path / f"{name}.parquet"))
    assert tables[0].num_rows == 2
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_what_is_no_export_is_scored_or_refused_as_before(tmp_path: Path) -> None:
    model = write_tiny_artifact(tmp_path / "student", "text").folder
    table = tmp_path / "t.csv"
    table.write_text("post_id,caption\n1,a\n", encoding="utf-8")
    for options in ([], ["--layout", "auto"]):
        assert _score(table, tmp_path / "out.csv", model, *options).exit_code == 0
    import_posts("table", table, tmp_path / "data")
    for source in (tmp_path / "data", tmp_path / "data" / "posts" / "00000.parquet"):
        result = _score(source, tmp_path / "out.csv", model, "--layout", "auto")
        assert result.exit_code == 0, result.output
        assert "layout" not in result.stderr
    other = tmp_path / "u.csv"
    other.write_text("nr,words\n1,a\n", encoding="utf-8")
    result = _score(other, tmp_path / "out.csv", model)
    assert result.exit_code == 1
    assert "no column post_id" in result.stderr
    result = _score(other, tmp_path / "out.csv", model, "--layout", "auto")
    assert "postbias import table" in result.stderr
    assert _score(tmp_path / "none", tmp_path / "out.csv", model).exit_code == 1
    both = tmp_path / "both"
    write_example("x", both)
    write_example("youtube", both / "y")
    result = _score(both, tmp_path / "out.csv", model)
    assert result.exit_code == 1
    assert "several layouts" in result.stderr
