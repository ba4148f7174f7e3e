"""Receive files into a temporary folder, under names that cannot lead out of it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from postbias.app.upload_limits import MAX_UPLOAD_BYTES, MAX_UPLOAD_FILES
from postbias.errors import InputError, StorageError

_MAX_NAME_BYTES = 200
_MAX_DEPTH = 8
_FORBIDDEN = frozenset('<>:"|?*\\')


@dataclass(slots=True)
class Upload:
    """Files that belong together.

    Attributes:
        folder: What was received, in `files/`, and everything that is made of it.
        name: Name of the first file, to show.
        n_files: Files received.
        n_bytes: Bytes received.
    """

    folder: Path
    name: str = ""
    n_files: int = 0
    n_bytes: int = 0

    @property
    def files(self) -> Path:
        """Folder of the files as they were sent."""
        return self.folder / "files"

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store one file.

        Args:
            name: Its name, or its path in the folder that was sent.
            chunks: Its content.

        Raises:
            InputError: If the name is not allowed, or there is too much.
            StorageError: If the disk is full.
        """
        path = self.files / clean_name(name)
        if self.n_files >= MAX_UPLOAD_FILES:
            raise InputError(
                "too many files", seen=self.n_files + 1, allowed=f"up to {MAX_UPLOAD_FILES}",
                do="put the table and its images into one ZIP file",
            )  # fmt: skip
        self.n_files += 1
        self.name = self.name or path.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                async for chunk in chunks:
                    self.n_bytes += len(chunk)
                    if self.n_bytes > MAX_UPLOAD_BYTES:
                        raise _too_large()
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError("two files have the same name", seen=path.name) from error
        except OSError as error:
            raise StorageError(
                f"the file cannot be stored: {error.strerror or error}", do="free disk space"
            ) from error


def _too_large() -> InputError:
    return InputError(
        "the files are too large",
        allowed=f"up to {MAX_UPLOAD_BYTES // 2**30} GiB together",
        do="score them with the command `postbias score`",
    )


def clean_name(name: str) -> str:
    """Check the name of a file that a browser sent.

    Args:
        name: A name, or a path with slashes.

    Returns:
        The same name, relative and without surprises.

    Raises:
        InputError: If it leads out of a folder, is hidden, or is not a name on all systems.
    """
    parts = name.split("/")
    is_allowed = len(parts) <= _MAX_DEPTH and all(_is_part(part) for part in parts)
    if not is_allowed:
        raise InputError(
            "the name of a file is not allowed",
            seen=name[:80],
            allowed="letters, digits and spaces, in folders, without .. and hidden files",
            do="rename the file",
        )
    return name


def _is_part(part: str) -> bool:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        return False
    return (
        0 < size <= _MAX_NAME_BYTES
        and part.isprintable()
        and not part.startswith(".")
        and part == part.strip()
        and not _FORBIDDEN & set(part)
    )


class UploadFolders:
    """All uploads of a session, by ids that cannot be guessed."""

    def __init__(self, root: Path) -> None:
        """Keep them in a folder, which the caller deletes."""
        self._root = root
        self._uploads: dict[str, Upload] = {}

    def create(self) -> str:
        """Create an upload, and return its id."""
        upload_id = secrets.token_hex(8)
        upload = Upload(self._root / upload_id)
        upload.files.mkdir(parents=True)
        self._uploads[upload_id] = upload
        return upload_id

    def find(self, upload_id: str) -> Upload:
        """Return an upload.

        Raises:
            InputError: If there is none.
        """
        if upload_id not in self._uploads:
            raise InputError("these files are no longer here", do="send them again")
        return self._uploads[upload_id]

    def remove(self, upload_id: str) -> None:
        """Delete an upload and everything that was made of it."""
        upload = self._uploads.pop(upload_id, None)
        if upload is not None:
            shutil.rmtree(upload.folder, ignore_errors=True)
