"""Append a later export to a corpus without changing its shards, except for posts with new images.

The export is imported to `DEST/.append/export/` as by a first import. What it changes is then
written to `DEST/.append/changes/`, and moved into place after `commit.json` lists the moves. An
append that was interrupted before that file starts again from the staged import; one that was
interrupted later is completed by the next import or append.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from postbias.errors import CorpusError, CountsError, InputError, StorageError
from postbias.posts.forgotten_ids import FORGOTTEN_FILE
from postbias.posts.image_counts import count_images
from postbias.posts.import_history import MANIFEST, shard_number
from postbias.posts.importers.append_summary import AppendSummary
from postbias.posts.importers.corpus_comparison import Comparison, compare_with_corpus
from postbias.posts.importers.gained_images import rewrite_shards
from postbias.posts.importers.import_summary import (
    POSTS_FOLDER,
    REJECTS_FILE,
    ImportSummary,
)
from postbias.posts.importers.part_writer import STAGE_IMAGE, STAGE_POST
from postbias.posts.post_updates import UPDATES_FILE, write_updates
from postbias.posts.reasons import RejectReason
from postbias.posts.schema import REJECTS
from postbias.posts.selected_shards import write_selected_shards
from postbias.posts.shards import (
    atomic_write,
    count_rows,
    list_shards,
    read_table,
    write_table,
)
from postbias.posts.video_details import VIDEOS_FILE, read_video_details, write_video_details

APPEND_FOLDER = ".append"
_EXPORT, _CHANGES, _COMMIT = "export", "changes", "commit.json"

Json = dict[str, Any]

# Stage of rejects, and their counts and examples in `import.json`.
_COUNTED_REJECTS = (
    (STAGE_POST, "n_rejects", "reasons", "examples"),
    (STAGE_IMAGE, "n_missing_images", "image_reasons", "image_examples"),
)


def append_posts(
    layout: str, dest: Path, import_export: Callable[[Path], ImportSummary]
) -> AppendSummary:
    """Append an export to a corpus.

    Resumable: after an interruption, the same call continues, and the corpus has the same bytes as
    after an uninterrupted one.

    Args:
        layout: Layout of the export.
        dest: The folder of the corpus, with `posts/`.
        import_export: Imports the export to the folder that it is given, as `import_posts` does.

    Returns:
        What was added, updated and not found.

    Raises:
        InputError: If `dest` has no posts, is in use, or the export cannot be read.
        CorpusError: If no post of the export could be imported.
        SchemaError: If a shard of the corpus is damaged.
        CountsError: If the number of new posts on disk is wrong.
        StorageError: If `dest` cannot be written.
    """
    if not any((dest / POSTS_FOLDER).glob("*.parquet")):
        raise InputError(
            "there is no corpus to append to",
            seen=str(dest / POSTS_FOLDER),
            do="import the first export without --append",
        )
    with _lock_corpus(dest):
        complete_append(dest)
        staging = dest / APPEND_FOLDER
        if (dest / FORGOTTEN_FILE).is_file():
            (staging / _EXPORT).mkdir(parents=True, exist_ok=True)
            shutil.copy(dest / FORGOTTEN_FILE, staging / _EXPORT)
        try:
            export = import_export(staging / _EXPORT)
        except (CorpusError, InputError):
            shutil.rmtree(staging, ignore_errors=True)
            raise
        try:
            comparison = compare_with_corpus(dest, staging / _EXPORT, layout)
            summary = _summarise(dest, export, comparison)
            if summary.is_new:
                _write_changes(dest, comparison, summary)
                complete_append(dest)
            else:
                shutil.rmtree(staging)
        except OSError as error:
            raise StorageError(
                f"cannot append to {dest}: {error.strerror or error}",
                do="free space or choose another disk, then run the same command again",
            ) from error
    return summary


def complete_append(dest: Path) -> None:
    """Complete an append that was interrupted while its files were moved; repeatable.

    Args:
        dest: The folder of the corpus.
    """
    staging = dest / APPEND_FOLDER
    commit = staging / _COMMIT
    if not commit.is_file():
        return
    for name in json.loads(commit.read_text(encoding="utf-8")):
        source = staging / _CHANGES / name
        if source.exists():  # else it was moved before the interruption
            source.replace(dest / name)
    shutil.rmtree(staging)


def discard_appended(dest: Path) -> None:
    """Remove what appends have left beside the shards, before the posts are replaced.

    Args:
        dest: The folder of the corpus.
    """
    (dest / UPDATES_FILE).unlink(missing_ok=True)
    shutil.rmtree(dest / APPEND_FOLDER, ignore_errors=True)


@contextmanager
def _lock_corpus(dest: Path) -> Iterator[None]:
    lock = FileLock(dest / ".import.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            "another import is writing to DEST",
            seen=str(dest),
            do="wait until it ends, or choose another DEST",
        ) from error
    with held:
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)


def _summarise(dest: Path, export: ImportSummary, comparison: Comparison) -> AppendSummary:
    is_known = (dest / MANIFEST).is_file() and any(
        entry.get("digest") == comparison.digest for entry in comparison.imports
    )
    return AppendSummary(
        export=export,
        n_new=len(comparison.new_ids),
        n_updated=comparison.n_updated,
        n_unchanged=comparison.n_known - comparison.n_updated,
        n_changed_captions=comparison.n_changed_captions,
        n_vanished=comparison.n_vanished,
        n_returned=comparison.n_returned,
        n_unchecked=comparison.n_unchecked,
        n_corpus=count_rows(list_shards(dest / POSTS_FOLDER)) + len(comparison.new_ids),
        n_gained=len(comparison.gained_ids),
        changed_caption_example=comparison.changed_caption_example,
        is_new=bool(
            comparison.n_updated
            or len(comparison.new_ids)
            or len(comparison.gained_ids)
            or comparison.n_vanished
            or comparison.n_returned
            or not is_known
        ),
    )


def _write_changes(dest: Path, comparison: Comparison, summary: AppendSummary) -> None:
    """Write all new files and finally the list of moves; nothing is visible in `dest` before."""
    staging = dest / APPEND_FOLDER
    changes, export = staging / _CHANGES, staging / _EXPORT
    shutil.rmtree(changes, ignore_errors=True)
    first = 1 + max(shard_number(path) for path in list_shards(dest / POSTS_FOLDER))
    n_shards = write_selected_shards(
        list_shards(export / POSTS_FOLDER), comparison.new_ids, changes / POSTS_FOLDER, first
    )
    shards = sorted((changes / POSTS_FOLDER).glob("*.parquet"))
    if count_rows(shards) != summary.n_new:
        raise CountsError(
            "rows of new posts on disk are not the new posts of the export",
            seen=count_rows(shards),
            allowed=summary.n_new,
            do=f"remove {staging} and append again",
        )
    replaced = rewrite_shards(
        list_shards(dest / POSTS_FOLDER),
        export / POSTS_FOLDER,
        comparison.gained_ids,
        changes / POSTS_FOLDER,
    )
    write_updates(comparison.updates, changes / UPDATES_FILE)
    details = [read_video_details(folder) for folder in (dest, export)]
    has_videos = write_video_details(details, changes / VIDEOS_FILE)
    _write_rejects(dest, export, changes, comparison)
    manifest = _merge_manifests(changes, dest, export, comparison)
    kept = [path for path in list_shards(dest / POSTS_FOLDER) if path not in replaced]
    corpus = [*kept, *sorted((changes / POSTS_FOLDER).glob("*.parquet"))]
    manifest["n_posts"], manifest["n_images"] = count_rows(corpus), count_images(corpus)
    manifest["n_shards"] = first + n_shards
    manifest["imports"][-1] |= {"first_shard": first, "n_shards": n_shards, **summary.counts()}
    with atomic_write(changes / MANIFEST) as temporary:
        text = json.dumps(manifest, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
    moves = [
        *(f"{POSTS_FOLDER}/{path.name}" for path in (*shards, *replaced)),
        *([VIDEOS_FILE] if has_videos else []),
        *(UPDATES_FILE, REJECTS_FILE, MANIFEST),
    ]
    with atomic_write(staging / _COMMIT) as temporary:
        temporary.write_text(json.dumps(moves), encoding="utf-8")


def _write_rejects(dest: Path, export: Path, changes: Path, comparison: Comparison) -> None:
    """Add the rejects of an export that the corpus does not have yet, and remove outdated ones.

    Those of posts that are imported only now, and of images that are there now, do not apply any
    more; the export has those that still do.
    """
    old, new = [
        read_table(path, REJECTS) if path.is_file() else REJECTS.empty_table()
        for path in (dest / REJECTS_FILE, export / REJECTS_FILE)
    ]
    is_image = pc.equal(old["stage"], STAGE_IMAGE)
    has_images = pc.and_(is_image, pc.is_in(old["post_id"], value_set=comparison.gained_ids))
    is_outdated = pc.or_(has_images, pc.is_in(old["post_id"], value_set=comparison.new_ids))
    old = old.filter(pc.invert(is_outdated))
    known = {tuple(row.values()) for row in old.to_pylist()}
    added = [row for row in new.to_pylist() if tuple(row.values()) not in known]
    table = pa.concat_tables([old, pa.Table.from_pylist(added, REJECTS)])
    write_table(table, changes / REJECTS_FILE, REJECTS)


def _merge_manifests(changes: Path, dest: Path, export: Path, comparison: Comparison) -> Json:
    """Add an import to the content of `import.json`, whose counts are those of the corpus."""
    path = dest / MANIFEST
    manifest: Json = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    later = json.loads((export / MANIFEST).read_text(encoding="utf-8"))
    rejects = read_table(changes / REJECTS_FILE, REJECTS, ["post_id", "stage", "reason"])
    for stage, total, reasons, field in _COUNTED_REJECTS:
        counts = Counter(rejects.filter(pc.equal(rejects["stage"], stage))["reason"].to_pylist())
        manifest[total], manifest[reasons] = counts.total(), counts
        examples = manifest.get(field, {})
        kept = {**later.get(field, {}), **examples}
        manifest[field] = {reason: kept[reason] for reason in counts if reason in kept}
    is_address = pc.equal(rejects["reason"], RejectReason.NOT_DOWNLOADED)
    n_address_posts = pc.count_distinct(rejects.filter(is_address)["post_id"]).as_py()
    if n_address_posts:
        manifest["n_address_posts"] = n_address_posts
    else:
        manifest.pop("n_address_posts", None)
        manifest.pop("address_column", None)
    manifest["imports"] = [
        *comparison.imports,
        {"digest": comparison.digest, "layout": later["layout"]},
    ]
    return manifest
