"""Damaged exports of platforms: no crash, every post is imported or rejected with a reason."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.platform_exports import (
    archived_tweet,
    capture,
    facebook_entry,
    facebook_item,
    fourcat_row,
    instagram_entry,
    instagram_item,
    linkedin_item,
    mangle,
    research_video,
    threads_item,
    tiktok_download,
    tiktok_item,
    twarc_row,
    tweet_v2,
    web_tweet,
    write_csv,
    write_example,
    youtube_thread,
    youtube_video,
)

from postbias.errors import PostbiasError
from postbias.posts.importers import detect_layout, import_posts
from postbias.posts.importers.post_addresses import id_in_address, split_addresses
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS
from postbias.posts.importers.text_repair import decode_latin1
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

_QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_NODES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "x": ("a.jsonl", [tweet_v2(1), archived_tweet(2), web_tweet(3)]),
    "tiktok": ("a.jsonl", [research_video(1), tiktok_item(2)]),
    "youtube": ("a.jsonl", [youtube_video("v1"), youtube_thread("c1")]),
    "zeeschuimer": (
        "a.ndjson",
        [
            capture("instagram.com", instagram_item(1), "1"),
            capture("tiktok.com", tiktok_item(2), "2"),
            capture("twitter.com", web_tweet(3), "3"),
            capture("threads.net", threads_item(4), "4"),
            capture(
                "linkedin.com", linkedin_item(5, content={"images": [{"attributes": []}]}), "5"
            ),
            capture("facebook.com", facebook_item(6, attachments=[{"media": {}}]), "6"),
        ],
    ),
    "meta-download": (
        "posts_1.json",
        [instagram_entry("a.jpg", "a"), facebook_entry("b", "b.jpg"), facebook_entry("c")],
    ),
}

_values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud83d", "\0", 10**30, -1, 1e300, "https://a.invalid/[", "a/../b"]),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.integers() | st.just({}), max_size=3),
)


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values in a JSON value."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        items = []
    return [p for key, item in items for p in [(*path, key), *_places(item, (*path, key))]]


@st.composite
def _damaged(draw: st.DrawFn, node: dict[str, Any]) -> dict[str, Any]:
    """Drop or replace values anywhere in a node."""
    node = copy.deepcopy(node)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(node)
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        parent: Any = node
        for key in parents:
            parent = parent[key]
        if draw(st.booleans()):
            del parent[last]
        else:
            parent[last] = draw(_values)
    return node


def _import(layout: str, src: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """Import; None if no post could be imported, which is a one-line error."""
    with tempfile.TemporaryDirectory() as folder:
        dest = Path(folder) / "out"
        try:
            import_posts(layout, src, dest)
        except PostbiasError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is valid
            return None
        posts = read_posts(dest / "posts", POSTS.names).to_pylist()
        return posts, read_table(dest / "rejects.parquet", REJECTS).to_pylist()


@pytest.mark.parametrize("layout", _NODES)
@given(data=st.data())
@_QUIET
def test_each_damaged_node_is_one_post_or_one_reject(layout: str, data: st.DataObject) -> None:
    name, nodes = _NODES[layout]
    damaged = [data.draw(_damaged(node)) for node in nodes]
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / name
        text = json.dumps(damaged) if name.endswith(".json") else ""
        text = text or "".join(json.dumps(node) + "\n" for node in damaged)
        src.write_text(text, encoding="utf-8")
        result = _import(layout, src)
    if result is None:
        return
    posts, rejects = result
    rejected = [reject for reject in rejects if reject["stage"] == "import"]
    # A damaged thread may have lost its comment, or a page its nodes, but no line is lost.
    assert len(posts) + len(rejected) >= len(damaged)
    assert all(reject["detail"] for reject in rejects)
    if name.endswith(("jsonl", "ndjson")):
        lines = {int(r["source"].rpartition(":")[2]) for r in [*posts, *rejected]}
        assert lines == set(range(1, len(damaged) + 1))


@given(
    st.lists(
        st.one_of(
            _damaged({"Date": "2024-03-01 08:09:10", "Link": "https://t.invalid/video/1"}),
            _values,
        ),
        min_size=1,
        max_size=4,
    )
)
@_QUIET
def test_each_entry_of_a_tiktok_download_is_one_post_or_one_reject(videos: list[Any]) -> None:
    first = {"Date": "2024-01-01 00:00:00", "Link": "https://t.invalid/video/9", "Title": "x"}
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "user_data.json"
        src.write_text(json.dumps(tiktok_download(first, *videos)), encoding="utf-8")
        result = _import("tiktok-download", src)
    assert result is not None
    posts, rejects = result
    n_rejected = sum(reject["stage"] == "import" for reject in rejects)
    assert len(posts) + n_rejected == 1 + len(videos)


@pytest.mark.parametrize("layout", SOURCE_LAYOUTS)
@given(data=st.data())
@_QUIET
def test_no_damaged_bytes_crash_an_import_or_the_detection(
    layout: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "src"
        write_example(layout, src)
        path = next(path for path in src.rglob("*") if path.is_file())
        content = path.read_bytes()
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        path.write_bytes(content[:start] + data.draw(st.binary(max_size=8)) + content[end:])
        _import(layout, src)
        try:
            detect_layout(src)
        except PostbiasError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is valid


_cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12)


@pytest.mark.parametrize("layout", ["4cat", "x"])
@given(data=st.data())
@_QUIET
def test_each_row_of_a_table_is_one_post_or_one_reject(layout: str, data: st.DataObject) -> None:
    make = fourcat_row if layout == "4cat" else twarc_row
    rows = [make(n) for n in ("1", "2", "3")]  # type: ignore[operator]
    for row in rows:
        for column in data.draw(st.lists(st.sampled_from(list(row)), max_size=4)):
            row[column] = data.draw(_cells)
    with tempfile.TemporaryDirectory() as folder:
        result = _import(layout, write_csv(Path(folder) / "a.csv", rows))
    if result is not None:
        posts, rejects = result
        assert len(posts) + sum(reject["stage"] == "import" for reject in rejects) == len(rows)


@given(st.text(st.characters(codec="utf-8")))
@_QUIET
def test_meta_text_is_decoded_again_and_other_text_stays(text: str) -> None:
    assert decode_latin1(mangle(text)) == text
    if not all(ord(character) < 256 for character in text):
        assert decode_latin1(text) == text


@given(st.text())
@_QUIET
def test_addresses_of_any_text_are_split_without_a_crash(text: str) -> None:
    assert isinstance(id_in_address(text), str)
    assert isinstance(split_addresses(text), list)
