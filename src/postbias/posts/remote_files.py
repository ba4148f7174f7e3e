"""Read and write files in an object store, with the methods of `Path` that scoring needs.

Uses the clients in pyarrow: `s3://` for everything that speaks S3 (tested), `gs://` for Google
Cloud Storage (same code, untested). Credentials, region and endpoint come from the environment,
as for the command-line tools of those stores. Every object is written atomically.
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

#: Prefixes of supported URLs.
SCHEMES = ("s3://", "gs://")

_ADVICE = "check URL, credentials and endpoint (AWS_ENDPOINT_URL), then run again: nothing is lost"


# universal-pathlib with s3fs does not replace this class: a write that fails midway replaces the
# object by a truncated one, credentials in a URL are accepted and printed, listings are cached.
@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object in a store, or a prefix of objects (a folder).

    Attributes:
        url: `s3://bucket/prefix/name`, without a slash at the end.
    """

    url: str

    @classmethod
    def parse(cls, url: str) -> ObjectPath:
        """Parse a URL.

        Args:
            url: It starts with one of `SCHEMES`.

        Raises:
            InputError: If it has credentials, or does not name a bucket and an object in it.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:  # brackets in the host
            # Not shown: it may contain credentials.
            raise InputError(
                "a URL is not valid", allowed="s3://BUCKET/PREFIX without ? and #"
            ) from error
        if "@" in parts.netloc:
            raise InputError("a URL contains credentials", do="pass them in the environment")
        if parts.query or parts.fragment or not parts.netloc or not parts.path.strip("/"):
            raise InputError(
                "this URL names no object", seen=url, allowed="s3://BUCKET/PREFIX without ? and #"
            )
        return cls(f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}")

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    def __truediv__(self, name: str) -> ObjectPath:
        """Return an object in this folder."""
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """Everything after the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> ObjectPath:
        """Return another object in the same folder."""
        return ObjectPath(f"{self.url.rpartition('/')[0]}/{name}")

    def is_file(self) -> bool:
        """Tell whether there is an object with this name."""
        return bool(self._type() == fs.FileType.File)

    def is_dir(self) -> bool:
        """Tell whether there are objects with this prefix."""
        return bool(self._type() == fs.FileType.Directory)

    def exists(self) -> bool:
        """Tell whether it is a file or a folder."""
        return bool(self._type() != fs.FileType.NotFound)

    def iterdir(self) -> Iterator[ObjectPath]:
        """Iterate over the objects directly in this folder, sorted by name."""
        selector = fs.FileSelector(self._key, allow_not_found=True)
        with self._raise_storage_error("list"):
            infos = self._store.get_file_info(selector)
        for info in sorted(infos, key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield self / info.base_name

    def open(self) -> pa.NativeFile:
        """Open the object for random access."""
        with self._raise_storage_error("read"):
            return self._store.open_input_file(self._key)

    def digest(self) -> str:
        """Hash the content, or the store's ETag of it, so that nothing has to be downloaded."""
        with self.open() as file:
            tag = (file.metadata() or {}).get("ETag")
            if tag is not None:
                text = f"{tag.decode('latin-1')} {file.size()}"
                return hashlib.sha256(text.encode()).hexdigest()
            with self._raise_storage_error("read"):
                return hashlib.file_digest(file, "sha256").hexdigest()

    def download(self, path: Path) -> None:
        """Copy the object to a local file."""
        with self.open() as file, path.open("wb") as copy, self._raise_storage_error("read"):
            while chunk := file.read(2**24):
                copy.write(chunk)

    def upload(self, path: Path) -> None:
        """Replace the object with a local file, atomically.

        Raises:
            StorageError: If the store rejects it.
        """
        # One write of the mapped file: a local read error cannot end the upload early, and a store
        # discards an upload that was not completed.
        size = path.stat().st_size
        with pa.memory_map(str(path)) if size else pa.BufferReader(b"") as file:
            self.write(file.read_buffer())

    def write(self, data: pa.Buffer) -> None:
        """Replace the object with bytes, atomically."""
        with self._raise_storage_error("write"):
            out = self._store.open_output_stream(self._key)
            out.write(data)
            out.close()

    def remove(self) -> None:
        """Remove the object or folder, if it exists."""
        with self._raise_storage_error("remove"):
            file_type = self._type()
            if file_type == fs.FileType.File:
                self._store.delete_file(self._key)
            elif file_type == fs.FileType.Directory:
                self._store.delete_dir(self._key)

    @contextmanager
    def upload_on_exit(self) -> Iterator[Path]:
        """Upload a local file when the block ends without an error.

        Yields:
            A local path to write to; the file replaces the object.

        Raises:
            StorageError: If the store rejects it.
        """
        with TemporaryDirectory(prefix="postbias-") as folder:
            temporary = Path(folder) / self.name
            yield temporary
            self.upload(temporary)

    def _type(self) -> fs.FileType:
        with self._raise_storage_error("look up"):
            return self._store.get_file_info(self._key).type

    @property
    def _key(self) -> str:
        return self.url.partition("://")[2]

    @property
    def _store(self) -> fs.FileSystem:
        scheme, _, key = self.url.partition("://")
        return _connect(f"{scheme}://{key.partition('/')[0]}")

    @contextmanager
    def _raise_storage_error(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            message = " ".join(str(error).split())[:300]
            raise StorageError(f"cannot {verb} {self.url}: {message}", do=_ADVICE) from error


@dataclass(frozen=True, slots=True)
class InMemoryFile:
    """A file that was read into memory.

    Attributes:
        name: Path or URL it was read from.
        data: Its content.
    """

    name: str
    data: pa.Buffer

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def open(self) -> pa.NativeFile:
        """Open it for random access."""
        return pa.BufferReader(self.data)


#: A file or folder on this machine or in an object store.
AnyPath = Path | ObjectPath


def parse_path(text: str) -> AnyPath:
    """Parse a path from the command line.

    Args:
        text: A local path, or a URL that starts with one of `SCHEMES`.

    Raises:
        InputError: If it is any other URL, or a URL that names no object.
    """
    if text.startswith(SCHEMES):
        return ObjectPath.parse(text)
    if "://" in text:
        raise InputError(
            "unsupported kind of URL", seen=f"{text.partition('://')[0]}://", allowed=SCHEMES
        )
    return Path(text)


def pyarrow_source(source: AnyPath | InMemoryFile) -> Path | pa.NativeFile:
    """Return what pyarrow's readers accept: a local path, or any other file opened."""
    return source if isinstance(source, Path) else source.open()


def content_digest(path: AnyPath) -> str:
    """Hash the content of a file.

    Args:
        path: A file; in an object store, the digest covers the store's ETag of the content.

    Returns:
        64 hexadecimal digits.

    Raises:
        StorageError: If the object store cannot be reached.
    """
    if isinstance(path, ObjectPath):
        return path.digest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_to_local(source: AnyPath, path: Path) -> None:
    """Copy a file, local or in an object store, to a local path."""
    if isinstance(source, ObjectPath):
        source.download(path)
    else:
        path.write_bytes(source.read_bytes())


@lru_cache
def _connect(bucket_url: str) -> fs.FileSystem:
    """Connect to the store of a bucket, once per process."""
    try:
        return fs.FileSystem.from_uri(bucket_url)[0]
    except (OSError, pa.ArrowException) as error:
        message = " ".join(str(error).split())[:300]
        raise StorageError(f"cannot reach {bucket_url}: {message}", do=_ADVICE) from error
