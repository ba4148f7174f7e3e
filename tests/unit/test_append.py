"""Appending an export: new shards, updated counts, vanished posts, unchanged bytes, kills."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.post_shards import write_shard

from postbias.cli import main
from postbias.errors import CorpusError, InputError
from postbias.posts.importers import append_posts, import_posts, part_writer
from postbias.posts.importers.append_summary import AppendSummary
from postbias.posts.post_updates import read_engagement, read_updates
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

Row = dict[str, Any]


def _row(number: int, **changed: object) -> Row:
    day = f"2025-{1 + number // 28:02d}-{1 + number % 28:02d}"
    row = {"post_id": f"p{number}", "author": f"a{number % 3}", "caption": f"caption {number}"}
    return {**row, "posted_at": day, "likes": number, "comments": 1, **changed}


def _export(path: Path, rows: list[Row]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def _append(src: Path, dest: Path) -> AppendSummary:
    return append_posts(
        "table", dest, lambda folder: import_posts("table", src, folder, replace=True)
    )


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shards of 60 posts in all."""
    monkeypatch.setattr(part_writer, "SHARD_POSTS", 20)
    src = _export(tmp_path / "first.jsonl", [_row(n) for n in range(60)])
    import_posts("table", src, tmp_path / "data")
    return tmp_path / "data"


def test_new_posts_are_in_new_shards_and_the_others_keep_their_bytes(corpus: Path) -> None:
    before = _digests(corpus / "posts")
    (corpus.parent / "7.jpg").write_bytes(b"image")
    rows = [_row(n) for n in range(50, 59)] + [_row(n, images="7.jpg") for n in range(60, 70)]
    summary = _append(_export(corpus.parent / "later.jsonl", [*rows, {"caption": "no id"}]), corpus)
    after = _digests(corpus / "posts")
    assert after.items() > before.items()
    assert sorted(after.keys() - before.keys()) == ["00003.parquet"]
    new = read_table(corpus / "posts" / "00003.parquet", POSTS)
    assert new["post_id"].to_pylist() == [f"p{n}" for n in range(60, 70)]
    assert new["images"][0].as_py() == [{"bytes": b"image", "path": "7.jpg"}]
    assert (summary.n_new, summary.n_updated, summary.n_unchanged) == (10, 0, 9)
    assert summary.n_new + summary.n_updated + summary.n_unchanged == summary.export.n_posts
    manifest = json.loads((corpus / "import.json").read_text())
    assert (manifest["n_posts"], manifest["n_shards"], manifest["n_images"]) == (70, 4, 10)
    assert manifest["reasons"] == {"missing_id": 1}
    assert read_table(corpus / "rejects.parquet", REJECTS).num_rows == 1
    assert [entry["n_new"] for entry in manifest["imports"]] == [60, 10]
    assert [entry["first_shard"] for entry in manifest["imports"]] == [0, 3]
    assert sorted(path.name for path in corpus.iterdir()) == [
        "import.json", "posts", "rejects.parquet", "updates.parquet",
    ]  # fmt: skip


def test_known_posts_get_new_counts_beside_the_shards(corpus: Path) -> None:
    before = _digests(corpus / "posts")
    later = [
        _row(0, likes=1000),
        _row(1, comments=None, likes=None),  # unknown now: the known counts stay
        _row(2, comments=7),
        _row(3),
        _row(4, caption="edited"),
    ]
    summary = _append(_export(corpus.parent / "later.jsonl", later), corpus)
    assert _digests(corpus / "posts") == before
    assert (summary.n_new, summary.n_updated, summary.n_unchanged) == (0, 2, 3)
    assert (summary.n_changed_captions, summary.changed_caption_example) == (1, "p4")
    assert "1 with a changed caption; the first caption is kept, e.g. p4" in summary.render()
    rows = {row["post_id"]: row for row in read_engagement(corpus).to_pylist()}
    assert len(rows) == 60
    assert rows["p0"] == {"post_id": "p0", "likes": 1000, "comments": 1}
    assert rows["p1"] == {"post_id": "p1", "likes": 1, "comments": 1}
    assert rows["p2"] == {"post_id": "p2", "likes": 2, "comments": 7}
    assert rows["p50"] == {"post_id": "p50", "likes": 50, "comments": 1}
    captions = read_posts(corpus / "posts", ["caption"])["caption"].to_pylist()
    assert captions == [f"caption {n}" for n in range(60)]


def test_the_same_counts_again_change_nothing(corpus: Path) -> None:
    src = _export(corpus.parent / "later.jsonl", [_row(0, likes=9), _row(70), {"caption": "x"}])
    assert _append(src, corpus).is_new
    before = _digests(corpus)
    again = _append(src, corpus)
    assert not again.is_new
    assert "nothing to do" in again.render()
    assert _digests(corpus) == before
    first = import_posts("table", corpus.parent / "first.jsonl", corpus)
    assert not first.is_new
    assert _digests(corpus) == before


def test_posts_missing_within_the_time_of_their_author_have_vanished(corpus: Path) -> None:
    # a0 has p0, p3, p6 ...; the export covers a0 from p9 to p21 without p12, and p18 of the others.
    later = [_row(n) for n in (9, 15, 18, 21)]
    summary = _append(_export(corpus.parent / "later.jsonl", later), corpus)
    assert (summary.n_vanished, summary.n_unchecked) == (1, 0)
    updates = {row["post_id"]: row for row in read_updates(corpus).to_pylist()}
    assert updates["p12"]["vanished_in"] == 1
    assert updates["p12"]["last_seen"] == 0
    assert updates["p9"]["vanished_in"] is None
    assert updates["p9"]["last_seen"] == 1
    assert "p12" in read_posts(corpus / "posts", ["post_id"])["post_id"].to_pylist()
    again = _append(_export(corpus.parent / "third.jsonl", [_row(n) for n in (9, 15)]), corpus)
    assert again.n_vanished == 0  # p12 is already marked
    back = _append(_export(corpus.parent / "fourth.jsonl", [_row(12)]), corpus)
    assert (back.n_returned, back.n_vanished) == (1, 0)
    updates = {row["post_id"]: row for row in read_updates(corpus).to_pylist()}
    assert (updates["p12"]["vanished_in"], updates["p12"]["last_seen"]) == (None, 3)


def test_without_dates_nothing_is_said_to_have_vanished(tmp_path: Path) -> None:
    rows = [_row(n, posted_at=None) for n in range(6)]
    import_posts("table", _export(tmp_path / "a.jsonl", rows), tmp_path / "data")
    summary = _append(_export(tmp_path / "b.jsonl", rows[:1]), tmp_path / "data")
    assert (summary.n_vanished, summary.n_unchecked) == (0, 1)


def test_posts_of_another_layout_do_not_vanish(corpus: Path) -> None:
    manifest = json.loads((corpus / "import.json").read_text())
    (corpus / "import.json").write_text(json.dumps(manifest | {"layout": "graphql"}))
    later = [_row(n) for n in (9, 15, 18, 21)]
    assert _append(_export(corpus.parent / "later.jsonl", later), corpus).n_vanished == 0


def test_a_corpus_without_a_summary_can_be_appended_to(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "posts" / "00000.parquet", [("one", []), ("two", [])])
    summary = _append(_export(tmp_path / "b.jsonl", [_row(1), _row(2)]), tmp_path / "data")
    assert (summary.n_new, summary.n_corpus, summary.n_vanished) == (2, 4, 0)


def test_what_cannot_be_appended_leaves_no_trace(corpus: Path, tmp_path: Path) -> None:
    before = _digests(corpus)
    bad = _export(tmp_path / "bad.jsonl", [_row(1, post_id="")])
    with pytest.raises(CorpusError):
        _append(bad, corpus)
    with pytest.raises(InputError):
        _append(tmp_path / "missing.jsonl", corpus)
    assert _digests(corpus) == before
    with pytest.raises(InputError, match="without --append"):
        _append(bad, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_replacing_a_corpus_removes_what_was_appended(corpus: Path, tmp_path: Path) -> None:
    _append(_export(tmp_path / "later.jsonl", [_row(0, likes=9), _row(70)]), corpus)
    src = _export(tmp_path / "other.jsonl", [_row(n) for n in range(5)])
    import_posts("table", src, corpus, replace=True)
    import_posts("table", src, tmp_path / "fresh")
    assert _digests(corpus) == _digests(tmp_path / "fresh")


def test_the_command_prints_what_changed(corpus: Path, tmp_path: Path) -> None:
    src = _export(tmp_path / "later.jsonl", [_row(0, likes=9), _row(1), _row(71), {"caption": "x"}])
    arguments = ["import", "--append", "table", str(src), str(corpus)]
    result = CliRunner().invoke(main, arguments)
    assert result.stdout == (
        "appended 1 new posts; the corpus has 61\n"
        "  known posts: 1 with new likes or comments, 1 unchanged\n"
        "  rejected 1 (missing_id), e.g. later.jsonl:4: nothing in column 'post_id'\n"
        "  see rejects.parquet for details\n"
    )
    assert CliRunner().invoke(main, [*arguments, "--replace"]).exit_code == 2


class _StopError(BaseException):
    """Simulates a power cut."""


def _interrupt(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop before the given rename or removal, which are all that readers can notice."""
    left = step

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left <= 0:
                raise _StopError
            return original(*arguments, **options)

        return call

    for owner, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (shutil, "rmtree")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def _interrupted_copies(corpus: Path, src: Path, folder: Path) -> Iterator[Path]:
    """Yield copies of a corpus to which an append was interrupted at each step, up to no step."""
    step, is_complete = 0, False
    while not is_complete:
        step += 1
        dest = folder / str(step)
        shutil.copytree(corpus, dest)
        with pytest.MonkeyPatch.context() as monkeypatch:
            _interrupt(step, monkeypatch)
            try:
                _append(src, dest)
                is_complete = True
            except _StopError:
                pass
        yield dest


def test_an_append_interrupted_at_any_step_produces_the_same_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    src = _export(
        tmp_path / "later.jsonl",
        [_row(0, likes=9), _row(6), *(_row(n) for n in range(70, 130)), {"caption": "x"}],
    )
    shutil.copytree(corpus, tmp_path / "whole")
    _append(src, tmp_path / "whole")
    whole = _digests(tmp_path / "whole")
    n_steps = 0
    for dest in _interrupted_copies(corpus, src, tmp_path):
        n_steps += 1
        before = _digests(corpus / "posts").items()
        assert before <= _digests(dest / "posts").items()
        _append(src, dest)
        assert _digests(dest) == whole, dest.name
    assert n_steps > 20


_KILLED = """
import os, signal, sys
from pathlib import Path
from postbias.posts.importers import append_posts, corpus_append, import_posts, part_writer
part_writer.SHARD_POSTS = 20
original, name = Path.replace, sys.argv[3]
def replace(self, target):
    if Path(target).name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, target)
Path.replace = replace
append_posts("table", Path(sys.argv[2]),
             lambda folder: import_posts("table", Path(sys.argv[1]), folder, replace=True))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("name", ["progress.json", "commit.json", "updates.parquet"])
def test_an_append_that_was_killed_is_completed(corpus: Path, tmp_path: Path, name: str) -> None:
    src = _export(tmp_path / "later.jsonl", [_row(0, likes=9), *(_row(n) for n in range(70, 99))])
    shutil.copytree(corpus, tmp_path / "whole")
    _append(src, tmp_path / "whole")
    command = [sys.executable, "-c", _KILLED, str(src), str(corpus), name]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    _append(src, corpus)
    assert _digests(corpus) == _digests(tmp_path / "whole")


def _read_images(corpus: Path) -> dict[str, list[bytes]]:
    posts = read_posts(corpus / "posts", ["post_id", "images"]).to_pylist()
    return {post["post_id"]: [image["bytes"] for image in post["images"]] for post in posts}


def _download(folder: Path, numbers: list[int]) -> None:
    for number in numbers:
        (folder / f"{number}.jpg").write_bytes(b"image %d" % number)


def test_appending_again_adds_images_that_were_downloaded_since(
    corpus: Path, tmp_path: Path
) -> None:
    # In another order than the corpus, and with two posts of the first shard and one of the third.
    rows = [
        _row(45, images="https://cdn.invalid/45.jpg"),
        *(_row(n, images=f"https://cdn.invalid/{n}.jpg") for n in (7, 3, 4)),
        *(_row(n, images=f"https://cdn.invalid/{n}.jpg") for n in (70, 71)),
        _row(80, caption="", images="80.jpg"),  # rejected: its image is missing
    ]
    src = _export(tmp_path / "later.jsonl", rows)
    arguments = ["import", "--append", "table", str(src), str(corpus)]
    result = CliRunner().invoke(main, arguments)
    assert "6 posts name images by address" in result.stderr
    assert "append the same export again" in result.stderr
    assert "--replace" not in result.stderr
    before, posts = _digests(corpus / "posts"), read_posts(corpus / "posts", POSTS.names)
    _download(tmp_path, [3, 7, 45, 70, 80])
    result = CliRunner().invoke(main, arguments)
    assert "appended 1 new posts; the corpus has 63\n" in result.stdout
    assert (
        "  4 posts gained images: their shards were rewritten and will be scored again\n"
        in result.stdout
    )
    after = _digests(corpus / "posts")
    assert {name for name in before if after[name] != before[name]} == {
        "00000.parquet", "00002.parquet", "00003.parquet",
    }  # fmt: skip
    images = {key: value for key, value in _read_images(corpus).items() if value}
    assert images == {f"p{n}": [b"image %d" % n] for n in (3, 7, 45, 70, 80)}
    later = read_posts(corpus / "posts", POSTS.names)
    assert later.slice(0, 62).drop_columns("images").equals(posts.drop_columns("images"))
    manifest = json.loads((corpus / "import.json").read_text())
    assert (manifest["n_posts"], manifest["n_images"], manifest["n_shards"]) == (63, 5, 5)
    assert (manifest["n_rejects"], manifest["n_address_posts"]) == (0, 2)
    assert manifest["image_reasons"] == {"not_downloaded": 2}
    assert [entry["n_gained"] for entry in manifest["imports"][1:]] == [0, 4]
    rejects = read_table(corpus / "rejects.parquet", REJECTS)["post_id"].to_pylist()
    assert sorted(rejects) == ["p4", "p71"]
    again = _digests(corpus)
    assert "nothing to do" in CliRunner().invoke(main, arguments).stdout
    assert _digests(corpus) == again
    _download(tmp_path, [4, 71])
    assert _append(src, corpus).n_gained == 2
    assert "n_address_posts" not in json.loads((corpus / "import.json").read_text())


def test_images_are_only_added_to_those_that_a_post_has(corpus: Path, tmp_path: Path) -> None:
    _download(tmp_path, [1, 2, 3])
    _append(_export(tmp_path / "a.jsonl", [_row(70, images="1.jpg|2.jpg|9.jpg")]), corpus)
    assert len(_read_images(corpus)["p70"]) == 2
    fewer = _append(_export(tmp_path / "b.jsonl", [_row(70, images="1.jpg")]), corpus)
    other = _append(_export(tmp_path / "c.jsonl", [_row(70, images="1.jpg|3.jpg|2.png")]), corpus)
    assert (fewer.n_gained, other.n_gained, len(_read_images(corpus)["p70"])) == (0, 0, 2)
    _download(tmp_path, [9])
    assert _append(tmp_path / "a.jsonl", corpus).n_gained == 1
    assert _read_images(corpus)["p70"] == [b"image 1", b"image 2", b"image 9"]


def test_an_interrupted_append_of_images_produces_the_same_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    rows = [_row(n, images=f"{n}.jpg") for n in (3, 30, 70)]
    src = _export(tmp_path / "later.jsonl", rows)
    _append(src, corpus)
    _download(tmp_path, [3, 30, 70])
    shutil.copytree(corpus, tmp_path / "whole")
    assert _append(src, tmp_path / "whole").n_gained == 3
    whole = _digests(tmp_path / "whole")
    n_steps = 0
    for dest in _interrupted_copies(corpus, src, tmp_path):
        n_steps += 1
        _append(src, dest)
        assert _digests(dest) == whole, dest.name
    assert n_steps > 15
