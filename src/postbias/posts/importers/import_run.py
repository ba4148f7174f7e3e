"""An import from beginning to end: open the export, write parts, move the whole into place.

All is written to `DEST/.import/` and takes its place when it is complete: `DEST/posts/`,
`DEST/rejects.parquet`, and last `DEST/import.json`, which says what was imported.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from postbias.errors import (
    CorpusError,
    CountsError,
    InputError,
    LayoutError,
    PostbiasError,
    StorageError,
)
from postbias.posts.importers import influencer_brand, instaloader
from postbias.posts.importers import instagram_pages as pages
from postbias.posts.importers import tables as table
from postbias.posts.importers.import_progress import PROGRESS, Progress, Records, SeenIds
from postbias.posts.importers.import_summary import (
    MANIFEST,
    POSTS_FOLDER,
    REJECTS_FILE,
    ImportSummary,
    find_done,
)
from postbias.posts.importers.part_writer import Background, write_part
from postbias.posts.importers.records import Source
from postbias.posts.importers.tables import Columns
from postbias.posts.schema import REJECTS
from postbias.posts.shards import count_rows, read_table, atomic_write, parquet_writer

logger = logging.getLogger(__name__)

#: Raised when the same export would give other bytes.
_FORMAT = 1

STAGING = ".import"


@dataclass(frozen=True, slots=True)
class Layout:
    """A known layout of an export.

    Attributes:
        describes: One line for people.
        read: Opens an export of this layout; columns are for tables only.
    """

    describes: str
    read: Callable[[Path, Columns], Source]


#: The closed choice of layouts.
LAYOUTS: dict[str, Layout] = {
    "influencer-brand": Layout(
        "folder with post_info.txt, json/ and image folders (Kim et al., WSDM 2021)",
        lambda src, _columns: influencer_brand.read(src),
    ),
    "instaloader": Layout(
        "folders of *_UTC.json(.xz), *_UTC.txt and images, as Instaloader leaves them",
        lambda src, _columns: instaloader.read(src),
    ),
    "graphql": Layout(
        "JSON pages or single posts of Instagram's GraphQL interface, a file or a folder",
        lambda src, _columns: pages.read_graphql(src),
    ),
    "api-v1": Layout(
        "JSON pages or single posts of Instagram's mobile interface, a file or a folder",
        lambda src, _columns: pages.read_api_v1(src),
    ),
    "table": Layout(
        "CSV, TSV, JSONL or Parquet file with a caption column and image paths",
        table.read,
    ),
}


def import_posts(
    layout: str, src: Path, dest: Path, *, columns: Columns | None = None, replace: bool = False
) -> ImportSummary:
    """Import an export into post shards and a table of rejects.

    Interrupted, it goes on where it stopped when it is called again, and ends in the same bytes.

    Args:
        layout: A key of `LAYOUTS`.
        src: The export.
        dest: The folder that receives `posts/`, `rejects.parquet` and `import.json`.
        columns: The column names of a table; the usual ones if not given.
        replace: Whether posts of another import in `dest` may be replaced.

    Returns:
        What it gave.

    Raises:
        LayoutError: If the layout is unknown, or the export is of another one.
        InputError: If `src` cannot be read, or `dest` has posts of another import.
        CorpusError: If no post could be imported.
        CountsError: If rows were lost or came twice.
        StorageError: If `dest` cannot be written.
    """
    if layout not in LAYOUTS:
        raise LayoutError("unknown layout", seen=layout, allowed=_names())
    if src.is_dir() and dest.resolve().is_relative_to(src.resolve()):
        raise InputError("DEST lies inside SRC", seen=str(dest), do="choose a folder outside")
    columns = columns or Columns()
    source = LAYOUTS[layout].read(src, columns)
    named = [_FORMAT, layout, source.digest, asdict(columns) if layout == "table" else None]
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
    staging = dest / STAGING
    with _alone(staging):
        if done := find_done(dest, digest):
            return done
        progress = Progress.load(staging / PROGRESS, digest)
        if not progress.is_complete:
            _refuse_others(dest, replace=replace)
            _write_parts(source, src, staging, progress)
        summary = _summary(layout, progress)
        _move_into_place(staging, dest, summary, digest)
    return summary


def _names() -> str:
    return ", ".join(LAYOUTS)


def _summary(layout: str, progress: Progress) -> ImportSummary:
    return ImportSummary(
        layout=layout,
        n_posts=progress.n_posts,
        n_rejects=progress.reasons.total(),
        reasons=progress.reasons,
        n_images=progress.n_images,
        n_missing_images=progress.image_reasons.total(),
        image_reasons=progress.image_reasons,
        n_shards=progress.n_shards,
        is_new=True,
    )


@contextmanager
def _alone(staging: Path) -> Iterator[None]:
    """Hold the staging folder against a second import; remove it when nothing in it is of use."""
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
        raise InputError("another import is writing there", seen=str(staging.parent)) from error
    except PostbiasError:
        if not staging.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
            if not any(staging.parent.iterdir()):
                staging.parent.rmdir()
        raise
    Path(lock.lock_file).unlink(missing_ok=True)


def _refuse_others(dest: Path, *, replace: bool) -> None:
    existing = [name for name in (POSTS_FOLDER, REJECTS_FILE) if (dest / name).exists()]
    if existing and not replace:
        raise InputError(
            f"{dest} already has {' and '.join(existing)} of another import or of an export that "
            "has changed since",
            do="choose another DEST, or pass --replace",
        )


def _write_parts(source: Source, src: Path, staging: Path, progress: Progress) -> None:
    if progress.n_parts:
        logger.warning("going on with an interrupted import: %d posts done", progress.n_posts)
    _keep(staging / "rejects", progress.n_parts)
    seen = SeenIds(_keep(staging / POSTS_FOLDER, progress.n_shards))
    with (
        tqdm(total=source.n_units, desc="import", unit=" files", disable=None) as bar,
        Background() as background,
    ):
        records = Records(source, progress, bar)
        while records.head is not None:
            write_part(staging, records, progress, seen, background)
            if not progress.n_posts:
                background.wait()
                _refuse_other_layouts(staging, src, progress)
        background.wait()
    if not progress.n_posts:
        raise CorpusError(
            f"no post in {src} could be imported",
            seen=dict(progress.reasons) or "no post at all",
            do=_first_reject(staging),
        )
    _reconcile(staging, progress)


def _keep(folder: Path, n_files: int) -> list[Path]:
    """Remove all but the finished files of an interrupted import, temporary ones too."""
    finished = [folder / f"{number:05d}.parquet" for number in range(n_files)]
    for path in set(folder.glob("*")) - set(finished):
        path.unlink()
    return finished


def _refuse_other_layouts(staging: Path, src: Path, progress: Progress) -> None:
    """Stop if there is JSON but none of it is of this layout; a stray file is but a reject."""
    if progress.n_unknown_wrappers:
        raise LayoutError(
            f"{src} is of another layout: {_first_reject(staging, unknown_wrapper=True)}",
            allowed=_names(),
        )


def _first_reject(staging: Path, *, unknown_wrapper: bool = False) -> str | None:
    for part in sorted((staging / "rejects").glob("*.parquet")):
        for row in read_table(part, REJECTS).to_pylist():
            if not unknown_wrapper or "wrapper" in row["detail"] or "media node" in row["detail"]:
                return f"{row['source']}: {row['detail']}"
    return None


def _reconcile(staging: Path, progress: Progress) -> None:
    shards = sorted((staging / POSTS_FOLDER).glob("*.parquet"))
    rejects = sorted((staging / "rejects").glob("*.parquet"))
    counted = (count_rows(shards), count_rows(rejects))
    expected = (progress.n_posts, progress.reasons.total() + progress.image_reasons.total())
    if counted != expected:
        raise CountsError(
            "rows of posts and rejects on disk are not those that were read",
            seen=counted,
            allowed=expected,
            do=f"remove {staging} and import again",
        )


def _move_into_place(staging: Path, dest: Path, summary: ImportSummary, digest: str) -> None:
    """Let the complete import appear; every step can be done again after a crash."""
    written = staging / POSTS_FOLDER
    try:
        with (
            atomic_write(dest / REJECTS_FILE) as temporary,
            parquet_writer(temporary, REJECTS) as out,
        ):
            for part in sorted((staging / "rejects").glob("*.parquet")):
                out.write_table(read_table(part, REJECTS))
        (dest / MANIFEST).unlink(missing_ok=True)
        if written.exists():
            if (dest / POSTS_FOLDER).exists():
                shutil.rmtree(staging / "replaced", ignore_errors=True)
                (dest / POSTS_FOLDER).rename(staging / "replaced")
            written.rename(dest / POSTS_FOLDER)
    except OSError as error:
        raise StorageError(f"cannot move the import into {dest}: {error.strerror}") from error
    with atomic_write(dest / MANIFEST) as temporary:
        temporary.write_text(summary.manifest(digest), encoding="utf-8")
