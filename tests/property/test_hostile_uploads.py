"""Hostile uploads end in a plain message or in rejects; nothing is written outside the folder."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.app_server import AppServer
from tests.tiny_artifact import write_tiny_artifact

from postbias.app.corpus_exports import build_export, write_export
from postbias.app.explored_corpus import CorpusFiles, load_explored_corpus
from postbias.app.reader_process import ReaderProcess
from postbias.app.upload_scoring import UploadFiles, score_upload
from postbias.app.uploads import Upload, clean_name
from postbias.errors import PostbiasError
from postbias.scoring.scorer import Scorer

_CSV = b"id,text,photo\n1,she leads,a.jpg\n2,he cooks,../../secret.jpg\n"
_SCRIPT = "<script>alert(1)</script>"
_FORMULAS = (
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", " =1+1", "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","x")', "\uff1d1+1", "=IMPORTXML(A1)", "\n=1",
)  # fmt: skip
_NAMES = (
    "../a.csv", "/etc/passwd", "..", ".", "", "a/../../b.csv", "C:\\a.csv", "a\\..\\b.csv",
    "a\0.csv", "a\n.csv", ".hidden", "x" * 300, "a/" * 20 + "b", "con:.csv", "a//b.csv", " a.csv",
    "\u202egnp.csv", "~/a.csv/", "a.csv\u2028", "\ud800.csv", "a?.csv", "a|b.csv", "./a.csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    artifact = write_tiny_artifact(tmp_path_factory.mktemp("hostile") / "student")
    with Scorer.open(artifact.folder) as opened:
        yield opened


def _zip(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def _link(name: str, target: bytes) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target


def _encrypted() -> bytes:
    data = bytearray(_zip(("posts.csv", _CSV)))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    return bytes(data)


def _png(width: int, height: int) -> bytes:
    """Return a PNG that says how large it is, without pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def _xlsx(*rows: list[str]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _with_image(data: bytes) -> dict[str, bytes]:
    return {"posts.csv": b"id,text,photo\n1,she leads,a.jpg\n", "a.jpg": data}


def _parquet(**columns: list[object]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


_BOMB = zlib.compress(bytes(2**20))
_SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{_SCRIPT}</svg>'.encode()
_UPLOADS: dict[str, dict[str, bytes]] = {
    "zip bomb": {"a.zip": _zip(("posts.csv", b"id,text\n" + bytes(300 * 2**20)))},
    "bomb beside a table": {"a.zip": _zip(("posts.csv", _CSV), ("x.jpg", bytes(300 * 2**20)))},
    "zip in zip": {"a.zip": _zip(("b.zip", _zip(("c.zip", _zip(("posts.csv", _CSV))))))},
    "path up": {"a.zip": _zip(("../../evil.csv", _CSV))},
    "absolute path": {"a.zip": _zip(("/tmp/evil.csv", _CSV))},  # noqa: S108 - must not appear
    "windows path": {"a.zip": _zip(("..\\..\\evil.csv", _CSV))},
    "drive": {"a.zip": _zip(("C:/evil.csv", _CSV))},
    "link": {"a.zip": _zip(("posts.csv", _CSV), _link("a.jpg", b"/etc/passwd"))},
    "link to a folder": {"a.zip": _zip(_link("x", b"/tmp"), ("x/evil.csv", _CSV))},
    "table is a link": {"a.zip": _zip(_link("posts.csv", b"/etc/passwd"))},
    "same name twice": {"a.zip": _zip(("posts.csv", _CSV), ("./posts.csv", _CSV))},
    "encrypted": {"a.zip": _encrypted()},
    "cut off zip": {"a.zip": _zip(("posts.csv", _CSV * 100))[:80]},
    "empty zip": {"a.zip": _zip()},
    "long name": {"a.zip": _zip(("x" * 400 + ".csv", _CSV))},
    "many tables": {"a.zip": _zip(("a.csv", _CSV), ("b.csv", _CSV))},
    "program": {"a.exe": b"MZ\x90\0" + bytes(range(256)) * 20},
    "shell script": {"a.sh": b"#!/bin/sh\nrm -rf /\n"},
    "image alone": {"a.jpg": b"\xff\xd8\xff\xe0" + bytes(1000)},
    "svg alone": {"a.svg": _SVG},
    "html": {"a.html": f"<html>{_SCRIPT}</html>".encode()},
    "pdf": {"a.pdf": b"%PDF-1.7\n" + bytes(range(256))},
    "pickle": {"a.pkl": b"\x80\x04cos\nsystem\n(S'touch /tmp/evil'\ntR."},
    "empty file": {"a.csv": b""},
    "only a header": {"a.csv": b"id,text\n"},
    "nul bytes": {"a.csv": bytes(5000)},
    "random": {"a.csv": np.random.default_rng(0).bytes(5000)},
    "one long line": {"a.csv": b"id,text\n1," + b"a" * (20 * 2**20)},
    "open quote": {"a.csv": b'id,text\n1,"' + b"a\n" * 10_000},
    "no columns": {"a.csv": b"\n\n\n"},
    "deep json": {"a.json": b"[" * 100_000},
    "json number": {"a.json": b"1" * 100_000},
    "json text": {"a.jsonl": b'"a"\n' * 50},
    "damaged parquet": {"a.parquet": b"PAR1" + bytes(100) + b"PAR1"},
    "parquet of other columns": {"a.parquet": _parquet(x=[1], y=[2])},
    "parquet with paths": {"a.parquet": _parquet(id=[1], text=["a"], image=["/etc/passwd"])},
    "damaged xlsx": {"a.xlsx": _zip(("xl/workbook.xml", b"<x>"), ("[Content_Types].xml", b"<"))},
    "entities in xlsx": {
        "a.xlsx": _zip(
            ("[Content_Types].xml", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
            ("xl/workbook.xml", b"<x/>"),
        )
    },
    "xlsx bomb": {"a.xlsx": _zip(("xl/workbook.xml", bytes(300 * 2**20)))},
    "formulas in xlsx": {
        "a.xlsx": _xlsx(["id", "text"], *([f"{n}", f] for n, f in enumerate(_FORMULAS)))
    },
    "gzip bomb": {"a.csv.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + _BOMB[2:-4] * 3},
    "not gzip": {"a.csv.gz": b"\x1f\x8b" + bytes(100)},
    "100 megapixels": _with_image(_png(10_000, 10_000)),
    "4 gigapixels": _with_image(_png(65_000, 65_000)),
    "wide strip": _with_image(_png(1_000_000, 1)),
    "svg as image": _with_image(_SVG),
    "text as image": _with_image(b"not an image"),
    "no bytes as image": _with_image(b""),
    "html as image": _with_image(_SCRIPT.encode()),
    "cells with paths": {"posts.csv": b"id,text,photo\n1,a,/etc/passwd\n2,b,../../x.jpg\n3,c,file:///etc/passwd\n"},
    "addresses in cells": {"posts.csv": b"id,text,photo\n1,a,http://127.0.0.1:1/x.jpg\n"},
    "scripts in cells": {"posts.csv": f"id,text\n1,{_SCRIPT}\n{_SCRIPT},b\n".encode()},
    "column names": {"posts.csv": f"id,text,{_SCRIPT},=1+1\n1,a,b,c\n".encode()},
    "same column twice": {"posts.csv": b"id,text,text\n1,a,b\n"},
    "same id": {"posts.csv": b"id,text\n1,a\n1,b\n"},
}  # fmt: skip


def _snapshot(folder: Path, without: Path) -> set[str]:
    return {
        str(path) for path in folder.rglob("*")
        if without not in path.parents and path != without and path.name != ".ses"
    }  # fmt: skip


async def _receive(upload: Upload, files: dict[str, bytes]) -> None:
    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 2**20):
            yield data[start : start + 2**20]

    for name, data in files.items():
        await upload.receive(name, chunks(data))


def _score(folder: Path, files: dict[str, bytes], scorer: Scorer) -> str:
    """Do what the page does with an upload; return the message, or `scored` with rejects."""
    from postbias.app.upload_reading import read_upload

    upload = Upload(folder)
    upload.files.mkdir(parents=True)
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")
    try:
        asyncio.run(_receive(upload, files))
        paths = UploadFiles(folder)
        content = read_upload(paths.sent, paths.unpacked, None)
        columns = dict(content.columns) if content.names else None
        summary = score_upload(paths, columns, scorer, lambda _: None)
    except PostbiasError as error:
        return str(error)
    finally:
        tempfile.tempdir = None
    assert summary["posts"] == summary["scored"] + summary["rejected"]
    _check_exports(paths, [Path(shard) for shard in summary["shards"]])
    return f"scored {summary['scored']}"


def _check_exports(files: UploadFiles, shards: list[Path]) -> None:
    """Check that no cell of an export runs as a formula."""
    scores = tuple(files.outputs.scores / shard.name for shard in shards)
    corpus = load_explored_corpus(CorpusFiles("test", scores, tuple(shards)))
    table = build_export(corpus, np.arange(len(corpus)))
    for name in ("out.csv", "out.xlsx"):
        write_export(table, files.folder / name, files.rejects)
    book = openpyxl.load_workbook(files.folder / "out.xlsx")
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row]
    texts = [cell.value for cell in cells if isinstance(cell.value, str)]
    assert all(cell.data_type != "f" for cell in cells)
    assert not [text for text in texts if text.lstrip().startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("name", _UPLOADS)
def test_a_hostile_upload_ends_in_a_message_or_rejects(
    name: str, tmp_path: Path, scorer: Scorer
) -> None:
    before = _snapshot(tmp_path, tmp_path / "upload")
    message = _score(tmp_path / "upload", _UPLOADS[name], scorer)
    assert message
    assert "Traceback" not in message
    assert "root:" not in message
    assert _snapshot(tmp_path, tmp_path / "upload") == before
    links = [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert links == []
    assert not Path("/tmp/evil.csv").exists()  # noqa: S108 - must not appear
    if name.startswith(("zip bomb", "path", "absolute", "link", "xlsx bomb", "encrypted", "drive")):
        assert not message.startswith("scored"), message


@pytest.mark.parametrize("name", _NAMES, ids=repr)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(PostbiasError, match="name of a file is not allowed"):
        clean_name(name)


@settings(max_examples=100, deadline=None)
@given(
    name=st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "a", "", "~", "b.csv"])).map("/".join)
)
def test_any_name_stays_in_its_folder(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except PostbiasError:
        return
    path = (Path("/x/y") / cleaned).resolve()
    assert Path("/x/y") in path.parents
    assert not any(part.startswith(".") for part in path.parts)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_archive_ends_in_a_message_or_rejects(
    data: st.DataObject, scorer: Scorer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = bytearray(_zip(("posts.csv", _CSV), ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(50))))
    for _ in range(data.draw(st.integers(1, 6))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    assert _score(folder / "upload", {"a.zip": bytes(archive)}, scorer)
    assert {path.name for path in folder.iterdir()} == {"upload"}


def test_a_reader_that_crashes_or_hangs_ends_alone(tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with pytest.raises(PostbiasError, match="ended unexpectedly"):
        ReaderProcess(scratch).run({"task": "no such task"})
    reader = ReaderProcess(scratch)
    reader.stop()
    with pytest.raises(PostbiasError, match="stopped"):
        reader.run({"task": "examine"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    root = tmp_path_factory.mktemp("server")
    write_tiny_artifact(root / "student")
    with AppServer(root, "--model", "student") as running:
        yield running


_REQUESTS: dict[str, Callable[[AppServer], tuple[int, bytes]]] = {
    "no json": lambda s: s.send("POST", "/api/score", b"\xff\xfe"),
    "deep json": lambda s: s.send("POST", "/api/score", b"[" * 200_000),
    "a list": lambda s: s.send("POST", "/api/score", b"[]"),
    "other keys": lambda s: s.send("POST", "/api/score", b'{"path": "/etc/passwd"}'),
    "a path as image": lambda s: s.send("POST", "/api/score", b'{"images": ["/etc/passwd!"]}'),
    "a number": lambda s: s.send("POST", "/api/score", b'{"caption": 1}'),
    "many images": lambda s: s.send(
        "POST", "/api/score", json.dumps({"images": [""] * 11}).encode()
    ),
    "large body": lambda s: s.send("POST", "/api/score", b" " * (97 * 2**20)),
    "no upload": lambda s: s.send("POST", "/api/uploads/../../x/job", b"{}"),
    "unknown upload": lambda s: s.send("PUT", "/api/uploads/0/file?name=a", b"a"),
    "unknown job": lambda s: s.send("GET", "/api/jobs/..%2F..%2Fx"),
    "unknown corpus": lambda s: s.send("POST", "/api/corpora/x/selection", b"{}"),
    "unknown filter": lambda s: s.send("POST", "/api/corpora/x/selection", b'{"filter": {"a": 1}}'),
    "NaN": lambda s: s.send("POST", "/api/corpora/x/selection", b'{"filter": {"min_score": NaN}}'),
    "static": lambda s: s.send("GET", "/static/..%2Faccess.py"),
    "export": lambda s: s.send("GET", "/api/exports/..%2F..%2F/etc%2Fpasswd"),
}


@pytest.mark.parametrize("name", _REQUESTS)
def test_a_hostile_request_is_refused_with_a_message(name: str, server: AppServer) -> None:
    status, answer = _REQUESTS[name](server)
    assert status in {400, 404, 405, 422}, answer
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    assert server.call("GET", "/api/corpora") == []


def test_large_images_get_no_answer_with_the_reason(server: AppServer) -> None:
    import base64

    for data, reason in ((_png(10_000, 10_000), "too_large"), (_SVG, "unknown_format")):
        body = {"images": [base64.b64encode(data).decode()]}
        answer = server.call("POST", "/api/score", body)
        assert answer["status"] == "unreadable"
        assert reason in answer["detail"]
