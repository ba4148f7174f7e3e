"""Importers on generated exports: no post is lost or duplicated, no input crashes them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postbias.errors import CorpusError, LayoutError, PostbiasError
from postbias.posts.importers import import_posts, part_writer, text_repair
from postbias.posts.importers.csv_rows import CsvRows
from postbias.posts.importers.influencer_brand import _parse_image_names
from postbias.posts.importers.instagram_pages import unwrap_api_v1, unwrap_graphql
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

_QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_PLAIN = st.text(st.characters(exclude_characters="'\"\\\0\n\r", codec="utf-8"), min_size=1)


@given(st.lists(_PLAIN, max_size=16))
@_QUIET
def test_a_list_of_names_is_parsed_from_its_python_literal(names: list[str]) -> None:
    literal = "[" + ", ".join(f"'{name}'" for name in names) + "]"
    assert _parse_image_names(literal) == tuple(names)


@given(st.text())
@_QUIET
def test_only_lists_of_names_are_accepted(literal: str) -> None:
    try:
        names = _parse_image_names(literal)
    except RecordError as fault:
        assert fault.reason == RejectReason.BROKEN_ROW  # noqa: PT017 - either outcome is valid
    else:
        assert literal.strip()[0] == "["
        assert all(name in literal for name in names)


@given(st.text(st.characters(codec=None)))
@_QUIET
def test_repaired_text_can_always_be_stored(damaged: str) -> None:
    once = text_repair.repair_text(damaged)
    once.encode()
    assert "\0" not in once
    assert "\r" not in once


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"])))
@_QUIET
def test_text_without_mojibake_is_left_unchanged(sound: str) -> None:
    if not text_repair._MOJIBAKE.search(sound):
        assert text_repair.repair_text(sound) == sound


@given(st.binary(max_size=200))
@_QUIET
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        assert isinstance(text_repair.decode_text(data), str)
    except RecordError as fault:
        assert fault.reason == RejectReason.BAD_ENCODING  # noqa: PT017 - either outcome is valid


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
_KEYS = st.sampled_from(
    ["data", "graphql", "items", "feed_items", "media_or_ad", "media", "sections", "edges", "node",
     "id", "pk", "media_type", "taken_at", "edge_media_to_caption", "taken_at_timestamp", "caption",
     "text", "owner", "user", "username", "display_url", "carousel_media", "image_versions2",
     "candidates", "edge_sidecar_to_children", "shortcode_media", "edge_media_to_sponsor_user"]
)  # fmt: skip
_PAGES = st.recursive(
    _JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6)
)


@given(st.lists(_PAGES, min_size=1, max_size=4))
@_QUIET
def test_pages_of_any_shape_are_imported_or_refused(pages: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "src"
        src.mkdir()
        for number, page in enumerate(pages):
            (src / f"{number}.json").write_text(json.dumps(page))
        for layout, unwrap in (("graphql", unwrap_graphql), ("api-v1", unwrap_api_v1)):
            dest = Path(folder) / layout
            found = [unwrap(page) for page in pages]
            try:
                summary = import_posts(layout, src, dest)
            except (LayoutError, CorpusError):
                assert not dest.exists()
                continue
            expected = sum(1 if nodes is None else len(nodes) for nodes in found)
            assert summary.n_posts + summary.n_rejects == expected


_CELLS = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.booleans() | _JSON
        for name in ("caption", "author", "images", "sponsored", "posted_at", "likes", "platform")
    },
)


@given(st.lists(st.tuples(st.integers(0, 20), _CELLS), min_size=1, max_size=30))
@_QUIET
def test_each_row_of_a_table_is_a_post_or_a_reject(cells: list[tuple[int, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, dest = Path(folder) / "t.jsonl", Path(folder) / "out"
        lines = [
            {"post_id": "0", "caption": "first"},
            *({"post_id": str(n), **c} for n, c in cells),
        ]
        table.write_text("\n".join(map(json.dumps, lines)))
        summary = import_posts("table", table, dest)
        assert summary.n_posts + summary.n_rejects == len(lines)
        posts = read_posts(dest / "posts", POSTS.names).to_pylist()
        rejects = read_table(dest / "rejects.parquet", REJECTS).to_pylist()
        sources = [post["source"] for post in posts]
        sources += [reject["source"] for reject in rejects if reject["stage"] == "import"]
        assert sorted(sources) == sorted(f"t.jsonl:{n}" for n in range(1, len(lines) + 1))
        assert len({post["post_id"] for post in posts}) == len(posts)


_CSV_CELL = st.sampled_from(["plain", "a, b", 'say "hi"', "two\nlines", "", "caf\u00e9"])


def _mutate(data: bytes, position: int, mutation: str) -> bytes:
    head, tail = data[: position % len(data)], data[position % len(data) :]
    if mutation == "cut":
        return head
    if mutation == "double":
        return head + head[head.rfind(b"\n") + 1 :] + tail
    return head + {"quote": b'"', "backslash quote": b'\\"', "byte": b"\xe9"}[mutation] + tail


@given(
    st.lists(_CSV_CELL, min_size=5, max_size=30),
    st.integers(0, 10_000),
    st.sampled_from(["cut", "quote", "backslash quote", "double", "byte"]),
)
@_QUIET
def test_each_line_of_a_damaged_csv_file_is_in_a_row_or_an_error(
    cells: list[str], position: int, mutation: str
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(["post_id", c, "ann"] for c in cells)
    data = _mutate(out.getvalue().encode(), position, mutation)
    lines = data.decode(errors="surrogateescape").splitlines(keepends=True)
    taken: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = CsvRows(feed(), ",")
    rows = list(reader)
    assert taken == lines
    assert sum(bool(line.strip()) for line in lines) <= reader.n_lines <= len(lines)
    assert bool(lines) <= len(rows) <= len(lines)


_WORDS = st.sampled_from(
    ["plain", "a, b; c", 'say "hi"', "two\nlines", "", "caf\u00e9", "\u043c\u0430\u043c\u0430"]
)
_MUTATIONS = ["cut", "quote", "backslash quote", "double", "byte", "cp1252", "utf-16", "gb18030"]


def _table(kind: str, captions: list[str]) -> bytes:
    rows = [{"post_id": f"{i:06}", "caption": c, "author": "ann"} for i, c in enumerate(captions)]
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, rows[0], delimiter={"csv": ",", "tsv": "\t"}.get(kind, ";"))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "jsonl", "parquet"])
@given(
    captions=st.lists(_WORDS, min_size=5, max_size=30),
    position=st.integers(0, 100_000),
    mutation=st.sampled_from(_MUTATIONS),
)
@_QUIET
def test_each_line_of_a_damaged_table_is_in_a_post_or_a_reject(
    kind: str, captions: list[str], position: int, mutation: str
) -> None:
    whole = _table(kind, captions)
    if mutation in {"cp1252", "utf-16", "gb18030"}:
        damaged = whole if kind == "parquet" else whole.decode().encode(mutation, "replace")
    else:
        damaged = _mutate(whole, position, mutation)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{'csv' if kind == 'semicolon' else kind}"
        path.write_bytes(damaged)
        try:
            summary = import_posts("table", path, Path(folder) / "out")
        except PostbiasError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is valid
            assert not (Path(folder) / "out").exists()
            return
        if mutation in {"cp1252", "utf-16", "gb18030"}:
            # Short texts do not always identify their encoding; then the rows that depend on it
            # are rejects.
            assert summary.n_posts >= sum(caption.isascii() for caption in captions)
            assert summary.n_posts + summary.reasons[RejectReason.BAD_ENCODING] == len(captions)
            return
        assert summary.n_rejects - summary.reasons[RejectReason.DUPLICATE_ID] <= 6
        if kind == "jsonl":
            # Each line is a record.
            n_records = summary.n_posts + summary.n_rejects
            assert n_records >= len(captions) - (len(captions) if mutation == "cut" else 1)
        elif mutation != "cut":
            # A damaged quote makes each line of its row a reject; all other rows are posts.
            assert summary.n_posts >= len(captions) - 3


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


_SLOW_IMPORT = """
import sys, time
from pathlib import Path
from postbias.posts.importers import import_posts, part_writer
part_writer.SHARD_POSTS, part_writer.ROW_GROUP_POSTS = 40, 10
original = part_writer.posts_to_arrow
def slow(posts):
    time.sleep(0.01)
    return original(posts)
part_writer.posts_to_arrow = slow
print("started", flush=True)
import_posts("table", Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_an_import_killed_repeatedly_produces_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "SHARD_POSTS", 40)
    monkeypatch.setattr(part_writer, "ROW_GROUP_POSTS", 10)
    (tmp_path / "a.jpg").write_bytes(np.random.default_rng(0).bytes(20_000))
    lines = [
        {"post_id": f"p{n - n % 9 // 8}", "caption": f"c{n}", "images": ["a.jpg", "gone.jpg"]}
        for n in range(600)
    ]
    src = tmp_path / "t.jsonl"
    src.write_text("\n".join(map(json.dumps, lines)))
    import_posts("table", src, tmp_path / "whole")
    whole = _digests(tmp_path / "whole")

    moments = np.random.default_rng(1)
    command = [sys.executable, "-c", _SLOW_IMPORT, str(src), str(tmp_path / "killed")]
    n_killed, code = 0, None
    while code != 0:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0.05, 0.35))
            if n_killed < 6 and process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                n_killed += 1
            code = process.wait()
            assert code in {0, -signal.SIGKILL}
        if (tmp_path / "killed" / "import.json").exists():
            assert _digests(tmp_path / "killed").items() >= whole.items()
    assert n_killed > 1
    assert _digests(tmp_path / "killed") == whole
    assert [path.name for path in sorted((tmp_path / "killed").iterdir())] == [
        "import.json",
        "posts",
        "rejects.parquet",
    ]
