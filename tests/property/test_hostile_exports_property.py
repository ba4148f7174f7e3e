"""Damaged files in exports of every layout: no crash, and posts in = posts + rejects.

`POSTBIAS_SWEEP=2000` runs as many examples instead of the few of the test suite.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.platform_exports import capture, instagram_item, write_example, write_lines
from tests.video_files import make_video

from postbias.errors import CountsError, PostbiasError
from postbias.posts.importers import LAYOUTS, ReadingOptions, detect_layout, import_posts
from postbias.posts.schema import REJECTS
from postbias.posts.shards import count_rows, read_table
from postbias.posts.video_details import read_video_details

_EXAMPLES = int(os.environ.get("POSTBIAS_SWEEP", "60"))
_SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nhello\n"
_N_POSTS = 4
_KINDS = ("bytes", "cut", "swap", "empty", "pack", "archive", "utf-16")


def _node(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "shortcode": f"c{number}",
        "taken_at_timestamp": 1_700_000_000,
        "edge_media_to_caption": {"edges": [{"node": {"text": f"caption {number}"}}]},
        "owner": {"username": "ann"},
        "is_video": True,
        "video_duration": 2.5,
        "display_url": f"https://i.invalid/{number}.jpg",
    }


def _write_influencer_brand(src: Path) -> None:
    (src / "json").mkdir(parents=True)
    lines = []
    for n in range(_N_POSTS):
        (src / "json" / f"{n}.json").write_text(json.dumps(_node(n)))
        lines.append(f"{n}\tann\t0\t{n}.json\t['{n}.jpg']\n")
    (src / "post_info.txt").write_text("".join(lines))


def _write_instaloader(src: Path) -> None:
    src.mkdir(parents=True)
    for n in range(_N_POSTS):
        stem = src / f"2024-01-0{n + 1}_10-00-00_UTC"
        content = json.dumps({"node": _node(n), "instaloader": {"node_type": "Post"}}).encode()
        if n % 2:
            stem.with_name(f"{stem.name}.json.xz").write_bytes(lzma.compress(content))
        else:
            stem.with_name(f"{stem.name}.json").write_bytes(content)
        stem.with_name(f"{stem.name}.txt").write_text("a caption")


def _write_pages(src: Path, wrap: Callable[[list[dict[str, Any]]], object]) -> None:
    src.mkdir(parents=True)
    for n in range(_N_POSTS):
        (src / f"{n}.json").write_text(json.dumps(wrap([_node(n)])))


def _write_graphql(src: Path) -> None:
    _write_pages(
        src, lambda nodes: {"data": {"user": {"media": {"edges": [{"node": n} for n in nodes]}}}}
    )


def _write_api(src: Path) -> None:
    _write_pages(src, lambda nodes: {"items": [instagram_item(int(n["id"])) for n in nodes]})


def _write_table(src: Path) -> None:
    src.mkdir(parents=True)
    rows = "".join(f'{n},"caption {n}",a/{n}.jpg;{n}.mp4,1:02,said {n}\n' for n in range(_N_POSTS))
    (src / "t.csv").write_text(f"post_id,caption,images,duration_s,transcript\n{rows}")


def _write_zeeschuimer(src: Path) -> None:
    lines = [capture("instagram.com", instagram_item(n), str(n)) for n in range(_N_POSTS)]
    write_lines(src / "z.ndjson", lines)


_WRITERS: dict[str, Callable[[Path], None]] = {
    "influencer-brand": _write_influencer_brand,
    "instaloader": _write_instaloader,
    "graphql": _write_graphql,
    "api-v1": _write_api,
    "table": _write_table,
    "zeeschuimer": _write_zeeschuimer,
}


@cache
def _video() -> bytes:
    return make_video()


def _archive(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("t.csv", data)
    return out.getvalue()


def _write_export(layout: str, src: Path, *, has_video: bool) -> None:
    if layout in _WRITERS:
        _WRITERS[layout](src)
    else:
        write_example(layout, src)
    (src / "0.srt").write_text(_SUBTITLES)
    (src / "1.en.vtt").write_text(f"WEBVTT\n\n{_SUBTITLES}")
    if has_video:
        for name in ("0.mp4", "1.jpg"):
            (src / name).write_bytes(_video())


def _damage(data: st.DataObject, src: Path) -> None:
    """Damage one file of an export."""
    files = sorted(path for path in src.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 60)))
    noise = data.draw(st.binary(max_size=12) | st.sampled_from([b"\n", b'"', b"\0", b"{", b"\xff"]))
    kind = data.draw(
        st.sampled_from(["bytes", "cut", "swap", "empty", "pack", "archive", "utf-16"])
    )
    if kind == "bytes":
        content = content[:start] + noise + content[end:]
    elif kind == "cut":
        content = content[:start]
    elif kind == "swap":
        content = data.draw(st.sampled_from(files)).read_bytes()
    elif kind == "empty":
        content = b""
    elif kind == "pack":
        content = gzip.compress(content)[: data.draw(st.integers(1, 10_000))]
    elif kind == "archive":
        content = _archive(content)
    else:
        content = content.decode("latin-1").encode("utf-16")[: max(2, start)]
    path.write_bytes(content)


def _check_import(layout: str, src: Path, dest: Path, options: ReadingOptions) -> str:
    """Import and check the counts; return what came out."""
    n_lines = None
    if layout == "influencer-brand":
        table = (src / "post_info.txt").read_bytes()
        # In other encodings, a line feed is not this byte.
        n_lines = (
            sum(bool(line.strip()) for line in table.split(b"\n")) if table.isascii() else None
        )
    try:
        summary = import_posts(layout, src, dest, options=options)
    except CountsError:
        raise
    except PostbiasError as error:
        message = str(error)
        assert message.splitlines() == [message]
        return type(error).__name__
    shards = sorted((dest / "posts").glob("*.parquet"))
    rejects = read_table(dest / "rejects.parquet", REJECTS).to_pylist()
    n_rejected = sum(reject["stage"] == "import" for reject in rejects)
    assert count_rows(shards) == summary.n_posts > 0
    assert n_rejected == summary.n_rejects
    assert all(reject["detail"] for reject in rejects)
    assert read_video_details(dest).num_rows <= summary.n_posts
    if n_lines is not None:
        assert summary.n_posts + n_rejected == n_lines
    return "imported"


# A sweep takes 5 minutes on an idle machine.
@pytest.mark.timeout(600 + 2 * _EXAMPLES)
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), layout=st.sampled_from(sorted(LAYOUTS)), n_damaged=st.integers(1, 3))
def test_damaged_exports_of_all_layouts_lose_nothing_silently(
    data: st.DataObject, layout: str, n_damaged: int
) -> None:
    has_video = data.draw(st.integers(0, 14)) == 0
    options = ReadingOptions(n_frames=1, transcripts=data.draw(st.booleans()))
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "src"
        _write_export(layout, src, has_video=has_video)
        for _ in range(n_damaged):
            _damage(data, src)
        root = src / "t.csv" if layout == "table" else src
        event(f"{layout}: {_check_import(layout, root, Path(folder) / 'out', options)}")
        try:
            detect_layout(src)
        except PostbiasError as error:
            message = str(error)
            assert message.splitlines() == [message]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_undamaged_exports_are_imported_whole(layout: str, tmp_path: Path) -> None:
    _write_export(layout, tmp_path / "src", has_video=False)
    src = tmp_path / "src" / "t.csv" if layout == "table" else tmp_path / "src"
    summary = import_posts(layout, src, tmp_path / "out")
    assert summary.n_posts == (_N_POSTS if layout in _WRITERS else 2)
    assert summary.n_rejects == 0
