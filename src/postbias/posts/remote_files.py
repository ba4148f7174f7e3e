"""Files in an object store, named by URL, with the few methods of `Path` that scoring needs.

pyarrow's own clients do the work, so that no other package is needed: `s3://` for whatever speaks
S3 (tested), `gs://` for Google's (same code, not tested). Credentials, region and endpoint come
from the environment, as for the command lines of those stores, and are never part of a URL here.
An object appears whole or not at all. Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from postbias.errors import InputError, StorageError

#: What a URL of an object store begins with.
SCHEMES = ("s3://", "gs://")

_DO = "check URL, credentials and endpoint (AWS_ENDPOINT_URL), then run again: nothing is lost"


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or the prefix that objects share.

    Attributes:
        url: `s3://bucket/prefix/name`, without a slash at the end.
    """

    url: str

    @classmethod
    def parse(cls, text: str) -> ObjectPath:
        """Read a URL.

        Args:
            text: It begins with one of `SCHEMES`.

        Returns:
            The place.

        Raises:
            InputError: If it names no bucket, nothing in the bucket, or credentials.
        """
        parts = urlsplit(text)
        if "@" in parts.netloc:
            raise InputError("a URL holds credentials", do="give them in the environment")
        if parts.query or parts.fragment or not parts.netloc or not parts.path.strip("/"):
            raise InputError(
                "this URL names no object", seen=text, allowed="s3://BUCKET/PREFIX without ? and #"
            )
        return cls(f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}")

    def __str__(self) -> str:
        """Give the URL."""
        return self.url

    def __truediv__(self, name: str) -> ObjectPath:
        """Go down."""
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending, with its dot."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> ObjectPath:
        """Name a neighbour."""
        return ObjectPath(f"{self.url.rpartition('/')[0]}/{name}")

    def is_file(self) -> bool:
        """Say whether there is such an object."""
        return bool(self._type() == fs.FileType.File)

    def is_dir(self) -> bool:
        """Say whether there are objects below it."""
        return bool(self._type() == fs.FileType.Directory)

    def exists(self) -> bool:
        """Say whether it is one of the two."""
        return bool(self._type() != fs.FileType.NotFound)

    def iterdir(self) -> Iterator[ObjectPath]:
        """Give the objects right below it, by name."""
        selector = fs.FileSelector(self._key, allow_not_found=True)
        with self._told("list"):
            found = self._store.get_file_info(selector)
        for info in sorted(found, key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield self / info.base_name

    def opened(self) -> pa.NativeFile:
        """Open the object to read any part of it."""
        with self._told("read"):
            return self._store.open_input_file(self._key)

    def digest(self) -> str:
        """Name the content: by the store's own tag of it, so that nothing is downloaded for that.

        Returns:
            64 hexadecimal digits; other content, other digits.
        """
        with self.opened() as file:
            tag = (file.metadata() or {}).get("ETag")
            if tag is not None:
                text = f"{tag.decode('latin-1')} {file.size()}"
                return hashlib.sha256(text.encode()).hexdigest()
            with self._told("read"):
                return hashlib.file_digest(file, "sha256").hexdigest()

    def download(self, path: Path) -> None:
        """Copy the object into a local file."""
        with self.opened() as file, path.open("wb") as copy, self._told("read"):
            while chunk := file.read(2**24):
                copy.write(chunk)

    def upload(self, path: Path) -> None:
        """Put a local file in its place, whole: a reader sees the old content or the new.

        Args:
            path: The file.

        Raises:
            StorageError: If the store refuses it.
        """
        # Written at once from memory (mapped, not read): a fault on this side cannot end the upload
        # early, and on the other side an upload that was not completed leaves no object.
        size = path.stat().st_size
        with pa.memory_map(str(path)) if size else pa.BufferReader(b"") as file:
            self.write(file.read_buffer())

    def write(self, data: pa.Buffer) -> None:
        """Put bytes in its place, whole."""
        with self._told("write"):
            out = self._store.open_output_stream(self._key)
            out.write(data)
            out.close()

    def remove(self) -> None:
        """Remove the object and whatever lies below it; none is no error."""
        with self._told("remove"):
            kind = self._type()
            if kind == fs.FileType.File:
                self._store.delete_file(self._key)
            elif kind == fs.FileType.Directory:
                self._store.delete_dir(self._key)

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        """Give a local path whose file takes the object's place when the block ends without error.

        Yields:
            A path to write to.

        Raises:
            StorageError: If the store refuses it.
        """
        with TemporaryDirectory(prefix="postbias-") as folder:
            temporary = Path(folder) / self.name
            yield temporary
            self.upload(temporary)

    def _type(self) -> fs.FileType:
        with self._told("look at"):
            return self._store.get_file_info(self._key).type

    @property
    def _key(self) -> str:
        return self.url.partition("://")[2]

    @property
    def _store(self) -> fs.FileSystem:
        scheme, _, key = self.url.partition("://")
        return _store(f"{scheme}://{key.partition('/')[0]}")

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            why = " ".join(str(error).split())[:300]
            raise StorageError(f"cannot {verb} {self.url}: {why}", do=_DO) from error


@dataclass(frozen=True, slots=True)
class InMemoryFile:
    """A file whose bytes are at hand.

    Attributes:
        name: Where they came from.
        data: All of them.
    """

    name: str
    data: pa.Buffer

    def __str__(self) -> str:
        """Give the name."""
        return self.name

    def opened(self) -> pa.NativeFile:
        """Open it to read any part of it."""
        return pa.BufferReader(self.data)


#: Where a file or a folder may lie.
AnyPath = Path | ObjectPath


def parse_path(text: str) -> AnyPath:
    """Read what a user calls a place.

    Args:
        text: A path on this machine, or a URL that begins with one of `SCHEMES`.

    Returns:
        The place.

    Raises:
        InputError: If it is a URL that names no object, or one of another kind.
    """
    if text.startswith(SCHEMES):
        return ObjectPath.parse(text)
    if "://" in text:
        raise InputError(
            "a URL of no known kind", seen=f"{text.partition('://')[0]}://", allowed=SCHEMES
        )
    return Path(text)


def pyarrow_source(source: AnyPath | InMemoryFile) -> Path | pa.NativeFile:
    """Give what pyarrow's readers take.

    Args:
        source: A file, wherever it lies.

    Returns:
        The path of a local file; of another one, the opened file.
    """
    return source if isinstance(source, Path) else source.opened()


def content_digest(place: AnyPath) -> str:
    """Name the content of a file.

    Args:
        place: The file.

    Returns:
        64 hexadecimal digits: of its bytes, or of what the object store says of them.

    Raises:
        StorageError: If an object store cannot be asked.
    """
    if isinstance(place, ObjectPath):
        return place.digest()
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_to_local(place: AnyPath, path: Path) -> None:
    """Copy a file, wherever it lies, into a local one."""
    if isinstance(place, ObjectPath):
        place.download(path)
    else:
        path.write_bytes(place.read_bytes())


@lru_cache
def _store(bucket_url: str) -> fs.FileSystem:
    """Connect to the store of a bucket, once per process."""
    try:
        return fs.FileSystem.from_uri(bucket_url)[0]
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:300]
        raise StorageError(f"cannot reach {bucket_url}: {why}", do=_DO) from error
