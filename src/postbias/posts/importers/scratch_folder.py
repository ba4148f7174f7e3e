"""Temporary folders for what is unpacked from containers."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from postbias.errors import InputError, StorageError

#: Limits of what a container may expand to: a multiple of its size, above a minimum.
MAX_EXPANSION, MIN_EXPANDED_BYTES = 200, 64 * 2**20


class ScratchFolder:
    """A temporary folder, removed with the last reference to it."""

    def __init__(self) -> None:
        """Create it where `TMPDIR` says."""
        try:
            self.path = Path(tempfile.mkdtemp(prefix="postbias-"))
        except OSError as error:
            raise StorageError(f"no temporary folder: {error}") from error
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class ExpansionLimit:
    """Counts what is unpacked from a container."""

    def __init__(self, container: Path) -> None:
        """Allow a multiple of its size."""
        self._name = container.name
        self._left = max(MIN_EXPANDED_BYTES, MAX_EXPANSION * container.stat().st_size)

    def add(self, n_bytes: int) -> None:
        """Count bytes.

        Raises:
            InputError: If they are too many for the size of the container.
        """
        self._left -= n_bytes
        if self._left < 0:
            raise InputError(
                f"{self._name} expands to more than {MAX_EXPANSION} times its size",
                do="unpack it yourself if you trust it, and name the table in it",
            )


def write_chunks(chunks: Iterable[bytes], path: Path, limit: ExpansionLimit) -> None:
    """Write an unpacked file.

    Args:
        path: The file; its folder is created.

    Raises:
        InputError: If the container expands too much.
        StorageError: If the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        out = path.open("wb")
    except OSError as error:
        raise _unwritable(path, error) from error
    with out:
        for chunk in chunks:
            limit.add(len(chunk))
            try:
                out.write(chunk)
            except OSError as error:
                raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        do="free space, or set TMPDIR to a folder on another disk",
    )
