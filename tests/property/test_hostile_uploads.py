"""Hostile uploads end in a plain message or in rejects; nothing is written outside the folder."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.app_server import AppServer
from tests.hostile_files import CSV, SVG, UPLOADS, write_png, write_zip
from tests.tiny_artifact import write_tiny_artifact

from postbias.app.corpus_exports import build_export, write_export
from postbias.app.explored_corpus import CorpusFiles, load_explored_corpus
from postbias.app.reader_process import ReaderProcess
from postbias.app.upload_scoring import UploadFiles, score_upload
from postbias.app.uploads import Upload, clean_name
from postbias.errors import PostbiasError
from postbias.scoring.scorer import Scorer

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


@pytest.mark.parametrize("name", UPLOADS)
def test_a_hostile_upload_ends_in_a_message_or_rejects(
    name: str, tmp_path: Path, scorer: Scorer
) -> None:
    before = _snapshot(tmp_path, tmp_path / "upload")
    message = _score(tmp_path / "upload", UPLOADS[name], scorer)
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
    archive = bytearray(write_zip(("posts.csv", CSV), ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(50))))
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

    for data, reason in ((write_png(10_000, 10_000), "too_large"), (SVG, "unknown_format")):
        body = {"images": [base64.b64encode(data).decode()]}
        answer = server.call("POST", "/api/score", body)
        assert answer["status"] == "unreadable"
        assert reason in answer["detail"]


def test_there_are_two_hundred_different_uploads() -> None:
    assert len({tuple(sorted(files.items())) for files in UPLOADS.values()}) >= 200


@pytest.mark.slow
def test_every_hostile_upload_to_the_server_ends_in_a_message(tmp_path: Path) -> None:
    write_tiny_artifact(tmp_path / "student")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = _snapshot(tmp_path, temporary)
    with AppServer(tmp_path, "--model", "student", TMPDIR=str(temporary)) as server:
        for name, files in UPLOADS.items():
            status, answer = _send(server, files)
            assert status in {200, 400}, (name, answer)
            assert b"Traceback" not in answer, name
            assert b"root:" not in answer, name
            assert str(tmp_path).encode() not in answer, name
            assert _snapshot(tmp_path, temporary) == before, name
        assert server.call("GET", "/api/pages")  # still there
    assert [path.name for path in temporary.iterdir() if path.name != ".ses"] == []
    assert not Path("/tmp/evil.csv").exists()  # noqa: S108 - must not appear


def _send(server: AppServer, files: dict[str, bytes]) -> tuple[int, bytes]:
    """Send an upload, and return the answer to the request that ends it."""
    upload = json.loads(server.send("POST", "/api/uploads", b"{}")[1])["upload"]
    try:
        for name, data in files.items():
            status, answer = server.send(
                "PUT", f"/api/uploads/{upload}/file?name={quote(name)}", data
            )
            if status != 200:
                return status, answer
        return server.send("POST", f"/api/uploads/{upload}/examination", b"{}")
    finally:
        server.send("DELETE", f"/api/uploads/{upload}")


def test_a_table_that_looks_like_utf_16_gets_an_answer(server: AppServer) -> None:
    # Read as UTF-16, its column names contain half a surrogate pair.
    files = {"posts.csv": b"id,text,photo,author\r\na\0b,a\0b,a\0b,a\0b\r\n"}
    status, answer = _send(server, files)
    assert status in {200, 400}, answer
