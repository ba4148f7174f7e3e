"""Guarantees of an import in any layout: counts, resuming, replacing, clear errors."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from postbias.cli import main
from postbias.errors import CorpusError, CountsError, InputError, LayoutError, StorageError
from postbias.posts.importers import (
    LAYOUTS,
    ReadingOptions,
    export_layouts,
    import_posts,
    import_run,
    part_writer,
    tables,
)
from postbias.posts.importers.records import Export, ReadUnit
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import list_shards, read_posts, read_table


def _jsonl(path: Path, n_posts: int, *, start: int = 0) -> Path:
    """Write posts; every seventh is a duplicate and every eleventh has no id."""
    lines = []
    for number in range(start, start + n_posts):
        row: dict[str, object] = {
            "post_id": f"p{number - (number % 7 == 6)}",
            "caption": f"c{number}",
        }
        row["author"] = f"a{number % 5}"
        if number % 11 == 10:
            row["post_id"] = ""
        if number % 3 == 0:
            row["images"] = [f"{number % 9}.jpg"]
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines), encoding="utf-8")
    for number in (0, 3):
        (path.parent / f"{number}.jpg").write_bytes(bytes([number]) * 1000)
    return path


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many parts of few posts."""
    monkeypatch.setattr(part_writer, "SHARD_POSTS", 20)
    monkeypatch.setattr(part_writer, "ROW_GROUP_POSTS", 7)
    monkeypatch.setattr(part_writer, "PART_REJECTS", 6)


@pytest.mark.usefixtures("small_parts")
def test_every_record_becomes_a_post_or_a_reject(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 200)
    summary = import_posts("table", src, tmp_path / "out")
    assert summary.n_posts + summary.n_rejects == 200
    posts = read_posts(tmp_path / "out" / "posts", POSTS.names)
    rejects = read_table(tmp_path / "out" / "rejects.parquet", REJECTS).to_pylist()
    assert posts.num_rows == summary.n_posts
    assert len(rejects) == summary.n_rejects + summary.n_missing_images
    assert {row["stage"] for row in rejects} == {"import", "import image"}
    assert summary.reasons == {RejectReason.DUPLICATE_ID: 24, RejectReason.MISSING_ID: 18}
    assert len(set(posts["post_id"].to_pylist())) == posts.num_rows
    assert summary.n_shards == len(list_shards(tmp_path / "out" / "posts")) > 3


@pytest.mark.usefixtures("small_parts")
def test_posts_keep_the_order_of_the_export(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 100)
    import_posts("table", src, tmp_path / "out")
    captions = read_posts(tmp_path / "out" / "posts", ["caption"])["caption"].to_pylist()
    assert captions == sorted(captions, key=lambda caption: int(caption[1:]))


class _StopError(Exception):
    """Simulates a power cut."""


def _failing(export: Export, after: int) -> Export:
    def units() -> Iterator[ReadUnit]:
        for number, unit in enumerate(export.units()):
            if number == after:
                raise _StopError
            yield unit

    return replace(export, units=units)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("after", [1, 25, 60, 61, 199])
def test_a_resumed_import_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 200)
    import_posts("table", src, tmp_path / "whole")
    reread = []

    def read(path: Path, columns: ReadingOptions) -> Export:
        return _failing(tables.open_table(path, columns), after)

    def counting(path: Path, columns: ReadingOptions) -> Export:
        export = tables.open_table(path, columns)

        def units() -> Iterator[ReadUnit]:
            for number, unit in enumerate(export.units()):
                yield lambda unit=unit, number=number: reread.append(number) or unit()

        return replace(export, units=units)

    for reader in (read, counting):
        monkeypatch.setitem(LAYOUTS, "table", export_layouts.Layout("", reader))
        if reader is read:
            with pytest.raises(_StopError):
                import_posts("table", src, tmp_path / "broken")
            assert not (tmp_path / "broken" / "posts").exists()
            assert not (tmp_path / "broken" / "rejects.parquet").exists()
            continue
        import_posts("table", src, tmp_path / "broken")
    assert _digests(tmp_path / "broken") == _digests(tmp_path / "whole")
    assert not list((tmp_path / "broken").glob(".*"))
    if after > 50:
        assert min(reread) > 15, "finished units are read again"


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("step", ["rejects.parquet", "import.json"])
def test_a_crash_while_moving_into_place_is_repaired_by_running_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 90)
    import_posts("table", src, tmp_path / "whole")
    original = import_run.atomic_write

    def failing_write(path: Path) -> object:
        if path.name == step:
            raise _StopError
        return original(path)

    monkeypatch.setattr(import_run, "atomic_write", failing_write)
    with pytest.raises(_StopError):
        import_posts("table", src, tmp_path / "out")
    monkeypatch.setattr(import_run, "atomic_write", original)
    assert import_posts("table", src, tmp_path / "out").is_new
    assert _digests(tmp_path / "out") == _digests(tmp_path / "whole")


def test_the_same_import_again_does_nothing_and_reports_the_same(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 50)
    first = import_posts("table", src, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = import_posts("table", src, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert (second.n_posts, second.reasons) == (first.n_posts, first.reasons)
    assert not second.is_new
    assert "nothing to do" in second.render()


def test_another_import_is_refused_without_replace(tmp_path: Path) -> None:
    first = _jsonl(tmp_path / "one.jsonl", 50)
    second = _jsonl(tmp_path / "two.jsonl", 60, start=100)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels.csv").write_text("mine")
    import_posts("table", first, tmp_path / "out")
    before = _digests(tmp_path / "out")
    with pytest.raises(InputError, match="--replace"):
        import_posts("table", second, tmp_path / "out")
    assert _digests(tmp_path / "out") == before
    import_posts("table", second, tmp_path / "out", replace=True)
    import_posts("table", second, tmp_path / "fresh")
    assert _digests(tmp_path / "out").items() > _digests(tmp_path / "fresh").items()
    assert (tmp_path / "out" / "labels.csv").read_text() == "mine"


def test_a_changed_export_is_another_import(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 50)
    import_posts("table", src, tmp_path / "out")
    src.write_text(src.read_text() + '\n{"post_id": "new", "caption": "c"}')
    with pytest.raises(InputError, match="changed since"):
        import_posts("table", src, tmp_path / "out")


def test_an_unfinished_import_of_another_export_is_discarded(tmp_path: Path) -> None:
    staging = tmp_path / "out" / ".import"
    (staging / "posts").mkdir(parents=True)
    (staging / "posts" / "00000.parquet").write_bytes(b"half")
    (staging / "posts" / "00009.parquet").write_bytes(b"half")
    (staging / "posts" / ".00010.parquet.1.tmp").write_bytes(b"half")
    (staging / "progress.json").write_text('{"digest": "other", "n_shards": 10}')
    src = _jsonl(tmp_path / "in.jsonl", 50)
    assert import_posts("table", src, tmp_path / "out").n_posts > 0
    import_posts("table", src, tmp_path / "fresh")
    assert _digests(tmp_path / "out") == _digests(tmp_path / "fresh")


def test_two_imports_into_one_folder_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 50)
    inside, leave = threading.Event(), threading.Event()
    original = part_writer.write_part

    def slow(*args: object) -> None:
        inside.set()
        leave.wait(10)
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(import_run, "write_part", slow)
    first = threading.Thread(target=import_posts, args=("table", src, tmp_path / "out"))
    first.start()
    inside.wait(10)
    with pytest.raises(InputError, match="another import"):
        import_posts("table", src, tmp_path / "out")
    leave.set()
    first.join()
    assert (tmp_path / "out" / "import.json").is_file()


def test_shards_stay_below_their_limit_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "SHARD_BYTES", 40_000)
    (tmp_path / "big.jpg").write_bytes(b"x" * 9_000)
    lines = [json.dumps({"post_id": str(n), "images": "big.jpg"}) for n in range(30)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    summary = import_posts("table", tmp_path / "in.jsonl", tmp_path / "out")
    assert summary.n_shards == 8
    shards = list_shards(tmp_path / "out" / "posts")
    assert sum(1 for shard in shards if shard.stat().st_size > 45_000) == 0


def test_a_post_keeps_its_readable_parts_and_its_missing_images_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    lines = [
        {"post_id": "1", "caption": "both", "images": ["a.jpg", "gone.jpg"]},
        {"post_id": "2", "caption": "", "images": ["gone.jpg"]},
        {"post_id": "3", "caption": "", "images": []},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    summary = import_posts("table", tmp_path / "in.jsonl", tmp_path / "out")
    assert (summary.n_posts, summary.n_rejects, summary.n_missing_images) == (2, 1, 1)
    posts = read_posts(tmp_path / "out" / "posts", ["post_id", "images"]).to_pylist()
    assert posts[0]["images"] == [{"bytes": b"image", "path": "a.jpg"}]
    rejects = read_table(tmp_path / "out" / "rejects.parquet", REJECTS).to_pylist()
    assert [(r["post_id"], r["stage"], r["reason"]) for r in rejects] == [
        ("1", "import image", "missing_file"),
        ("2", "import", "missing_file"),
    ]


def test_an_export_without_any_post_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"post_id": "", "caption": "no id"}\n')
    with pytest.raises(CorpusError, match=r"in.jsonl:1.*post_id"):
        import_posts("table", tmp_path / "in.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lost_rows_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_writer, "posts_to_arrow", lambda posts: _TO_ARROW(posts[1:]))
    with pytest.raises(CountsError):
        import_posts("table", _jsonl(tmp_path / "in.jsonl", 50), tmp_path / "out")
    assert not (tmp_path / "out" / "posts").exists()


_TO_ARROW = part_writer.posts_to_arrow


def test_a_full_disk_is_one_clear_line_and_the_import_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_posts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part_writer, "posts_to_arrow", full)
    src = _jsonl(tmp_path / "in.jsonl", 50)
    with pytest.raises(StorageError, match="No space left"):
        import_posts("table", src, tmp_path / "out")
    assert not (tmp_path / "out" / "posts").exists()
    monkeypatch.setattr(part_writer, "posts_to_arrow", _TO_ARROW)
    assert import_posts("table", src, tmp_path / "out").n_posts > 0


def test_invalid_sources_and_destinations_are_refused(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 9)
    with pytest.raises(LayoutError, match="influencer-brand, instaloader, graphql, api-v1, table"):
        import_posts("csv", src, tmp_path / "out")
    with pytest.raises(InputError, match="DEST is inside SRC"):
        import_posts("graphql", tmp_path, tmp_path / "out")
    with pytest.raises(StorageError):
        import_posts("table", src, src / "out")
    for layout in LAYOUTS:
        with pytest.raises(InputError):
            import_posts(layout, tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_counts_and_errors_in_one_line(tmp_path: Path) -> None:
    src = _jsonl(tmp_path / "in.jsonl", 50)
    arguments = ["import", "table", str(src), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert result.stdout == (
        "imported 39 posts with 9 images, 1 shard(s)\n"
        "  encoding: utf-8 (confidence 100%)\n"
        "  rejected 7 (duplicate_id), e.g. in.jsonl:7: an earlier post has this id\n"
        "  rejected 4 (missing_id), e.g. in.jsonl:11: nothing in column 'post_id'\n"
        "  4 images could not be read (missing_file); their posts are kept without them, e.g. "
        "in.jsonl:16: 6.jpg: not there\n"
        "  see rejects.parquet for details\n"
    )
    refused = CliRunner().invoke(main, [*arguments, "--column", "caption=text"])
    assert refused.exit_code == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "'post_id', 'caption', 'author'" in refused.stderr
    for wrong in ("captio=text", "caption", "caption="):
        assert CliRunner().invoke(main, [*arguments, "--column", wrong]).exit_code == 1
