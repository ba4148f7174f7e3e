"""Damaged quotes, text and cells in tables cost one row or one cell, and are counted."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

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
