"""What `postbias fetch-images` prints: the import that works, and whether another run helps."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.image_server import ImageServer
from tests.platform_exports import fourcat_row, write_csv

from postbias.cli import main
from postbias.cli.fetch_commands import fetch_images_command
from postbias.cli.import_commands import import_command
from postbias.posts.fetching.fetch_failures import FetchLimits
from postbias.posts.importers.media_converter import DEFAULT_FRAMES


def _fetch(server: ImageServer, table: Path, *options: str) -> Result:
    allowed = ["--allow-private", "--allow-port", str(server.port), "--retries", "0"]
    folder = str(table.parent / "images")
    return CliRunner().invoke(main, ["fetch-images", str(table), folder, *options, *allowed])


def _follow(output: str, dest: Path) -> dict[str, object]:
    """Run the import that the last line names; return its counts."""
    line = output.splitlines()[-1]
    words = shlex.split(line.partition("import with: postbias ")[2])
    assert words, output
    words = [str(dest) if word == "DEST" else word for word in words]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return json.loads((dest / "import.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("post_id,caption,photo_url", ["--column", "images=photo_url"]),
        ("post_id,my text,img", ["--column", "images=img", "--column", "caption=my text"]),
        ("id,text,images", []),
        ("id,text,photo_url", ["--column", "images=photo_url"]),
        ("post_id,note,images", []),
    ],
)
def test_the_import_that_is_named_finds_the_images(
    tmp_path: Path, header: str, options: list[str]
) -> None:
    table = tmp_path / "my posts.csv"
    with ImageServer() as server:
        table.write_text(f"{header}\n1,Grüße,{server.url('1.jpg')}\n", encoding="latin-1")
        run = _fetch(server, table, *options, "--encoding", "iso8859-1")
    assert run.exit_code == 0, run.output
    assert "--encoding iso8859-1" in run.output
    counts = _follow(run.output, tmp_path / "dest")
    assert (counts["n_posts"], counts["n_images"]) == (1, 1)


@pytest.mark.parametrize("options", [[], ["--column", "images=image_url"]])
def test_a_table_of_a_research_tool_is_imported_by_its_layout(
    tmp_path: Path, options: list[str]
) -> None:
    with ImageServer() as server:
        row = fourcat_row("A1") | {"image_url": server.url("a.jpg?x=1")}
        table = write_csv(tmp_path / "t.csv", [row])
        run = _fetch(server, table, *options)
    assert f"import with: postbias import 4cat {table} DEST --replace" in run.output
    counts = _follow(run.output, tmp_path / "dest")
    assert (counts["layout"], counts["n_images"]) == ("4cat", 1)


def test_another_run_is_named_only_where_it_may_help(tmp_path: Path) -> None:
    with ImageServer() as server:
        addresses = [server.url("missing.jpg"), server.url("page.jpg"), "http://192.168.0.1:99/a"]
        rows = [{"post_id": f"{n}", "images": a} for n, a in enumerate(addresses)]
        run = _fetch(server, write_csv(tmp_path / "t.csv", rows))
        assert "3 of 3 failed" in run.output
        assert "retry" not in run.output
        rows.append({"post_id": "9", "images": server.url("truncated.jpg")})
        run = _fetch(server, write_csv(tmp_path / "t.csv", rows))
    assert "; run again to retry 1 of them\n" in run.output


def test_a_blocked_port_names_both_options(tmp_path: Path) -> None:
    rows = [{"post_id": "1", "images": "http://127.0.0.1:8123/a.jpg"}]
    table = write_csv(tmp_path / "t.csv", rows)
    arguments = ["fetch-images", str(table), str(tmp_path / "images")]
    blocked = CliRunner().invoke(main, arguments).output
    assert "--allow-port 8123 permits it, with --allow-private if the host is private" in blocked
    permitted = CliRunner().invoke(main, [*arguments, "--allow-private"]).output
    assert "--allow-port 8123 permits it\n" in permitted


def test_references_of_other_schemes_are_counted(tmp_path: Path) -> None:
    with ImageServer() as server:
        cells = [server.url("1.jpg"), "file:///home/a/1.jpg", "FILE:///b.jpg", "c.jpg", "C:\\d.jpg"]
        rows = [{"post_id": f"{n}", "images": cell} for n, cell in enumerate(cells)]
        run = _fetch(server, write_csv(tmp_path / "t.csv", rows))
    assert "  not fetched: 2 references with the scheme file:\n" in run.output
    assert run.output.count("not fetched") == 1


def test_the_options_have_the_defaults_of_the_code() -> None:
    def default(command: click.Command, option: str) -> object:
        return next(each.default for each in command.params if each.name == option)

    limits = FetchLimits()
    defaults = {
        "concurrency": limits.concurrency, "per_host": limits.per_host,
        "timeout": limits.timeout_s, "retries": limits.n_retries,
    }  # fmt: skip
    for option, value in defaults.items():
        assert default(fetch_images_command, option) == value, option
    assert default(import_command, "frames") == DEFAULT_FRAMES
