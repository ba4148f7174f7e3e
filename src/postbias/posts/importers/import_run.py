"""Run an import: open the export, write parts, then move the result into place.

Everything is written to `DEST/.import/` and moved when it is complete: `DEST/posts/`,
`DEST/rejects.parquet` and finally `DEST/import.json`.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from postbias.errors import (
    CorpusError,
    InputError,
    LayoutError,
    PostbiasError,
    StorageError,
)
from postbias.posts.forgotten_ids import ForgottenLists
from postbias.posts.import_history import MANIFEST
from postbias.posts.importers.corpus_append import discard_appended
from postbias.posts.importers.export_layouts import LAYOUTS
from postbias.posts.importers.import_checks import check_counts, check_options, first_reject
from postbias.posts.importers.import_digest import digest_import
from postbias.posts.importers.import_progress import (
    PROGRESS_FILE,
    VIDEOS_FOLDER,
    ImportProgress,
    RecordReader,
    SeenIds,
)
from postbias.posts.importers.import_summary import (
    POSTS_FOLDER,
    REJECTS_FILE,
    ImportSummary,
    find_completed_import,
)
from postbias.posts.importers.legacy_encodings import check_codec
from postbias.posts.importers.media_converter import (
    MediaConverter,
    installed_extras,
)
from postbias.posts.importers.part_writer import BackgroundWriter, write_part
from postbias.posts.importers.records import Export, Record, TextReading
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.importers.transcripts import Transcripts
from postbias.posts.importers.withheld_posts import has_forgotten_posts
from postbias.posts.schema import REJECTS
from postbias.posts.shards import atomic_write, parquet_writer, read_table
from postbias.posts.video_details import VIDEOS_FILE, write_video_details

logger = logging.getLogger(__name__)

STAGING = ".import"


def import_posts(
    layout: str,
    src: Path,
    dest: Path,
    *,
    options: ReadingOptions | None = None,
    replace: bool = False,
) -> ImportSummary:
    """Import an export into post shards and a table of rejects.

    Resumable: after an interruption, the same call continues and produces the same bytes as an
    uninterrupted import.

    Args:
        layout: A key of `LAYOUTS`.
        src: The export.
        dest: The folder that receives `posts/`, `rejects.parquet` and `import.json`.
        options: Column names of a table, encoding, frames per video; None takes the defaults.
        replace: Whether to replace the posts of another import in `dest`.

    Returns:
        Counts of posts, images and rejects.

    Raises:
        LayoutError: If the layout is unknown, or the export has another layout.
        InputError: If `src` cannot be read, or `dest` has posts of another import.
        CorpusError: If no post could be imported.
        CountsError: If the rows on disk are not the records that were read.
        StorageError: If `dest` cannot be written.
    """
    if layout not in LAYOUTS:
        raise LayoutError("unknown layout", seen=layout, allowed=_layout_names())
    if src.is_dir() and dest.resolve().is_relative_to(src.resolve()):
        raise InputError("DEST is inside SRC", seen=str(dest), do="choose a folder outside SRC")
    options = options or ReadingOptions()
    check_options(layout, options)
    if options.encoding is not None:
        check_codec(options.encoding)
    export = LAYOUTS[layout].open(src, options)
    digest = digest_import(layout, export, options)
    staging = dest / STAGING
    with _exclusive_staging(staging):
        forgotten = ForgottenLists.find(dest)
        completed = find_completed_import(dest, digest)
        if completed and has_forgotten_posts(dest / POSTS_FOLDER, forgotten):
            completed = None
        # The digest of a table does not cover its images: missing ones may have been added since.
        if completed and not (replace and completed.has_missing_images):
            return completed
        # Parts written with other extras would have other images; with other lists, other posts.
        identity = f"{digest} {installed_extras()} {forgotten.fingerprint}"
        progress = ImportProgress.load(staging / PROGRESS_FILE, identity)
        if not progress.is_complete:
            _check_replaceable(dest, replace=replace)
            transcripts = Transcripts(src, in_captions=options.transcripts)
            with MediaConverter(options.n_frames) as converter:

                def convert(record: Record) -> Record:
                    return converter.convert(transcripts.complete(record))

                _write_parts(export, src, staging, progress, (convert, forgotten))
        elif export.reading is not None:
            # Reads the table again for the remarks: the interrupted import had only to be moved.
            deque(export.units(), maxlen=0)
        summary = _summarise(layout, progress, export.reading, options)
        _move_into_place(staging, dest, summary, digest)
    return summary


def _layout_names() -> str:
    return ", ".join(LAYOUTS)


def _summarise(
    layout: str, progress: ImportProgress, reading: TextReading | None, options: ReadingOptions
) -> ImportSummary:
    notes = list(reading.notes) if reading else []
    if progress.n_transcripts and not options.transcripts:
        notes.append(
            f"{progress.n_transcripts} posts have a transcript of their video, which is kept in "
            f"{VIDEOS_FILE} only: --transcripts (with --replace) adds it to the captions"
        )
    return ImportSummary(
        layout=layout,
        n_posts=progress.n_posts,
        n_rejects=progress.reasons.total(),
        reasons=progress.reasons,
        n_images=progress.n_images,
        n_frames=progress.n_frames,
        n_missing_images=progress.image_reasons.total(),
        image_reasons=progress.image_reasons,
        n_shards=progress.n_shards,
        is_new=True,
        emptied_cells=progress.emptied_cells,
        examples=progress.examples,
        image_examples=progress.image_examples,
        n_address_posts=progress.n_address_posts,
        address_column=options.columns.images if layout == "table" else "",
        encoding=(reading.encoding or None) if reading else progress.describe_encodings(),
        notes=tuple(notes),
        reading_warning=reading.warning if reading else None,
        n_transcripts=progress.n_transcripts,
    )


@contextmanager
def _exclusive_staging(staging: Path) -> Iterator[None]:
    """Create and lock the staging folder; remove it unless it allows to resume."""
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {staging.parent}: {error.strerror}") from error
    lock = FileLock(staging.parent / f"{STAGING}.lock")
    try:
        with lock.acquire(timeout=0):
            try:
                yield
            except (LayoutError, CorpusError, InputError):
                shutil.rmtree(staging)
                raise
            shutil.rmtree(staging)
    except Timeout as error:
        raise InputError(
            "another import is writing to DEST",
            seen=str(staging.parent),
            do="wait until it ends, or choose another DEST",
        ) from error
    except PostbiasError:
        if not staging.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
            if not any(staging.parent.iterdir()):
                staging.parent.rmdir()
        raise
    Path(lock.lock_file).unlink(missing_ok=True)


def _check_replaceable(dest: Path, *, replace: bool) -> None:
    existing = [name for name in (POSTS_FOLDER, REJECTS_FILE) if (dest / name).exists()]
    if existing and not replace:
        raise InputError(
            f"{dest} already has {' and '.join(existing)} of another import, or of an export that "
            "has changed since, or without an extra that is now installed, or with posts that were "
            "forgotten since",
            do="choose another DEST, or pass --replace",
        )


def _write_parts(
    export: Export,
    src: Path,
    staging: Path,
    progress: ImportProgress,
    filters: tuple[Callable[[Record], Record], ForgottenLists],
) -> None:
    convert, forgotten = filters
    if progress.n_parts:
        logger.warning("resuming an interrupted import: %d posts done", progress.n_posts)
    _remove_unfinished(staging / "rejects", progress.n_parts)
    _remove_unfinished(staging / VIDEOS_FOLDER, progress.n_parts)
    seen = SeenIds(_remove_unfinished(staging / POSTS_FOLDER, progress.n_shards), forgotten)
    with (
        tqdm(total=export.n_units, desc="import", unit=" files", disable=None) as bar,
        BackgroundWriter() as writer,
    ):
        records = RecordReader(export, progress, bar, convert)
        while records.head is not None:
            write_part(staging, records, progress, seen, writer)
            if not progress.n_posts:
                writer.wait()
                _check_layout(staging, src, progress)
        writer.wait()
    if not progress.n_posts:
        raise CorpusError(
            f"no post in {src} could be imported",
            seen=", ".join(f"{n} x {reason}" for reason, n in progress.reasons.items())
            or "no post at all",
            do=first_reject(staging),
        )
    check_counts(staging, progress)


def _remove_unfinished(folder: Path, n_files: int) -> list[Path]:
    """Remove all but the finished files of an interrupted import; return those."""
    finished = [folder / f"{number:05d}.parquet" for number in range(n_files)]
    for path in set(folder.glob("*")) - set(finished):
        path.unlink()
    return finished


def _check_layout(staging: Path, src: Path, progress: ImportProgress) -> None:
    """Stop if some JSON has an unknown structure while no post was found at all."""
    if progress.n_unknown_wrappers:
        raise LayoutError(
            f"{src} has another layout: {first_reject(staging, is_unknown_wrapper=True)}",
            allowed=_layout_names(),
        )


def _move_into_place(staging: Path, dest: Path, summary: ImportSummary, digest: str) -> None:
    """Publish the complete import; every step can be repeated after a crash."""
    posts = staging / POSTS_FOLDER
    try:
        with (
            atomic_write(dest / REJECTS_FILE) as temporary,
            parquet_writer(temporary, REJECTS) as out,
        ):
            for part in sorted((staging / "rejects").glob("*.parquet")):
                out.write_table(read_table(part, REJECTS))
        (dest / MANIFEST).unlink(missing_ok=True)
        discard_appended(dest)
        details = [read_table(p) for p in sorted((staging / VIDEOS_FOLDER).glob("*.parquet"))]
        write_video_details(details, dest / VIDEOS_FILE)
        if posts.exists():
            if (dest / POSTS_FOLDER).exists():
                shutil.rmtree(staging / "replaced", ignore_errors=True)
                (dest / POSTS_FOLDER).rename(staging / "replaced")
            posts.rename(dest / POSTS_FOLDER)
    except OSError as error:
        raise StorageError(f"cannot move the import into {dest}: {error.strerror}") from error
    with atomic_write(dest / MANIFEST) as temporary:
        temporary.write_text(summary.to_json(digest), encoding="utf-8")
