"""`postbias import auto` and `--list`: which layout an export has, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.platform_exports import (
    archived_tweet,
    capture,
    crowdtangle_instagram_row,
    facebook_entry,
    fourcat_row,
    instagram_item,
    research_video,
    tiktok_item,
    twarc_row,
    tweet_v2,
    web_tweet,
    write_csv,
    write_example,
    write_image,
    write_json,
    write_lines,
    youtube_page,
    youtube_thread,
)

from postbias.cli import main
from postbias.errors import InputError, LayoutError
from postbias.posts.importers import LAYOUTS, detect_layout
from postbias.posts.importers.layout_guide import LAYOUT_GUIDES
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS


@pytest.mark.parametrize("layout", SOURCE_LAYOUTS)
def test_each_layout_is_found_out_and_imported(tmp_path: Path, layout: str) -> None:
    n_posts = write_example(layout, tmp_path / "src")
    write_image(tmp_path / "src" / "more" / "1.jpg")
    arguments = ["import", "auto", str(tmp_path / "src"), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.stderr.startswith(f"layout {layout}: "), result.stderr
    assert f"imported {n_posts} posts" in result.stdout
    assert json.loads((tmp_path / "out" / "import.json").read_text())["layout"] == layout


def _write_instaloader(folder: Path) -> None:
    write_json(folder / "2024-01-01_10-00-00_UTC.json", {"node": instagram_item(1)})


def _write_brand(folder: Path) -> None:
    write_json(folder / "json" / "1.json", instagram_item(1))
    (folder / "post_info.txt").write_text("0\tann\t0\t1.json\t[]\n")


def _write_archive(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    text = f"window.YTD.tweets.part0 = {json.dumps([archived_tweet(1)])}"
    (folder / "data" / "tweets.js").write_text(text)
    (folder / "data" / "like.js").write_text("window.YTD.like.part0 = []")


def _write_parquet(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"post_id": ["1"], "caption": ["hi"]}), folder / "p.parquet")


_META = {"source_platform": "tiktok.com"}

_EXAMPLES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "instaloader": ("instaloader", _write_instaloader),
    "brand": ("influencer-brand", _write_brand),
    "archive": ("x", _write_archive),
    "tweets": ("x", lambda folder: write_lines(folder / "a.jsonl", [tweet_v2(1), tweet_v2(2)])),
    "twarc": ("x", lambda folder: write_csv(folder / "a.csv", [twarc_row(1)])),
    "crowdtangle": (
        "crowdtangle",
        lambda folder: write_csv(folder / "a.csv", [crowdtangle_instagram_row("C")]),
    ),
    "api": ("api-v1", lambda folder: write_json(folder / "a.json", {"items": [instagram_item(1)]})),
    "capture": (
        "zeeschuimer",
        lambda folder: write_lines(folder / "a.json", [capture("x.com", web_tweet(1))] * 2),
    ),
    "ndjson": (
        "4cat",
        lambda folder: write_lines(
            folder / "a.ndjson", [tiktok_item(1) | {"__import_meta": _META}]
        ),
    ),
    "videos": ("tiktok", lambda folder: write_json(folder / "a.json", [research_video(1)])),
    "comments": (
        "youtube",
        lambda folder: write_json(
            folder / "a.json", youtube_page("commentThread", youtube_thread("c"))
        ),
    ),
    "facebook": (
        "meta-download",
        lambda folder: write_json(folder / "posts" / "your_posts_1.json", [facebook_entry("a")]),
    ),
    "parquet": ("table", _write_parquet),
}


@pytest.mark.parametrize("name", _EXAMPLES)
def test_other_forms_of_exports_are_found_out(tmp_path: Path, name: str) -> None:
    layout, write = _EXAMPLES[name]
    write(tmp_path / "src")
    detected = detect_layout(tmp_path / "src")
    assert detected.layout == layout
    assert "\n" not in detected.evidence


def test_the_only_table_in_a_folder_is_imported(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "src" / "posts.csv", [{"post_id": "1", "caption": "hi"}])
    assert detect_layout(tmp_path / "src").src == table
    write_csv(tmp_path / "src" / "more.csv", [{"post_id": "1", "caption": "hi"}])
    with pytest.raises(LayoutError, match=r"several tables; saw 'more\.csv, posts\.csv'"):
        detect_layout(tmp_path / "src")


def test_files_of_two_layouts_are_an_error_that_lists_both(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [fourcat_row("A1")])
    write_csv(tmp_path / "b.csv", [crowdtangle_instagram_row("C")])
    pattern = r"several layouts; saw '4cat: a\.csv: .*crowdtangle: b\.csv: "
    with pytest.raises(LayoutError, match=pattern):
        detect_layout(tmp_path)


def test_an_unknown_export_is_an_error_that_says_what_was_seen(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"name": "x", "value": "1"}])
    write_json(tmp_path / "b.json", {"alpha": 1})
    (tmp_path / "c.json").write_bytes(b'{"damaged')
    (tmp_path / "d.bin").write_bytes(b"\0")
    arguments = ["import", "auto", str(tmp_path), str(tmp_path.parent / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    for seen in ("columns ['name', 'value']", "its keys are ['alpha']", "c.json: broken_file"):
        assert seen in result.stderr
    assert ", ".join(LAYOUT_GUIDES) in result.stderr


def test_a_missing_or_empty_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        detect_layout(tmp_path / "absent")
    write_image(tmp_path / "1.jpg")
    with pytest.raises(LayoutError, match="no files but images"):
        detect_layout(tmp_path)


def test_the_list_describes_all_layouts() -> None:
    result = CliRunner().invoke(main, ["import", "--list"])
    assert result.exit_code == 0
    assert re.findall(r"^(\S+)$", result.stdout, re.MULTILINE) == ["auto", *LAYOUTS]
    assert {name: layout.description for name, layout in LAYOUTS.items()} == {
        name: guide.description for name, guide in LAYOUT_GUIDES.items()
    }
