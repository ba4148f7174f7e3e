"""Headers that programs write: other lines before them, other names, row names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from postbias.cli import main
from postbias.errors import InputError, SchemaError
from postbias.posts.importers import Columns, ReadingOptions, import_posts, parse_columns
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_cells import parse_time_us
from postbias.posts.importers.table_columns import choose_columns
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts


def _captions(table: Path, dest: Path, columns: Columns | None = None) -> dict[str, str]:
    options = ReadingOptions(columns or Columns())
    import_posts("table", table, dest, options=options)
    posts = read_posts(dest / "posts", POSTS.names).to_pylist()
    return {post["post_id"]: post["caption"] for post in posts}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "preamble",
    [
        "Export of 2024-01-01\n\n",
        "Posts; all accounts, March\nExported: 2024-03-01, 10:00\n",
        "\ufeff# created by a tool\n# user,date\n",
        '"Title, in quotes"\n,,,\n',
    ],
)
def test_lines_before_the_header_are_skipped_and_reported(
    tmp_path: Path, preamble: str, delimiter: str
) -> None:
    rows = [["post_id", "caption", "author"], ["1", '"a, b; c"', "ann"], ["2", "fine", "bob"]]
    text = preamble + "".join(delimiter.join(row) + "\n" for row in rows)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"1": "a, b; c", "2": "fine"}
    assert "before the header" in (tmp_path / "out" / "import.json").read_text()


@pytest.mark.parametrize(
    "header", ["Post_ID, Caption, Images", "POST ID,caption,IMAGES", "postId,Caption,images"]
)
def test_columns_match_without_case_spaces_and_underscores(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    space = " " if ", " in header else ""
    (tmp_path / "t.csv").write_text(f'{header}\n1,{space}"a, b",{space}a.jpg\n')
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"1": "a, b"}
    (post,) = read_posts(tmp_path / "out" / "posts", POSTS.names).to_pylist()
    assert len(post["images"]) == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_synonyms_are_proposed_as_options_that_work(tmp_path: Path, kind: str) -> None:
    row = {"id": "1", "body": "text", "image_url": "https://x.invalid/1.jpg", "user name": "ann"}
    text = {
        "csv": ",".join(row) + "\n" + ",".join(row.values()) + "\n",
        "jsonl": json.dumps(row) + "\n",
    }[kind]
    (tmp_path / f"t.{kind}").write_text(text)
    arguments = ["import", "table", str(tmp_path / f"t.{kind}"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()
    proposed = (
        "--column post_id=id --column caption=body --column images=image_url "
        "--column 'author=user name'"
    )
    assert proposed in result.output
    options = ["--column", "post_id=id", "--column", "caption=body", "--column", "author=user name"]
    assert CliRunner().invoke(main, [*arguments, *options]).exit_code == 0
    (post,) = read_posts(tmp_path / "out" / "posts", POSTS.names).to_pylist()
    assert (post["post_id"], post["caption"], post["author"]) == ("1", "text", "ann")


def test_a_synonym_of_a_column_that_is_not_required_is_only_mentioned(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("post_id,images,text\n1,a.jpg,hello\n")
    (tmp_path / "a.jpg").write_bytes(b"a")
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert "--column caption=text" in summary.render()
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"1": ""}


@pytest.mark.parametrize("n_without", [1, 50, 1_500])
def test_first_rows_of_jsonl_may_lack_the_caption(tmp_path: Path, n_without: int) -> None:
    rows = [{"post_id": str(i)} for i in range(n_without)]
    rows += [{"post_id": "x", "caption": "here"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert _captions(tmp_path / "t.jsonl", tmp_path / "out")["x"] == "here"


def test_row_names_that_the_header_does_not_mention_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"post_id","caption"\n"1","10","one"\n"2","11","two"\n')
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"10": "one", "11": "two"}


def test_unquoted_commas_are_not_taken_for_row_names(tmp_path: Path) -> None:
    text = "post_id,caption,author,,,\n1,Mon,coffee,ann,,,\n2,Boys,girls,bob,,,\n3,ok,cyd,,,\n"
    (tmp_path / "t.csv").write_text(text)
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"3": "ok"}


def test_a_comma_in_another_header_cell_is_not_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('post_id;caption;"a,b,c,d,e"\n1;one;x\n')
    assert _captions(tmp_path / "t.csv", tmp_path / "out") == {"1": "one"}


def test_a_repeated_header_is_a_reject(tmp_path: Path) -> None:
    part = "post_id,caption\n" + "".join(f"{{}}{i},c\n" for i in range(20))
    (tmp_path / "t.csv").write_text(part.replace("{}", "a") + part.replace("{}", "b"))
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert (summary.n_posts, summary.n_rejects, summary.warning) == (40, 1, None)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match="no header"):
        import_posts("table", tmp_path / "t.csv", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("01.03.2024", "2024-03-01"),
        ("15.03.2024 18:05", "2024-03-15 18:05"),
        ("25/12/2023", "2023-12-25"),
        ("12/25/2023 7:05", "2023-12-25 07:05"),
        ("05-05-2024", "2024-05-05"),
        ("March 5, 2024", "2024-03-05"),
        ("5 Mar 2024 18:05:09", "2024-03-05 18:05:09"),
    ],
)
def test_dates_whose_order_is_certain_are_read(text: str, expected: str) -> None:
    moment = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert parse_time_us(text) == moment.timestamp() * 1e6


@pytest.mark.parametrize("text", ["03/04/2024", "3-4-2024", "31.02.2024", "13/13/2024", "5.3.24"])
def test_dates_whose_order_is_uncertain_or_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match="posted_at"):
        parse_time_us(text)


def test_the_advice_on_columns_names_images_and_says_which_columns_are_still_missing() -> None:
    with pytest.raises(SchemaError) as error:
        Columns().find(["id", "text", "photo_url"])
    assert "--column images=photo_url" in str(error.value)
    with pytest.raises(SchemaError, match="name the column of caption: --column caption=NAME"):
        Columns().find(["id", "\u0442\u0435\u043a\u0441\u0442"])
    with pytest.raises(SchemaError, match="header is not valid in this one"):
        Columns().find(["id", "\udcf2\udce5"])


def test_rows_of_a_table_without_ids_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text('text,photo\none,\n"",\nthree,\n', encoding="utf-8")
    options = ReadingOptions(parse_columns(["post_id=", "caption=text"]))
    import_posts("table", tmp_path / "posts.csv", tmp_path / "out", options=options)
    table = read_posts(tmp_path / "out" / "posts", ["post_id", "caption"])
    assert table.to_pylist() == [
        {"post_id": f"row-{number}", "caption": caption}
        for number, caption in enumerate(("one", "", "three"), start=1)
    ]
    with pytest.raises(InputError, match="takes FIELD=NAME"):
        parse_columns(["caption="])


def test_columns_are_chosen_by_default_names_before_common_ones() -> None:
    names = ["ID", "Caption", "Text", "Photo", "Username", "x"]
    assert choose_columns(names) == {
        "post_id": "ID",
        "caption": "Caption",
        "images": "Photo",
        "author": "Username",
    }
