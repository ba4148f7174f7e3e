"""Damaged quotes, text and cells in tables cost one row or one cell, and are counted."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from postbias.cli import main
from postbias.errors import InputError
from postbias.posts.importers import import_posts
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table


def _captions(table: Path, dest: Path) -> tuple[dict[str, str], list[str]]:
    import_posts("table", table, dest)
    posts = read_posts(dest / "posts", POSTS.names).to_pylist()
    rejects = read_table(dest / "rejects.parquet", REJECTS).to_pylist()
    return {post["post_id"]: post["caption"] for post in posts}, [r["detail"] for r in rejects]


def _lines(n: int) -> list[str]:
    return ["post_id,caption,author", *(f"{i},caption {i},u{i}" for i in range(1, n + 1))]


@pytest.mark.parametrize("later", ["", '"quoted, caption"', 'a "word" in it', '"closed ""twice"""'])
def test_an_unclosed_quote_costs_one_row(tmp_path: Path, later: str) -> None:
    lines = _lines(300)
    lines[2] = '2,"opened and never closed,bob'
    if later:
        lines[200] = f"200,{later},u200"
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert set(captions) == {str(i) for i in range(1, 301)} - {"2"}
    assert len(details) == 1
    assert "quote" in details[0]


def test_two_unclosed_quotes_that_match_each_other_do_not_swallow_rows(tmp_path: Path) -> None:
    lines = _lines(20)
    lines[2], lines[15] = '2,"opened,bob', '15,closed",u15'
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert set(captions) == {str(i) for i in range(1, 21)} - {"2"}
    assert details == ["a quote is not closed; close every quote and double quotes inside cells"]


def test_quotes_escaped_by_backslashes_are_read(tmp_path: Path) -> None:
    text = 'post_id,caption,author\n1,"she said \\"hi, you\\" to me",ann\n2,fine,bob\n'
    (tmp_path / "t.csv").write_text(text)
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert captions == {"1": 'she said "hi, you" to me', "2": "fine"}
    assert details == []


def test_a_row_with_an_overlong_cell_is_one_reject_that_counts_its_lines(tmp_path: Path) -> None:
    cell = "x" * 100_000 + "\n" + "y,y" * 30_000
    (tmp_path / "t.csv").write_text(f'post_id,caption,author\n1,"{cell}",ann\n2,fine,bob\n')
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert captions == {"2": "fine"}
    assert details == ["a cell is longer than 131072 characters; the row spans 2 lines"]


def test_valid_quoting_is_read_as_the_csv_module_reads_it(tmp_path: Path) -> None:
    cells = [
        "plain",
        "a, b",
        'say "hi"',
        "two\nlines",
        "crlf\r\nline",
        "",
        'lead"ing',
        "x\n\n\n\ny",
    ]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([["post_id", "caption", "author"]])
    writer.writerows([[str(i), cell, "ann"] for i, cell in enumerate(cells)])
    (tmp_path / "t.csv").write_text(out.getvalue(), newline="")
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert details == []
    assert list(captions.values()) == [cell.replace("\r\n", "\n") for cell in cells]


@pytest.mark.parametrize(
    "caption",
    ["Love this day \U0001f600", "It\u2019s coffee time", "caf\u00e9 cr\u00e8me", "\U0001f600",
     "\u041f\u0440\u0438\u0432\u0435\u0442 \u0432\u0441\u0435\u043c", "100\u00a0% \u20ac5",
     "\u4f60\u597d\u4e16\u754c", "\u2764\ufe0f", "\u0646\u0639\u0645"],
)  # fmt: skip
def test_utf_8_that_was_written_as_latin_1_is_repaired(tmp_path: Path, caption: str) -> None:
    row = {"post_id": "1", "caption": caption.encode().decode("latin-1")}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    captions, _ = _captions(tmp_path / "t.jsonl", tmp_path / "out")
    assert captions == {"1": caption}


@pytest.mark.parametrize("half", [r"\ud83d", r"\udc80", r"\ude00 and \ud83d"])
def test_a_lone_surrogate_in_a_jsonl_caption_does_not_stop_the_import(
    tmp_path: Path, half: str
) -> None:
    first, second = '{"post_id": "1", "caption": "fine"}', '{"post_id": "2", "caption": "cut '
    (tmp_path / "t.jsonl").write_text(f'{first}\n{second}{half}"}}\n')
    captions, _ = _captions(tmp_path / "t.jsonl", tmp_path / "out")
    assert captions["1"] == "fine"
    assert captions["2"].startswith("cut ")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("likes", value) for value in ("-1", '"1,234"', "1.2K", "many")),
        *(
            ("posted_at", v)
            for v in ("2024-03-01 10:00 EST", "01/03/2024", "yesterday", "12", "1e30")
        ),
        ("posted_at", "1970-01-01"),
        ("sponsored", "perhaps"),
        ("images", '"[1, {"'),
    ],
)
def test_an_invalid_optional_cell_is_emptied_and_counted(
    tmp_path: Path, column: str, value: str
) -> None:
    (tmp_path / "t.csv").write_text(f"post_id,caption,{column}\n1,kept,{value}\n2,fine,\n")
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert (summary.n_posts, summary.n_rejects) == (2, 0)
    assert summary.emptied_cells == {column: 1}
    assert f"1 cells left empty ({column}" in summary.render()
    again = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert (again.is_new, again.emptied_cells) == (False, {column: 1})
    post = read_posts(tmp_path / "out" / "posts", POSTS.names).to_pylist()[0]
    assert post[column] in (None, [])


@pytest.mark.parametrize(
    "value",
    ["20240301", "45352", "45352.0", "1709251200", "1709251200000", "1709251200000000",
     "2024-03-01",
     "2024-03-01T01:00:00+01:00", "2024-03-01 00:00:00 UTC", "Fri Mar 01 00:00:00 +0000 2024",
     "1709251200000000000"],
)  # fmt: skip
def test_times_in_all_common_units_are_the_same_moment(tmp_path: Path, value: str) -> None:
    (tmp_path / "t.csv").write_text(f"post_id,caption,posted_at\n1,c,{value}\n")
    import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    (post,) = read_posts(tmp_path / "out" / "posts", ["posted_at"]).to_pylist()
    assert post["posted_at"] == datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_rounded_ids_stop_the_import_and_say_how_to_export_them(tmp_path: Path, name: str) -> None:
    text = {
        "t.csv": "post_id,caption\n1.78E+18,one\n1.78E+18,two\n",
        "t.jsonl": '{"post_id": 1.783456789012345677e18, "caption": "c"}\n',
    }[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"rounded.*1\.78.*as text"):
        import_posts("table", tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".heic", ".HEIF", ".jfif"])
def test_an_image_is_found_whatever_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    src = tmp_path / "src"
    (src / "json").mkdir(parents=True)
    (src / "img").mkdir()
    node = {"id": "1", "edge_media_to_caption": {"edges": []}}
    (src / "json" / "1.json").write_text(json.dumps(node))
    (src / "img" / f"a{suffix}").write_bytes(b"\xff\xd8\xff a JPEG")
    (src / "post_info.txt").write_text(f"0\tann\t0\t1.json\t['a{suffix}']\n")
    assert import_posts("influencer-brand", src, tmp_path / "out").n_images == 1


def test_a_table_with_many_rejects_ends_the_command_with_a_warning_and_code_1(
    tmp_path: Path,
) -> None:
    lines = _lines(20) + ["too few"] * 5
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    arguments = ["import", "table", str(tmp_path / "t.csv"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "imported 20 posts" in result.stdout
    assert "WARNING: 5 of 25 records (20%) could not be read" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\npost_id;caption\r\n1;a, b\r\n",
        '\n\npost_id,caption\n1,"a, b"\n',
        "\ufeff\ufeffpost_id;caption\n1;a, b\n",
        "post_id;caption;;;\n1;a, b;;;\n",
        "post_id;caption;note;note\n1;a, b;x;y\n",
        ";post_id;caption\n0;1;a, b\n",
    ],
    ids=["sep=", "blank lines", "double BOM", "empty header cells", "unused twins", "index column"],
)
def test_a_header_as_spreadsheets_write_it_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == ({"1": "a, b"}, [])


@pytest.mark.parametrize("n_rows", [20, 300])
@pytest.mark.parametrize("ids", ["{}", "17834567890{:04}", "Cx{:03}-a"])
def test_a_stray_quote_in_a_table_of_two_columns_costs_one_row(
    tmp_path: Path, ids: str, n_rows: int
) -> None:
    rows = {ids.format(i): f"caption {i}, with a comma" for i in range(1, n_rows + 1)}
    names = list(rows)
    lines = [f'{name},"{caption}"' for name, caption in rows.items()]
    lines[9] = f'{names[9]},"opened'
    lines[15] = f'{names[15]},closed"'
    for i in range(10, 15):
        lines[i] = f"{names[i]},plain {i}"
    (tmp_path / "t.csv").write_text("\n".join(["post_id,caption", *lines]) + "\n")
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert set(names) - set(captions) <= {names[9], names[15]}
    assert len(captions) + len(details) == n_rows


@pytest.mark.parametrize("width", [2, 3])
def test_captions_of_many_lines_are_no_swallowed_rows(tmp_path: Path, width: int) -> None:
    out = io.StringIO(newline="")
    lines = "\n".join(["Top list:", "eggs, milk", "2 kg, flour", "", "more, of it, all", "#a, #b"])
    rows = [["post_id", "caption", "author"], *([f"{i:05}", lines, "ann"] for i in range(50))]
    csv.writer(out).writerows(row[:width] for row in rows)
    (tmp_path / "t.csv").write_text(out.getvalue(), newline="")
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert (summary.n_posts, summary.n_rejects, summary.warning) == (50, 0, None)


def test_far_fewer_rows_than_lines_are_a_warning_and_code_1(tmp_path: Path) -> None:
    cell = "\n".join(f"line {i}" for i in range(400))
    (tmp_path / "t.csv").write_text(f'post_id,caption\n1,"{cell}"\n2,fine\n')
    arguments = ["import", "table", str(tmp_path / "t.csv"), str(tmp_path / "out")]
    for _ in range(2):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
        assert "WARNING: 401 lines became only 2 rows" in result.stderr


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        (r'"she said \"hi\"' + "\n" + r'then \"bye, you\""', 'she said "hi"\nthen "bye, you"'),
        (r'"first' + "\n" + r'second \"quoted\", third"', 'first\nsecond "quoted", third'),
        (r'"ends with \""', 'ends with "'),
        (r'"C:\new \"dir\""', 'C:\\new "dir"'),
        (r'"a backslash at the end\"', "a backslash at the end\\"),
    ],
)
def test_quotes_escaped_by_backslashes_are_read_in_rows_of_several_lines(
    tmp_path: Path, row: str, caption: str
) -> None:
    text = f"post_id,caption,author\n1,{row},ann\n2,fine,bob\n"
    (tmp_path / "t.csv").write_text(text)
    captions, details = _captions(tmp_path / "t.csv", tmp_path / "out")
    assert captions == {"1": caption, "2": "fine"}
    assert details == []


@pytest.mark.parametrize(
    "stem", ["1970-01-01_00-00-00_UTC", "2204-01-01_10-00-00_UTC", "2020-13-45_10-00-00_UTC"]
)
def test_an_impossible_time_in_a_file_name_is_left_out_and_counted(
    tmp_path: Path, stem: str
) -> None:
    src = tmp_path / "src"
    src.mkdir()
    (src / f"{stem}.txt").write_text("a caption")
    summary = import_posts("instaloader", src, tmp_path / "out")
    assert summary.emptied_cells == {"posted_at": 1}
    (post,) = read_posts(tmp_path / "out" / "posts", ["posted_at"]).to_pylist()
    assert post["posted_at"] is None


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [(1_709_251_200, True), (1_709_251_200_000, True), ("1709251200", True), (12, False),
     (99_999_999_999_999, False), ("soon", False), ([], False), (None, None), (0, None)],
)  # fmt: skip
def test_times_of_media_nodes_are_in_the_valid_years_or_counted(
    tmp_path: Path, value: object, is_kept: bool | None
) -> None:
    node = {"id": "1", "taken_at_timestamp": value, "edge_media_to_caption": {"edges": []}}
    (tmp_path / "p.json").write_text(json.dumps(node))
    summary = import_posts("graphql", tmp_path / "p.json", tmp_path / "out")
    (post,) = read_posts(tmp_path / "out" / "posts", ["posted_at"]).to_pylist()
    expected = datetime(2024, 3, 1, tzinfo=UTC) if is_kept else None
    assert post["posted_at"] == expected
    assert summary.emptied_cells == ({"posted_at": 1} if is_kept is False else {})


@pytest.mark.parametrize("value", ["20240301.0", "20240301000000", 20240301.0, 20240301])
def test_compact_dates_are_read_from_numbers_too(tmp_path: Path, value: object) -> None:
    row = {"post_id": "1", "caption": "c", "posted_at": value}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    import_posts("table", tmp_path / "t.jsonl", tmp_path / "out")
    (post,) = read_posts(tmp_path / "out" / "posts", ["posted_at"]).to_pylist()
    assert post["posted_at"] == datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "parsed"),
    [("sponsored", "1.0", True), ("sponsored", "0.0", False), ("sponsored", "TRUE", True),
     ("sponsored", "2.0", None), ("comments", "-1", None), ("comments", "3.0", 3),
     ("comments", "1_000", None), ("comments", "inf", None), ("likes", "1e3", 1000)],
)  # fmt: skip
def test_flags_and_counts_as_programs_write_them(
    tmp_path: Path, column: str, value: str, parsed: object
) -> None:
    (tmp_path / "t.csv").write_text(f"post_id,caption,{column}\n123.0,c,{value}\n")
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    (post,) = read_posts(tmp_path / "out" / "posts", ["post_id", column]).to_pylist()
    assert post == {"post_id": "123", column: parsed}
    assert summary.emptied_cells == ({column: 1} if parsed is None else {})


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -9, -200])
def test_a_truncated_parquet_file_is_one_clear_error(tmp_path: Path, cut: int) -> None:
    rows = [{"post_id": str(i), "caption": "c" * 50} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data[:cut])
    arguments = ["import", "table", str(tmp_path / "t.parquet"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "cannot be read as Parquet" in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_cell_of_a_parquet_file_costs_one_row_or_one_cell(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    buffers = [None, offsets, pa.py_buffer(b"a\xffc")]
    captions = pa.Array.from_buffers(pa.string(), 3, buffers)
    times = pa.array([1_709_251_200, 2**40, None], pa.timestamp("s"))
    table = pa.table({"post_id": ["1", "2", "3"], "caption": captions, "posted_at": times})
    pq.write_table(table, tmp_path / "t.parquet")
    summary = import_posts("table", tmp_path / "t.parquet", tmp_path / "out")
    assert (summary.n_posts, summary.reasons) == (2, {"bad_encoding": 1})


def test_an_unquoted_comma_in_a_sentence_is_read_if_only_one_reading_fits(tmp_path: Path) -> None:
    header = "post_id,caption,author,,,"
    lines = [
        header,
        "1,Monday mood, coffee first,anna,,,",  # read
        "2,one, two, three,bert,,,",  # read
        "3,plain,carl,,,",
        "4,no,space,dora,,,",  # cannot be told from cells
        "5,a, b,c, d,e,,,",  # too many cells even when joined
    ]
    src = tmp_path / "t.csv"
    src.write_text("\n".join(lines))
    summary = import_posts("table", src, tmp_path / "out")
    posts = read_table(next((tmp_path / "out" / "posts").glob("*.parquet")))
    assert dict(zip(posts["post_id"].to_pylist(), posts["caption"].to_pylist(), strict=True)) == {
        "1": "Monday mood, coffee first", "2": "one, two, three", "3": "plain",
    }  # fmt: skip
    assert posts["author"].to_pylist() == ["anna", "bert", "carl"]
    assert summary.reasons == {"broken_row": 2}
    assert "2 rows have a cell with an unquoted ','" in "".join(summary.notes)
