"""Records that importers produce: one per post, either imported or rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from postbias.posts.file_kinds import FileKind
from postbias.posts.reasons import RejectReason


class RecordError(Exception):
    """A post or file cannot be imported; importers turn this into a reject.

    Attributes:
        reason: The reject's reason.
        detail: One line for people.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        """Compose the message from reason and detail."""
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class UnknownWrapperError(RecordError):
    """Valid JSON whose structure the layout does not know."""

    def __init__(self, detail: str) -> None:
        """Set the reason `BROKEN_FILE`."""
        super().__init__(RejectReason.BROKEN_FILE, detail)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, not decoded.

    Attributes:
        data: Content of the file.
        path: Path relative to the export.
    """

    data: bytes
    path: str


@dataclass(frozen=True, slots=True)
class MediaFile(ImageFile):
    """A video or HEIF image, which `MediaConverter` replaces by JPEG images.

    Attributes:
        kind: What it is.
        file: The file on disk; None if `data` is its content.
    """

    kind: FileKind
    file: str | None = None


@dataclass(frozen=True, slots=True)
class ImageFault:
    """An image that a post refers to but that could not be read.

    Attributes:
        reason: The reject's reason.
        detail: One line for people.
    """

    reason: RejectReason
    detail: str


def split_images(
    images: Iterable[ImageFile | ImageFault],
) -> tuple[tuple[ImageFile, ...], tuple[ImageFault, ...]]:
    """Separate the images that were read from those that could not be read."""
    images = list(images)
    return (
        tuple(image for image in images if isinstance(image, ImageFile)),
        tuple(image for image in images if isinstance(image, ImageFault)),
    )


@dataclass(frozen=True, slots=True)
class ImportedPost:
    """One post, with the columns of `postbias.posts.schema.POSTS`.

    Attributes:
        post_id: Unique id.
        author: Who published it.
        caption: Text; "" if there is none.
        source: File or row, relative to the export.
        platform: Where it was published.
        images: Images in order.
        image_faults: Images that it refers to but that could not be read.
        sponsored: Whether it is paid for, if known.
        posted_at_us: Microseconds since 1970 (UTC), if known.
        likes: Number of likes, if known.
        comments: Number of comments, if known.
        media_type: `image`, `video` or `carousel`, if known.
        emptied_cells: Fields whose value in the export was invalid and is left out.
    """

    post_id: str
    author: str
    caption: str
    source: str
    platform: str
    images: tuple[ImageFile, ...] = ()
    image_faults: tuple[ImageFault, ...] = ()
    sponsored: bool | None = None
    posted_at_us: int | None = None
    likes: int | None = None
    comments: int | None = None
    media_type: str | None = None
    emptied_cells: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Approximate size in a shard."""
        n_bytes = len(self.caption)
        for image in self.images:
            n_bytes += len(image.data)
        return n_bytes


@dataclass(frozen=True, slots=True)
class ImportReject:
    """A post, or a file with an unknown number of posts, that could not be imported.

    Attributes:
        source: File or row, relative to the export.
        post_id: The post's id, if it could be read.
        reason: Why it was rejected.
        detail: One line for people.
        is_unknown_wrapper: Whether it is valid JSON of unknown structure.
    """

    source: str
    post_id: str | None
    reason: RejectReason
    detail: str
    is_unknown_wrapper: bool = False

    @classmethod
    def from_error(
        cls, error: RecordError, source: str, post_id: str | None = None
    ) -> ImportReject:
        """Convert an error to a reject."""
        is_unknown = isinstance(error, UnknownWrapperError)
        return cls(source, post_id, error.reason, error.detail, is_unknown)


Record = ImportedPost | ImportReject

#: Reads one file, row or group of files. Cheap to create, so that a resumed import can skip it.
ReadUnit = Callable[[], Iterable[Record]]


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was opened by its layout; its units always come in the same order.

    Attributes:
        digest: Covers the content of tables, and names and sizes of other files.
        n_units: Number of units for the progress bar; None if unknown.
        units: Iterates over the units from the first one.
    """

    digest: str
    n_units: int | None
    units: Callable[[], Iterator[ReadUnit]]
