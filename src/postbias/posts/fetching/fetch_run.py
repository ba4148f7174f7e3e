"""Fetch the images that a table names by address, so that an import finds them.

The files that are there tell what is done, as each is moved into place when it is complete: a
second run fetches what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pyarrow as pa
from filelock import FileLock, Timeout
from tqdm import tqdm

from postbias.errors import InputError, StorageError
from postbias.posts.fetching.address_tables import AddressRow, open_addresses
from postbias.posts.fetching.fetch_failures import FetchError, FetchLimits
from postbias.posts.fetching.fetch_summary import FETCH_REJECTS, FetchSummary
from postbias.posts.fetching.image_download import ImageDownloader
from postbias.posts.importers.fetched_names import fetched_stem
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.schema import REJECTS
from postbias.posts.shards import write_table

_LOCK, _TEMPORARY = ".fetch.lock", ".part"

# Images in progress per slot, waiting hosts included.
_QUEUED_PER_SLOT = 16


class _Wanted(NamedTuple):
    """An address and the first row that names it."""

    address: str
    source: str
    post_id: str | None


def fetch_images(
    table: Path,
    folder: Path,
    *,
    options: ReadingOptions | None = None,
    limits: FetchLimits | None = None,
) -> FetchSummary:
    """Fetch the images that a table names by address. Resumable: run again to continue.

    Args:
        table: The table.
        folder: The folder that receives the images and `fetch_rejects.parquet`; inside the folder
            of the table, where `postbias import table` searches images.
        options: Column names of the table, and its encoding if it is known.
        limits: What downloads may do.

    Returns:
        Counts of images and of addresses that failed.

    Raises:
        InputError: If the table cannot be read or names no addresses, or the folder is elsewhere.
        StorageError: If a file cannot be written.
    """
    _check_folder(table, folder)
    addresses = open_addresses(table, options or ReadingOptions())
    with _exclusive(folder):
        run = _FetchRun(table, folder, limits or FetchLimits())
        run.summary.command = addresses.command
        wanted = run.missing(addresses.rows)
        with tqdm(desc="fetch", unit=" images", disable=None) as bar:
            asyncio.run(run.fetch_all(wanted, bar))
        write_table(run.rejects(), folder / FETCH_REJECTS, REJECTS)
    summary = run.summary
    if not summary.n_addresses:
        raise InputError(
            f"no address in column {addresses.column}",
            seen=table.name,
            do="name the column that has the addresses: --column images=NAME",
        )
    return summary


def _check_folder(table: Path, folder: Path) -> None:
    root, path = table.parent.resolve(), folder.resolve()
    is_inside = path.is_relative_to(root)
    if not is_inside or any(part.startswith(".") for part in path.relative_to(root).parts):
        raise InputError(
            "FOLDER is not inside the folder of the table, or is hidden",
            seen=str(folder),
            do=f"choose a folder such as {table.parent / 'images'}; the import finds images there",
        )


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Create and lock the folder; remove what a killed run left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK).acquire(timeout=0):
            for path in folder.glob(f".*{_TEMPORARY}"):
                path.unlink()
            yield
        (folder / _LOCK).unlink(missing_ok=True)
    except Timeout as error:
        raise InputError("another run writes to FOLDER", seen=str(folder)) from error
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


class _FetchRun:
    """Progress of one run."""

    def __init__(self, table: Path, folder: Path, limits: FetchLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._present = {path.stem for path in folder.glob("[0-9a-f][0-9a-f]/*.*")}
        self._failed: list[tuple[int, _Wanted, FetchError]] = []
        self.summary = FetchSummary(table, folder)

    def missing(self, rows: Iterator[AddressRow]) -> Iterator[tuple[int, _Wanted]]:
        """Yield each address once, with its number, unless its file is there."""
        seen: set[bytes] = set()
        for row in rows:
            self.summary.other_schemes.update(row.other_schemes)
            for address in row.addresses:
                stem = fetched_stem(address)
                key = bytes.fromhex(stem)
                if key in seen:
                    continue
                seen.add(key)
                self.summary.n_addresses += 1
                if stem in self._present:
                    self.summary.n_present += 1
                else:
                    source = f"{self.summary.table.name}:{row.number}"
                    yield len(seen), _Wanted(address, source, row.post_id)

    async def fetch_all(self, wanted: Iterator[tuple[int, _Wanted]], bar: tqdm[NoReturn]) -> None:
        """Fetch in the order of the table, some at a time."""
        downloader = ImageDownloader(self._limits)
        queued = asyncio.Semaphore(_QUEUED_PER_SLOT * self._limits.concurrency)

        async def fetch(number: int, each: _Wanted) -> None:
            try:
                await self._fetch(downloader, each)
            except FetchError as error:
                self._failed.append((number, each, error))
            finally:
                queued.release()
                bar.update()

        try:
            async with asyncio.TaskGroup() as tasks:
                for number, each in wanted:
                    await queued.acquire()
                    tasks.create_task(fetch(number, each))
        except* OSError as errors:
            raise _first_error(errors) from None
        finally:
            await downloader.close()

    async def _fetch(self, downloader: ImageDownloader, each: _Wanted) -> None:
        stem = fetched_stem(each.address)
        temporary = self._folder / f".{stem}{_TEMPORARY}"
        try:
            done = await downloader.download(each.address, temporary)
            target = self._folder / stem[:2] / f"{stem}{done.suffix}"
            target.parent.mkdir(exist_ok=True)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        self.summary.n_fetched += 1
        self.summary.n_bytes += done.n_bytes

    def rejects(self) -> pa.Table:
        """Return the table of failed addresses, in the order of the table; count the reasons."""
        self._failed.sort(key=lambda failed: failed[0])
        rows = []
        for _, each, error in self._failed:
            reason, detail = str(error.reason), f"{each.address}: {error.detail}"
            self.summary.count_failure(reason, f"{each.source}: {detail}")
            rows.append(
                {
                    "source": each.source,
                    "post_id": each.post_id,
                    "stage": "fetch",
                    "reason": reason,
                    "detail": detail.encode(errors="replace").decode(),
                }
            )
        return pa.Table.from_pylist(rows, REJECTS)


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_error(first) if isinstance(first, BaseExceptionGroup) else first
