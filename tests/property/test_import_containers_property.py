"""Damaged containers: each post is imported or rejected, or there is one clear error."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postbias.errors import PostbiasError
from postbias.posts.importers import import_posts
from postbias.posts.importers.json_documents import list_objects

N_ROWS = 40
_ROWS = [{"post_id": f"p{n}", "caption": f'caption {n}, "quoted" é'} for n in range(N_ROWS)]
_DOCUMENT = json.dumps(_ROWS, indent=1).encode()
_LINES = "".join(f"{json.dumps(row)}\n" for row in _ROWS).encode()


def _zip(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        archive.writestr("images/1.jpg", b"\xff\xd8\xff")
    return out.getvalue()


@cache
def _excel() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(list(_ROWS[0]))
    for row in _ROWS:
        book.active.append(list(row.values()))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


_CONTAINERS: dict[str, Callable[[], bytes]] = {
    "a.json": lambda: _DOCUMENT,
    "a.jsonl.gz": lambda: gzip.compress(_LINES),
    "a.jsonl.bz2": lambda: bz2.compress(_LINES),
    "a.jsonl.xz": lambda: lzma.compress(_LINES),
    "a.jsonl.zst": lambda: pa.Codec("zstd").compress(_LINES, asbytes=True),
    "a.zip": lambda: _zip("a.jsonl", _LINES),
    "b.zip": lambda: _zip("a.zip", _zip("a.json", _DOCUMENT)),
    "c.zip": lambda: _zip("a.json.gz", gzip.compress(_DOCUMENT)),
}
if importlib.util.find_spec("openpyxl"):
    _CONTAINERS["a.xlsx"] = _excel


def _import_counts(name: str, data: bytes) -> tuple[int, int] | None:
    """Import; return the numbers of posts and rejects, or None after an error in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "src" / name
        path.parent.mkdir()
        path.write_bytes(data)
        try:
            summary = import_posts("table", path, Path(folder) / "dest")
        except PostbiasError as error:
            message = str(error)
            summary = None
        assert [left.name for left in path.parent.iterdir()] == [name]
        if summary is None:
            assert "\n" not in message
            return None
        return summary.n_posts, summary.n_rejects


def test_intact_containers_give_all_posts() -> None:
    for name in _CONTAINERS.keys() - {"b.zip"}:
        assert _import_counts(name, _CONTAINERS[name]()) == (N_ROWS, 0)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(sorted(_CONTAINERS)))
def test_a_damaged_container_loses_nothing_silently(data: st.DataObject, name: str) -> None:
    content = bytearray(_CONTAINERS[name]())
    kind = data.draw(st.sampled_from(["truncate", "flip", "insert", "sizes"]))
    if kind == "truncate":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif kind == "insert":
        place = data.draw(st.integers(0, len(content)))
        content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    elif kind == "sizes" and b"PK\x01\x02" in content:
        # The stated sizes in the central directory.
        place = content.rindex(b"PK\x01\x02") + 20
        content[place : place + 8] = data.draw(st.binary(min_size=8, max_size=8))
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    counts = _import_counts(name, bytes(content))
    if counts is None or name == "a.json":
        return  # damage to JSON may join or split its objects: see below
    if name.endswith(".zst") and kind != "truncate":
        return  # without a checksum, damage may repeat or replace any part of the content
    assert sum(counts) in {N_ROWS, N_ROWS + 1}  # an insertion may be a row


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=40), min_size=1), max_size=30),
    st.sampled_from([None, 0, 2]),
    st.integers(0, 10**6),
    st.text(alphabet='x"{}[],:\\', max_size=3),
)
def test_every_object_of_a_document_is_one_line_and_no_text_is_lost(
    rows: list[dict[str, str]], indent: int | None, place: int, damage: str
) -> None:
    text = json.dumps(rows, indent=indent)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(text)
        assert [json.loads(line) for line in list_objects(path, "utf-8", "strict")] == rows
        place = 1 + place % max(1, len(text) - 1)
        path.write_text(text[:place] + damage + text[place:])
        lines = list(list_objects(path, "utf-8", "strict"))
    kept = sum(len(line.replace(" ", "")) for line in lines)
    assert all("\n" not in line for line in lines)
    # All but the brackets and commas between the objects.
    wanted = len("".join((text + damage).split()).replace(" ", ""))
    assert kept >= wanted - 2 * len(rows) - 2 - len(damage)
