"""Erase posts from all working folders of a repository, and search for what remains.

The posts themselves are erased last: an interrupted run can be repeated, because it still finds
their captions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import InputError
from postbias.paths import Paths
from postbias.people.rating_store import RatingStore
from postbias.posts.forgotten_ids import add_forgotten
from postbias.posts.image_counts import count_images
from postbias.posts.shards import (
    atomic_write,
    count_rows,
    list_shards,
    read_posts,
)
from postbias.privacy.erasure import (
    erase_from_csv,
    erase_from_database,
    erase_from_json,
    erase_from_shard,
    erase_from_table,
    redact_rejects,
)
from postbias.privacy.traces import Traces, has_traces, iter_files
from postbias.teacher.store_maintenance import delete_posts

_REJECTS, _SUMMARY = "rejects.parquet", "import.json"


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What was found, and what remains.

    Attributes:
        n_posts: Posts in the corpus that are to be erased.
        found: Files that contain them, relative to the repository, before the erasure.
        caches: Folders of caches that are removed as a whole.
        remaining: The same after the erasure; None if nothing was erased, also because nothing was
            found.
        versions: Files outside the working folders, by folder: old versions in DVC's cache.
        n_skipped: Captions that are too short or too common to be searched for.
        missing_ids: Ids that were named and are not in the corpus.
        missing_authors: Authors that were named and have no post in the corpus.
    """

    n_posts: int
    found: tuple[str, ...]
    caches: tuple[str, ...]
    remaining: tuple[str, ...] | None
    versions: dict[str, int] = field(default_factory=dict)
    n_skipped: int = 0
    missing_ids: tuple[str, ...] = ()
    missing_authors: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no post was found anywhere, not even in old versions."""
        return not (self.n_posts or self.found or self.versions)


def forget_posts(
    paths: Paths,
    post_ids: Sequence[str],
    authors: Sequence[str] = (),
    *,
    data: Path | None = None,
    is_dry_run: bool,
) -> ForgetReport:
    """Erase posts, or search for them only.

    Args:
        paths: The repository.
        post_ids: Ids of posts; they need not be in the corpus any more.
        authors: Names of authors, all of whose posts are erased.
        data: The folder of the corpus; `data` of the repository by default.
        is_dry_run: Whether to change nothing.

    Returns:
        What was found and what remains.

    Raises:
        InputError: If no post is named, or an author has no post.
        CorpusError: If there are no posts.
        SchemaError: If a table is damaged.
        StorageError: If a file cannot be written or is in use.
    """
    data = data or paths.data
    posts = read_posts(data / "posts", ["post_id", "author", "caption"])
    is_erased = pc.or_(
        pc.is_in(posts["post_id"], value_set=pa.array(post_ids, pa.string())),
        pc.is_in(posts["author"], value_set=pa.array(authors, pa.string())),
    )
    erased = posts.filter(is_erased)
    ids = frozenset([*post_ids, *erased["post_id"].to_pylist()])
    if not ids:
        raise InputError(
            "no post is named, and no author has a post in the corpus",
            seen=list(authors),
            allowed="post ids, or --author with a name as in the column `author`",
        )
    others = posts.filter(pc.invert(is_erased))["caption"]
    traces = Traces.of(ids, erased["caption"].to_pylist(), others)
    found = find_traces(paths, data, traces)
    caches = _find_caches(paths)
    versions = _find_old_versions(paths, traces)
    remaining = None
    # A mistyped id must not cost the caches, which do not tell whose embeddings they have.
    if not is_dry_run and (erased.num_rows or found or versions):
        add_forgotten(paths.root, data, ids, authors)
        _erase(paths, data, traces, found)
        remaining = _relative(paths, find_traces(paths, data, traces))
    return ForgetReport(
        n_posts=erased.num_rows,
        found=_relative(paths, found),
        caches=_relative(paths, caches),
        remaining=remaining,
        versions=versions,
        n_skipped=traces.n_skipped,
        missing_ids=_list_missing(post_ids, erased["post_id"]),
        missing_authors=_list_missing(authors, erased["author"]),
    )


def _list_missing(names: Sequence[str], found: pa.ChunkedArray) -> tuple[str, ...]:
    known = set(found.to_pylist())
    return tuple(name for name in dict.fromkeys(names) if name not in known)


def find_traces(paths: Paths, data: Path, traces: Traces) -> list[Path]:
    """List the files in all working folders that contain one of the posts.

    Args:
        paths: The repository.
        data: The folder of the corpus.
        traces: What to search for.
    """
    folders = [data, paths.build, paths.store, paths.reports, paths.mlruns]
    folders += [paths.root / name for name in ("dvc_plots", "ratings", "samples")]
    return [path for path in iter_files(folders) if has_traces(path, traces)]


def _find_caches(paths: Paths) -> list[Path]:
    """List caches that hold embeddings of posts under keys that do not name the post."""
    return [
        folder
        for folder in (paths.store / "embeddings", paths.store / "checkpoints")
        if folder.is_dir()
    ]


def _erase(paths: Paths, data: Path, traces: Traces, found: list[Path]) -> None:
    for folder in _find_caches(paths):
        shutil.rmtree(folder)
    delete_posts(paths, sorted(traces.post_ids))
    if paths.ratings.exists():
        with RatingStore.open(paths.ratings) as store:
            store.delete_posts(sorted(traces.post_ids))
    shards = list_shards(data / "posts")
    for path in found:
        if path not in shards and path.exists():
            _erase_from_file(path, data, traces)
    ids = pa.array(sorted(traces.post_ids), pa.string())
    for shard in shards:
        erase_from_shard(shard, ids)
    _correct_summary(data)


def _erase_from_file(path: Path, data: Path, traces: Traces) -> None:
    if path.suffix in {".db", ".sqlite"}:
        erase_from_database(path, traces)
    elif path.name.endswith(("-wal", "-shm")):
        pass  # emptied with its database
    elif path == data / _REJECTS:
        redact_rejects(path, traces)
    elif path.suffix == ".parquet":
        erase_from_table(path, traces)
    elif path.suffix == ".csv":
        erase_from_csv(path, traces)
    elif path.suffix == ".json" and path.is_relative_to(data):
        erase_from_json(path, traces)
    else:
        path.unlink()  # a stage makes it again


def _correct_summary(data: Path) -> None:
    """Correct the counts of `import.json`, so that the import still counts as complete."""
    path = data / _SUMMARY
    if not path.is_file():
        return
    summary = json.loads(path.read_text(encoding="utf-8"))
    shards = sorted((data / "posts").glob("*.parquet"))
    summary["n_posts"] = count_rows(shards)
    summary["n_images"] = count_images(shards)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", "utf-8")


def _find_old_versions(paths: Paths, traces: Traces) -> dict[str, int]:
    """Count the files of DVC's cache and of remotes in the repository that contain the posts."""
    counts: dict[str, int] = {}
    folder = paths.persistent_root / ".dvc"
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []:
        n = sum(has_traces(path, traces) for path in iter_files([folder / name]))
        if n:
            counts[f".dvc/{name}"] = n
    return counts


def _relative(paths: Paths, files: Sequence[Path]) -> tuple[str, ...]:
    roots = (paths.root, paths.persistent_root)
    return tuple(
        next((str(f.relative_to(root)) for root in roots if f.is_relative_to(root)), str(f))
        for f in files
    )
