"""`postbias forget`: nothing remains in any working folder, and the other posts are unchanged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.scored_repo import write_scored_repo

from postbias.cli import main
from postbias.errors import InputError
from postbias.paths import Paths
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask
from postbias.people.rating_store import RatingStore
from postbias.people.rating_table import read_ratings, write_ratings
from postbias.posts.forgotten_ids import ForgottenIds
from postbias.posts.importers import append_posts, import_posts
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts, read_table, write_table
from postbias.posts.video_details import (
    VIDEO_DETAILS,
    VIDEOS_FILE,
    read_video_details,
    write_video_details,
)
from postbias.privacy import forget
from postbias.privacy.forget import forget_posts
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.rubric import load_rubric

GONE, OTHER = "p00007", "p00008"
CAPTION = (
    'Ünique "caption" <b>of the post</b> & nothing else, which is long enough to be searched for'
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A repository whose post GONE is in every kind of file."""
    paths = write_scored_repo(tmp_path / "repo")
    shard = paths.posts / "00000.parquet"
    rows = read_table(shard, POSTS).to_pylist()
    rows[7]["caption"] = CAPTION
    write_table(pa.Table.from_pylist(rows[:200], POSTS), shard, POSTS)
    write_table(pa.Table.from_pylist(rows[200:], POSTS), paths.posts / "00001.parquet", POSTS)
    summary = {"n_posts": 480, "n_images": 480, "examples": {"x": f"row {GONE}: bad"}}
    (paths.data / "import.json").write_text(json.dumps(summary), encoding="utf-8")
    labels = f'post_id,bias\n{OTHER},1\n"{GONE}",2\np00009,3\n'
    (paths.data / "labels.csv").write_text(labels, encoding="utf-8")
    paths.sampled_corpus.unlink()
    shutil.copytree(paths.data, paths.sampled_corpus)
    paths.report.write_text(f"<p>{CAPTION[:70]}</p>".replace('"', "&#34;"), encoding="utf-8")
    details = [{"post_id": i, "duration_s": 3.0, "transcript": f"said {i}"} for i in (GONE, OTHER)]
    write_video_details([pa.Table.from_pylist(details, VIDEO_DETAILS)], paths.data / VIDEOS_FILE)
    (paths.store / "embeddings" / "text").mkdir(parents=True)
    (paths.store / "embeddings" / "text" / "0.parquet").write_bytes(b"x")
    _write_replies(paths)
    _write_ratings(paths)
    _write_mlruns(paths)
    cache = paths.root / ".dvc" / "cache" / "files"
    cache.mkdir(parents=True)
    shutil.copy(shard, cache / "ab12")
    return paths


def _write_replies(paths: Paths) -> None:
    columns = (
        "key, repeat, delivery, status, detail, scores, modes, reason, text, raw, rubric, "
        "asked_model, model, finish, source, asked_at"
    )
    with ReplyStore.open(paths.replies) as store:
        for post_id, text in ((GONE, CAPTION * 200), (OTHER, "other")):
            values = (f"key-{post_id}", 0, *([""] * 6), text, b"", *([""] * 6))
            marks = ", ".join("?" * len(values))
            store.transact(
                [
                    (f"INSERT INTO replies ({columns}) VALUES ({marks})", values),  # noqa: S608 - constants
                    ("INSERT INTO asked VALUES (?, ?)", (post_id, f"key-{post_id}")),
                ]
            )


def _write_ratings(paths: Paths) -> None:
    with RatingStore.open(paths.ratings) as store:
        store.add_items([RatingItem(p, "all", 2, 1.0, None) for p in (GONE, OTHER)])
        for post_id in (GONE, OTHER):
            task = RatingTask(post_id, 1)
            store.add(Rating(post_id, "ann", task, Outcome.CANNOT_TELL, {}, "", 1.0, "", ""))
        recorded = paths.root / "ratings" / "mine.csv"
        axes = load_rubric(paths.root / "rubrics" / "gender_bias.yaml").axes
        assert write_ratings(recorded, store.ratings(), store.items(), axes) == 2


def _write_mlruns(paths: Paths) -> None:
    (paths.mlruns / "artifacts").mkdir(parents=True)
    (paths.mlruns / "artifacts" / "examples.json").write_text(json.dumps([CAPTION]))
    with closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE tags (key TEXT PRIMARY KEY, value TEXT)")
        long = "x" * 9000 + CAPTION  # spread over several pages
        db.executemany("INSERT INTO tags VALUES (?, ?)", [("a", long), ("b", f"see {GONE}")])
        db.execute("INSERT INTO tags VALUES ('c', 'kept')")
        db.execute("INSERT INTO tags VALUES ('free', ?)", (CAPTION,))
        db.execute("DELETE FROM tags WHERE key = 'free'")  # stays in a free page
        db.commit()


def _contains(path: Path) -> bool:
    """Search a file in the plainest way, as an independent reference."""
    content = path.read_bytes()
    needles = [GONE, CAPTION[:50], json.dumps(CAPTION)[1:50]]
    if any(needle.encode() in content for needle in needles):
        return True
    if path.suffix == ".parquet" and content[:4] == b"PAR1":
        text = repr(pq.read_table(path).to_pylist())
        return GONE in text or "nique" in text
    if path.suffix in {".db", ".sqlite"}:
        with closing(sqlite3.connect(path)) as db:
            return any(GONE in line or "nique" in line for line in db.iterdump())
    return False


def _list_traces(root: Path) -> list[str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return [path.relative_to(root).as_posix() for path in files if _contains(path)]


def test_nothing_remains_and_other_posts_are_unchanged(paths: Paths) -> None:
    before = read_posts(paths.posts, POSTS.names)
    second = (paths.posts / "00001.parquet").read_bytes()
    traces = _list_traces(paths.root)
    assert len(traces) > 10
    report = forget_posts(paths, [GONE], is_dry_run=False)
    assert report.n_posts == 1
    assert report.remaining == ()
    assert set(traces) - set(report.found) == {".dvc/cache/files/ab12"}
    assert report.versions == {".dvc/cache": 1}
    assert _list_traces(paths.root) == [".dvc/cache/files/ab12"]
    after = read_posts(paths.posts, POSTS.names)
    assert after.equals(before.filter(pc.not_equal(before["post_id"], GONE)))
    assert (paths.posts / "00001.parquet").read_bytes() == second
    labels = (paths.data / "labels.csv").read_text(encoding="utf-8")
    assert labels == f"post_id,bias\n{OTHER},1\np00009,3\n"
    summary = json.loads((paths.data / "import.json").read_text())
    assert summary == {"n_posts": 479, "n_images": 479, "examples": {}}
    assert OTHER in pq.read_table(paths.labels)["post_id"].to_pylist()
    assert OTHER in pq.read_table(paths.sample)["post_id"].to_pylist()
    assert read_video_details(paths.data)["post_id"].to_pylist() == [OTHER]
    assert not (paths.store / "embeddings").exists()
    with ReplyStore.open(paths.replies) as store:
        assert store.rows("SELECT post_id FROM asked") == [(OTHER,)]
    with RatingStore.open(paths.ratings) as ratings:
        assert [rating.task.post_id for rating in ratings.history()] == [OTHER]
    axes = load_rubric(paths.root / "rubrics" / "gender_bias.yaml").axes
    recorded = read_ratings(paths.root / "ratings" / "mine.csv", axes)
    assert [row.item.post_id for row in recorded.rows] == [OTHER]
    with closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as db:
        cells = dict(db.execute("SELECT key, value FROM tags"))
    assert cells == {
        "a": "x" * 9000 + "(forgotten)" + CAPTION[60:],
        "b": "see (forgotten)",
        "c": "kept",
    }


def test_without_yes_nothing_changes(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.root)
    files = [path for path in sorted(paths.root.rglob("*")) if path.suffix != ".db-shm"]
    before = {path: path.read_bytes() for path in files if path.is_file()}
    result = CliRunner().invoke(main, ["forget", GONE])
    assert result.exit_code == 0
    assert "1 posts in the corpus; found in" in result.stdout
    assert "  data/posts/00000.parquet\n" in result.stdout
    assert "add --yes to erase" in result.stdout
    assert {path: path.read_bytes() for path in before} == before
    result = CliRunner().invoke(main, ["forget", GONE, "--yes"])
    assert result.exit_code == 0
    assert "no file of the working folders contains them" in result.stdout
    assert "dvc gc --workspace" in result.stdout
    assert CliRunner().invoke(main, ["forget"]).exit_code == 2


def test_all_posts_of_an_author_are_forgotten(paths: Paths) -> None:
    report = forget_posts(paths, [], ["author001"], is_dry_run=False)
    assert (report.n_posts, report.remaining) == (6, ())
    assert "author001" not in read_posts(paths.posts, ["author"])["author"].to_pylist()
    with pytest.raises(InputError, match="no author has a post"):
        forget_posts(paths, [], ["nobody"], is_dry_run=False)


@pytest.mark.parametrize("n_done", range(9))
def test_an_interrupted_run_can_be_repeated(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, n_done: int
) -> None:
    left = n_done
    original = forget._erase_from_file

    def interrupted(path: Path, data: Path, traces: forget.Traces) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        original(path, data, traces)

    monkeypatch.setattr(forget, "_erase_from_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forget_posts(paths, [GONE], is_dry_run=False)
    monkeypatch.undo()
    assert forget_posts(paths, [GONE], is_dry_run=False).remaining == ()
    assert _list_traces(paths.root) == [".dvc/cache/files/ab12"]


def test_a_short_id_is_not_taken_for_part_of_a_word_or_number(paths: Paths) -> None:
    rows = read_table(paths.posts / "00001.parquet", POSTS).to_pylist()
    rows[0] |= {"post_id": "12", "caption": "short"}
    write_table(pa.Table.from_pylist(rows, POSTS), paths.posts / "00001.parquet", POSTS)
    (paths.reports / "numbers.json").write_text('{"value": 12, "text": "12 posts"}')
    # Other posts with this number as a label, and settings and replies with it, must stay.
    labels = "post_id,bias\n1,12\n12,3\n13,12\n"
    (paths.data / "labels.csv").write_text(labels, encoding="utf-8")
    with closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as db:
        db.execute("INSERT INTO tags VALUES ('number', '12')")
        db.execute("""INSERT INTO tags VALUES ('quoted', '{"score": "12"}')""")
        db.commit()
    report = forget_posts(paths, ["12"], is_dry_run=False)
    assert (paths.data / "labels.csv").read_text() == "post_id,bias\n1,12\n13,12\n"
    with closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as db:
        cells = dict(db.execute("SELECT key, value FROM tags"))
    assert (cells["number"], cells["quoted"]) == ("12", '{"score": "12"}')
    assert (report.n_posts, report.n_skipped, report.remaining) == (1, 1, ())
    assert (paths.reports / "numbers.json").exists()


def test_forgotten_posts_and_authors_stay_out(tmp_path: Path) -> None:
    rows = [
        {"post_id": f"post-{n}", "caption": f"c{n}", "author": f"author-{n % 3}"} for n in range(9)
    ]
    src = tmp_path / "a.jsonl"
    src.write_text("\n".join(map(json.dumps, rows)))
    data = tmp_path / "data"
    data.mkdir()
    ForgottenIds.read(data).add(["post-3"], ["author-1"]).write(data)
    assert not any(name in (data / "forgotten.json").read_text() for name in ("post-3", "author-1"))
    summary = import_posts("table", src, data)
    assert summary.reasons == {"forgotten": 4}
    assert summary.warning is None
    kept = [f"post-{n}" for n in (0, 2, 5, 6, 8)]
    assert read_posts(data / "posts", ["post_id"])["post_id"].to_pylist() == kept
    assert "post-3" not in repr(read_table(data / "rejects.parquet").to_pylist())
    assert not import_posts("table", src, data).is_new
    src.write_text("\n".join(json.dumps(row) for row in [*rows, {**rows[0], "post_id": "new"}]))
    appended = append_posts("table", data, lambda to: import_posts("table", src, to, replace=True))
    assert appended.n_new == 1
    import_posts("table", src, data, replace=True)
    assert read_posts(data / "posts", ["post_id"])["post_id"].to_pylist() == [*kept, "new"]


def _write_export(path: Path) -> Path:
    rows = [{"post_id": f"p{n:05d}", "caption": f"c{n}", "author": f"a{n}"} for n in range(6, 10)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _read_ids(data: Path) -> list[str]:
    return read_posts(data / "posts", ["post_id"])["post_id"].to_pylist()


def test_all_imports_in_the_repository_leave_forgotten_posts_out(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = _write_export(tmp_path / "export.jsonl")
    early, new, outside = paths.root / "early", paths.root / "data-new", tmp_path / "outside"
    import_posts("table", src, early)
    import_posts("table", src, outside)
    assert GONE in _read_ids(early)
    forget_posts(paths, [GONE], ["a8"], is_dry_run=False)
    shutil.rmtree(paths.data)  # and its list
    assert import_posts("table", src, new).reasons == {"forgotten": 2}
    assert _read_ids(new) == ["p00006", "p00009"]
    with pytest.raises(InputError, match="forgotten since"):
        import_posts("table", src, early)
    import_posts("table", src, early, replace=True)
    assert _read_ids(early) == ["p00006", "p00009"]
    assert not import_posts("table", src, early).is_new
    assert not import_posts("table", src, outside).is_new  # another repository
    monkeypatch.chdir(paths.root / "reports")
    assert import_posts("table", src, tmp_path / "other").reasons == {"forgotten": 2}
    new.rename(paths.data)
    forget_posts(paths, ["p00006"], is_dry_run=False)
    for folder in (paths.root, paths.data):  # each list has all entries
        forgotten = ForgottenIds.read(folder)
        assert all(forgotten.has_post(post_id, None) for post_id in (GONE, "p00006"))


def test_a_list_of_the_corpus_is_taken_over_by_the_repository(paths: Paths) -> None:
    ForgottenIds.read(paths.data).add(["earlier"], []).write(paths.data)
    forget_posts(paths, [GONE], is_dry_run=False)
    shutil.rmtree(paths.data)
    assert ForgottenIds.read(paths.root).has_post("earlier", None)
    assert ForgottenIds.read(paths.root).has_post(GONE, None)


def _read_files(root: Path) -> dict[Path, bytes]:
    """Read all files but the logs of databases, which readers write, too."""
    files = [p for p in sorted(root.rglob("*")) if not p.name.endswith(("-shm", "-wal"))]
    return {path: path.read_bytes() for path in files if path.is_file()}


def test_an_id_that_is_nowhere_is_no_success(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.root)
    before = _read_files(paths.root)
    for option in ([], ["--yes"]):
        result = CliRunner().invoke(main, ["forget", "99999999", "88888888", *option])
        assert result.exit_code == 1
        assert (
            "no such post in the corpus: 99999999\nno such post in the corpus: 8" in result.stdout
        )
        assert "NOTHING FOUND" in result.stdout
        assert "erase" not in result.stdout
        assert "Next steps" not in result.stdout
        assert "nothing was changed" in result.stdout
        assert _read_files(paths.root) == before
    # One that only another file has is found there.
    (paths.reports / "old.html").write_text("<p>99999999</p>")
    result = CliRunner().invoke(main, ["forget", "99999999", GONE, "--author", "nobody", "--yes"])
    assert result.exit_code == 0
    assert "no such post in the corpus: 99999999\n" in result.stdout
    assert f"no such post in the corpus: {GONE}" not in result.stdout
    assert "no post by this author in the corpus: nobody\n" in result.stdout
    assert "  reports/old.html\n" in result.stdout
    shutil.rmtree(paths.root / ".dvc")
    assert CliRunner().invoke(main, ["forget", GONE]).exit_code == 1


def test_the_next_steps_are_numbered_with_one_command_per_line(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.root)
    output = CliRunner().invoke(main, ["forget", GONE, "--yes"]).stdout
    steps = output.partition("Next steps, in this order:\n")[2].splitlines()
    assert [line[:2] for line in steps if line[0].isdigit()] == ["1.", "2.", "3.", "4."]
    commands = [line.strip() for line in steps if line.startswith("     ")]
    assert commands == [
        "dvc add data",
        "dvc repro",
        "git add --all",
        'git commit --message "Forget posts"',
        "dvc gc --workspace",
        "dvc gc --workspace --cloud",
        "git filter-repo --force --invert-paths --path FILE",
        "git reflog expire --expire=now --all",
        "git gc --prune=now",
    ]


def test_counts_are_true_after_an_interruption_before_they_were_corrected(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forget, "_correct_summary", interrupted)
        with pytest.raises(KeyboardInterrupt):
            forget_posts(paths, [GONE], is_dry_run=False)
    forget_posts(paths, [GONE], is_dry_run=False)
    summary = json.loads((paths.data / "import.json").read_text())
    assert (summary["n_posts"], summary["n_images"]) == (479, 479)
