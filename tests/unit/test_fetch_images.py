"""Images are fetched politely, safely and once, and the import finds exactly the right file."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.image_server import JPEG, ImageServer

from postbias.cli import main
from postbias.errors import InputError
from postbias.posts.fetching.checked_connections import check_addresses, is_public
from postbias.posts.fetching.fetch_failures import FetchError, FetchLimits
from postbias.posts.fetching.fetch_run import fetch_images
from postbias.posts.fetching.fetch_summary import FETCH_REJECTS, FetchSummary
from postbias.posts.fetching.media_signatures import media_suffix
from postbias.posts.importers import import_posts
from postbias.posts.importers.fetched_names import fetched_stem
from postbias.posts.schema import REJECTS
from postbias.posts.shards import read_posts, read_table


def _table(folder: Path, cells: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "posts.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["post_id", "caption", "images"])
        rows.writerows([f"p{n}", f"caption {n}", cell] for n, cell in enumerate(cells))
    return folder / "posts.csv"


def _limits(server: ImageServer, **more: object) -> FetchLimits:
    known = {"backoff_s": 0.01, "timeout_s": 5.0, "n_retries": 1, "max_bytes": 2**20}
    ports = frozenset({server.port})
    return FetchLimits(**{**known, "ports": ports, "allows_private": True, **more})  # type: ignore[arg-type]


def _fetch(
    root: Path, server: ImageServer, names: list[str], **more: object
) -> tuple[FetchSummary, dict[str, str]]:
    """Fetch; return the summary and the reason of each address that failed."""
    cells = [name if re.match("[a-z]+://", name) else server.url(name) for name in names]
    table = _table(root, cells)
    summary = fetch_images(table, root / "images", limits=_limits(server, **more))
    rejects = read_table(root / "images" / FETCH_REJECTS, REJECTS).to_pylist()
    failed = {}
    for row in rejects:
        assert row["stage"] == "fetch"
        address = next(cell for cell in cells if row["detail"].startswith(f"{cell}: "))
        assert row["source"] == f"posts.csv:{cells.index(address) + 1}"
        assert row["post_id"] == f"p{cells.index(address)}"
        failed[names[cells.index(address)]] = row["reason"]
    assert summary.n_fetched + summary.n_present + len(failed) == summary.n_addresses
    assert not list((root / "images").glob("**/.*"))
    return summary, failed


def _imported(root: Path) -> dict[str, list[bytes]]:
    import_posts("table", root / "posts.csv", root.with_name("dest"), replace=True)
    posts = read_posts(root.with_name("dest") / "posts", ["post_id", "images"]).to_pylist()
    return {post["post_id"]: [image["bytes"] for image in post["images"]] for post in posts}


def test_the_import_finds_exactly_the_image_of_each_address(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg", "1.jpg?id=1", "1.jpg?id=2", "A/1.jpg", "n%C3%A4h.jpg", "x"]
    with ImageServer() as server:
        summary, failed = _fetch(tmp_path / "src", server, [*names, names[0]])
        found = _imported(tmp_path / "src")
    assert not failed
    assert (summary.n_addresses, summary.n_fetched) == (len(names), len(names))
    expected = [[JPEG + name.encode()] for name in [*names, names[0]]]
    assert [found[f"p{n}"] for n in range(len(expected))] == expected


def test_cells_with_several_addresses_and_files_are_split_as_the_import_does(
    tmp_path: Path,
) -> None:
    with ImageServer() as server:
        one, two, three = server.url("1.jpg?a=1,2"), server.url("2.jpg"), server.url("3.jpg")
        cells = [f"{one},{two}", f"{two} | {three}", f'["{three}", "{one}"]', f"own.jpg;{one}", ""]
        table = _table(tmp_path / "src", cells)
        (tmp_path / "src" / "own.jpg").write_bytes(b"own")
        summary = fetch_images(table, tmp_path / "src" / "images", limits=_limits(server))
        found = _imported(tmp_path / "src")
    assert summary.n_fetched == 3
    first, second, third = (JPEG + name for name in (b"1.jpg?a=1,2", b"2.jpg", b"3.jpg"))
    assert list(found.values()) == [
        [first, second], [second, third], [third, first], [b"own", first], []
    ]  # fmt: skip


def test_each_failure_is_a_reject_with_its_reason(tmp_path: Path) -> None:
    reasons = {
        "missing.jpg": "http_error",
        "loop.jpg": "http_error",
        "endless.jpg": "too_large",
        "page.jpg": "unknown_format",
        "bomb.jpg": "too_large",
        "truncated.jpg": "disconnected",
        "garbage.jpg": "disconnected",
        "empty.jpg": "truncated",
        "redirect?ftp://x.invalid/1.jpg": "bad_address",
        "redirect?http://u:p@127.0.0.1/1.jpg": "bad_address",
        "redirect?http://127.0.0.1:1/1.jpg": "blocked_address",
        "ftp://127.0.0.1/1.jpg": "bad_address",
        "http://user:word@127.0.0.1/1.jpg": "bad_address",
        "http://127.0.0.1:22/1.jpg": "blocked_address",
        "http://[::1/1.jpg": "bad_address",
        "http://\x01/": "bad_address",
    }
    with ImageServer() as server:
        summary, failed = _fetch(tmp_path / "src", server, [*reasons, "good.jpg", "zipped.jpg"])
        found = _imported(tmp_path / "src")
    assert failed == reasons
    assert summary.n_fetched == 2
    assert found[f"p{len(reasons)}"] == [JPEG + b"good.jpg"]
    assert found[f"p{len(reasons) + 1}"] == [JPEG]
    assert server.requests["missing.jpg"] == 1  # permanent
    assert server.requests["truncated.jpg"] == 2  # temporary
    assert server.requests["loop.jpg"] == 6


def test_a_video_may_be_larger_than_an_image(tmp_path: Path) -> None:
    with ImageServer() as server:
        summary, failed = _fetch(tmp_path / "a", server, ["video"])
        assert (failed, summary.n_bytes) == ({}, 2**21 + 12)
        _, failed = _fetch(tmp_path / "b", server, ["video"], max_video_bytes=2**20)
        assert failed == {"video": "too_large"}
    (file,) = (tmp_path / "a" / "images").glob("*/*.mp4")
    assert file.stem == fetched_stem(server.url("video"))


def test_a_server_that_stalls_costs_the_timeout(tmp_path: Path) -> None:
    with ImageServer() as server:
        _, failed = _fetch(tmp_path / "a", server, ["slow.jpg", "good.jpg"], timeout_s=0.3)
        assert failed == {"slow.jpg": "timeout"}
        _, failed = _fetch(tmp_path / "b", server, ["slow.jpg", "good.jpg"], deadline_s=0.5)
        assert failed == {"slow.jpg": "timeout"}


def test_retry_after_pauses_the_host(tmp_path: Path) -> None:
    started = time.monotonic()
    with ImageServer() as server:
        summary, failed = _fetch(tmp_path / "src", server, ["busy.jpg"])
    assert not failed
    assert summary.n_fetched == 1
    assert time.monotonic() - started >= 1


def test_a_host_that_asks_for_a_long_wait_gets_no_more_requests(tmp_path: Path) -> None:
    names = ["closed.jpg", *(f"{n}.jpg" for n in range(40))]
    with ImageServer() as server:
        _, failed = _fetch(tmp_path / "src", server, names, concurrency=1, per_host=1)
    assert set(failed) == set(names)
    assert set(failed.values()) == {"rate_limited"}
    assert server.requests.total() == 1


def test_a_host_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with ImageServer() as server:
        port = server.port
    names = [f"http://127.0.0.1:{port}/{n}.jpg" for n in range(2_000)]
    _, failed = _fetch(tmp_path / "src", server, names, backoff_s=0.0)
    assert set(failed.values()) == {"disconnected"}
    rejects = read_table(tmp_path / "src" / "images" / FETCH_REJECTS, REJECTS)
    assert sum("given up" in detail for detail in rejects["detail"].to_pylist()) > 1_500


def test_at_most_so_many_requests_are_in_flight(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(30)]
    with ImageServer() as server:
        _fetch(tmp_path / "a", server, names, per_host=3)
        assert server.most_open == 3
        server.most_open = 0
        _fetch(tmp_path / "b", server, names, per_host=8, concurrency=2)
        assert server.most_open == 2


def test_a_second_run_fetches_only_what_is_missing(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(5)]
    with ImageServer() as server:
        _fetch(tmp_path / "src", server, [*names[:3], "missing.jpg"])
        (file,) = (tmp_path / "src" / "images").glob(f"*/{fetched_stem(server.url('1.jpg'))}.jpg")
        file.unlink()
        summary, failed = _fetch(tmp_path / "src", server, names)
    assert not failed
    assert (summary.n_present, summary.n_fetched) == (2, 3)
    assert {name: server.requests[name] for name in names} == {
        "0.jpg": 1, "1.jpg": 2, "2.jpg": 1, "3.jpg": 1, "4.jpg": 1
    }  # fmt: skip


def test_a_killed_run_leaves_only_complete_files_and_is_resumed(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(60)]
    folder = tmp_path / "src" / "images"
    with ImageServer() as server:
        table = _table(tmp_path / "src", [server.url(name) for name in [*names, "slow.jpg"]])
        options = ["--allow-private", "--allow-port", str(server.port)]
        code = "from postbias.cli import main; main()"
        command = [sys.executable, "-c", code, "fetch-images", str(table), str(folder)]
        process = subprocess.Popen([*command, *options])
        while len(list(folder.glob("*/*.jpg"))) < 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_done = len(list(folder.glob("*/*.jpg")))
        summary, failed = _fetch(tmp_path / "src", server, names)
        found = _imported(tmp_path / "src")
    assert not failed
    assert summary.n_present == n_done
    assert list(found.values()) == [[JPEG + name.encode()] for name in names]


def test_no_cookie_and_no_credentials_are_sent(tmp_path: Path) -> None:
    with ImageServer() as server:
        _fetch(tmp_path / "src", server, ["cookie.jpg", "cookie.jpg?2"], concurrency=1)
        heads = "".join(server.heads).lower()
    assert "cookie:" not in heads
    assert "authorization" not in heads
    assert "user-agent: postbias" in heads


_NOT_PUBLIC = [
    "127.0.0.1", "127.9.9.9", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::808:808",
    "2002:7f00:1::", "2002:a00:1::1", "::ffff:0:7f00:1", "2001:0:7f00:1::",
]  # fmt: skip


@pytest.mark.parametrize("address", _NOT_PUBLIC)
def test_addresses_of_other_networks_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(FetchError, match="no public address"):
        check_addresses("host", ["1.1.1.1", address], allows_private=False)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert check_addresses("host", [address, address], allows_private=False) == [address]


_LOOPBACKS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "0",
    "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "127.0.0.1.", "LOCALHOST",
    "①②⑦.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", _LOOPBACKS)
def test_no_spelling_of_the_loopback_address_is_requested(tmp_path: Path, host: str) -> None:
    with ImageServer() as server:
        address = f"http://{host}:{server.port}/1.jpg"
        _, failed = _fetch(tmp_path / "src", server, [address], allows_private=False, n_retries=0)
    assert failed[address] in {"blocked_address", "disconnected", "bad_address"}
    assert not server.requests


def test_a_redirect_to_a_private_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test server is the only address that counts as public.
    monkeypatch.setattr(
        "postbias.posts.fetching.checked_connections.is_public", lambda a: str(a) == "127.0.0.1"
    )
    with ImageServer() as server:
        target = f"redirect?http://127.0.0.2:{server.port}/1.jpg"
        allowed = f"redirect?http://127.0.0.1:{server.port}/1.jpg"
        _, failed = _fetch(tmp_path / "src", server, [target, allowed], allows_private=False)
    assert failed == {target: "blocked_address"}
    assert server.requests["1.jpg"] == 1


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", ".webp"),
        (b"RIFF\0\0\0\0AVI LIST", ".avi"),
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x20ftypavif", ".avif"),
        (b"\0\0\0\x20ftypheic", ".heic"),
        (b"\x1aE\xdf\xa3", ".webm"),
        (b"BM\x36\0\0\0\0\0\0\0", ".bmp"),
        (b"BMW is a brand", None),
        (b"<html>", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_content_decides_the_suffix(head: bytes, suffix: str | None) -> None:
    assert media_suffix(head) == suffix


def test_the_command_and_the_warning_of_the_import_name_each_other(tmp_path: Path) -> None:
    with ImageServer() as server:
        table = _table(tmp_path, [server.url("1.jpg"), server.url("missing.jpg")])
        warned = CliRunner().invoke(main, ["import", "table", str(table), str(tmp_path / "dest")])
        assert "postbias fetch-images" in warned.output
        options = ["--allow-private", "--allow-port", str(server.port), "--retries", "0"]
        run = CliRunner().invoke(
            main, ["fetch-images", str(table), str(tmp_path / "images"), *options]
        )
    assert run.exit_code == 1  # more than 10%
    assert "fetched 1 images (0.0 MB); 0 were there, 1 of 2 failed\n" in run.output
    assert f"failed 1 (http_error), e.g. posts.csv:2: {server.url('missing.jpg')}" in run.output
    assert "postbias import table" in run.output


def test_wrong_folders_and_tables_without_addresses_are_refused(tmp_path: Path) -> None:
    table = _table(tmp_path / "src", ["own.jpg"])
    for folder in (tmp_path / "other", tmp_path / "src" / ".hidden"):
        with pytest.raises(InputError, match="not inside the folder of the table"):
            fetch_images(table, folder)
    with pytest.raises(InputError, match="no address in column 'images'"):
        fetch_images(table, tmp_path / "src" / "images")
    table.write_text("post_id,caption\n1,hello\n")
    with pytest.raises(InputError, match="no column of images"):
        fetch_images(table, tmp_path / "src" / "images")
