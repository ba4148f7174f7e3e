"""Spellings of image names in every layout: the right file or a fault, never another file."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from postbias.posts.importers import import_posts
from postbias.posts.importers.file_index import canonical
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

_QUIET = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_MANY = settings(_QUIET, max_examples=40)

# Letters that change under normalisation or case folding, and characters with a meaning in paths,
# lists, percent-encoding and addresses; no quotes, which have a meaning in the lists of a layout.
_NAMES = st.text(
    st.sampled_from("abAZ09 %2,;|[](){}&=+~#?._-\u00e9\u00fc\u00df\u0130\u212b\u4f60\U0001f600"),
    min_size=1,
    max_size=10,
).filter(lambda name: name.strip(". ~") == name and not name.startswith(("[", "(", "{")))

# A name that contains a percent escape is found under its exact path only.
_NAMES = _NAMES.filter(lambda name: unquote(name) == name)
_SUFFIXES = st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ".webp", ".heic", ".gif"])

#: Spellings of a path that all mean the same file.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "exact": lambda path: path,
    "backslash": lambda path: path.replace("/", "\\"),
    "dot": lambda path: f"./{path}",
    "dot backslash": lambda path: ".\\" + path.replace("/", "\\"),
    "double slash": lambda path: path.replace("/", "//"),
    "upper case": str.upper,
    "percent-encoded": quote,
    "all percent-encoded": lambda path: quote(path, safe=""),
    "nfc": lambda path: unicodedata.normalize("NFC", path),
    "nfd": lambda path: unicodedata.normalize("NFD", path),
    "nfd percent-encoded": lambda path: quote(unicodedata.normalize("NFD", path)),
}


def _import(layout: str, src: Path, dest: Path) -> tuple[list[Any], list[dict[str, Any]], Any]:
    summary = import_posts(layout, src, dest)
    (post,) = read_posts(dest / "posts", POSTS.names).to_pylist()
    return post["images"], read_table(dest / "rejects.parquet", REJECTS).to_pylist(), summary


def _write_table(root: Path, reference: str) -> Path:
    row = {"post_id": "p", "caption": "c", "images": reference}
    (root / "t.jsonl").write_text(json.dumps(row), encoding="utf-8")
    return root / "t.jsonl"


def _write_list(root: Path, reference: str) -> Path:
    return _write_table(root, [reference])  # type: ignore[arg-type]


def _write_brand(root: Path, reference: str) -> Path:
    (root / "json").mkdir()
    (root / "json" / "p.json").write_text('{"id": "p", "edge_media_to_caption": {"edges": []}}')
    line = f"0\tann\t0\tp.json\t[{json.dumps(reference, ensure_ascii=False)}]\n"
    (root / "post_info.txt").write_text(line, encoding="utf-8", newline="")
    return root


def _write_node(root: Path, address: str) -> Path:
    edges = [{"node": {"text": "kept"}}]
    node = {"id": "p", "edge_media_to_caption": {"edges": edges}, "display_url": address}
    (root / "page.json").write_text(json.dumps(node))
    return root


def _write_item(root: Path, address: str) -> Path:
    item: dict[str, Any] = {"pk": "p", "media_type": 1, "caption": {"text": "kept"}}
    item["image_versions2"] = {"candidates": [{"url": address}]}
    (root / "page.json").write_text(json.dumps({"items": [item]}))
    return root


@pytest.mark.parametrize(
    ("layout", "write"),
    [("table", _write_table), ("table", _write_list), ("influencer-brand", _write_brand)],
    ids=["cell", "list", "influencer-brand"],
)
@given(name=_NAMES, suffix=_SUFFIXES, spelling=st.sampled_from(sorted(SPELLINGS)))
@_MANY
def test_every_spelling_of_a_path_finds_its_file(
    layout: str, write: Callable[[Path, str], Path], spelling: str, name: str, suffix: str
) -> None:
    path = f"img/{name}{suffix}"
    reference = SPELLINGS[spelling](path)
    assume(write is not _write_brand or "\\" not in reference)  # its lists have no backslashes
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src")
        (root / "img").mkdir(parents=True)
        (root / path).write_bytes(b"right")
        (root / "img" / "other.jpg").write_bytes(b"other")
        images, rejects, _ = _import(layout, write(root, reference), Path(folder, "out"))
    assert [image["bytes"] for image in images] == [b"right"]
    assert rejects == []


@pytest.mark.parametrize(
    ("layout", "write"),
    [("table", _write_table), ("graphql", _write_node), ("api-v1", _write_item)],
)
@pytest.mark.parametrize("query", ["", "?x=1", "?stp=dst-jpg_e35&a=1,2;3"])
@given(name=_NAMES, suffix=_SUFFIXES)
@_QUIET
def test_the_file_of_an_address_is_found_in_any_folder_and_a_missing_one_is_counted(
    layout: str, write: Callable[[Path, str], Path], query: str, name: str, suffix: str
) -> None:
    address = f"https://cdn.invalid/v/t51/{quote(name)}{suffix}{query}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src")
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / f"{name}{suffix}").write_bytes(b"right")
        images, rejects, _ = _import(layout, write(root, address), Path(folder, "out"))
        assert [image["bytes"] for image in images] == [b"right"]
        assert rejects == []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src")
        root.mkdir()
        source = write(root, address)
        images, rejects, summary = _import(layout, source, Path(folder, "out"))
        assert images == []
        assert [row["reason"] for row in rejects] == ["not_downloaded"]
        assert summary.n_address_posts == 1


@given(st.lists(st.tuples(_NAMES, _SUFFIXES), min_size=1, max_size=4, unique=True),
       st.sampled_from([",", ", ", ";", "|", "\n", "json", "repr"]))  # fmt: skip
@_QUIET
def test_several_names_in_a_cell_are_separated_even_if_they_contain_separators(
    names: list[tuple[str, str]], separator: str
) -> None:
    paths = [f"img/{name}{suffix}" for name, suffix in names]
    assume(len({canonical(path) for path in paths}) == len(paths))
    assume(all(path.count(mark) < 3 for path in paths for mark in ",;|"))
    cell = {"json": json.dumps, "repr": repr}.get(separator, separator.join)(paths)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src")
        (root / "img").mkdir(parents=True)
        for path in paths:
            (root / path).write_bytes(path.encode())
        images, rejects, _ = _import("table", _write_table(root, cell), Path(folder, "out"))
    assert [image["bytes"].decode() for image in images] == paths
    assert rejects == []


@given(st.lists(_NAMES, min_size=1, max_size=4, unique=True), _NAMES, st.data())
@_QUIET
def test_a_name_finds_a_file_of_the_same_canonical_name_or_a_fault(
    names: list[str], name: str, data: st.DataObject
) -> None:
    spelling = data.draw(st.sampled_from(sorted(SPELLINGS)))
    reference = SPELLINGS[spelling](f"img/{name}.jpg")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src")
        (root / "img").mkdir(parents=True)
        for file in names:
            (root / "img" / f"{file}.jpg").write_bytes(file.encode())
        alike = [f for f in names if canonical(f"img/{f}.jpg") == canonical(reference)]
        images, rejects, summary = _import("table", _write_list(root, reference), Path(folder, "o"))
    found = [image["bytes"].decode() for image in images]
    assert len(found) + len(rejects) == 1
    assert summary.n_images + summary.n_missing_images == 1
    if not alike:
        assert [row["reason"] for row in rejects] == ["missing_file"]
    elif len(alike) == 1 or f"img/{alike[0]}.jpg" == reference:
        assert found == alike[:1]
    elif rejects:
        assert rejects[0]["reason"] == "ambiguous_file"
    else:
        assert found[0] in alike
