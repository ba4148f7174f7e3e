"""Records that importers produce: one per post, either imported or rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from postbias.posts.file_kinds import FileKind
from postbias.posts.reasons import RejectReason


class RecordError(Exception):
    """A post or file cannot be imported; importers turn this into a reject.

    Attributes:
        reason: The reject's reason.
        detail: One line for people.
        n_lines: Number of lines of a text file that it covers.
    """

    def __init__(self, reason: RejectReason, detail: str, n_lines: int = 1) -> None:
        """Compose the message from reason and detail."""
        self.reason = reason
        self.detail = detail
        self.n_lines = n_lines
        super().__init__(f"{reason}: {detail}")


class UnknownWrapperError(RecordError):
    """Valid JSON whose structure the layout does not know."""

    def __init__(self, detail: str, reason: RejectReason = RejectReason.BROKEN_FILE) -> None:
        """Set the reason: `OTHER_LAYOUT` if another layout knows it."""
        super().__init__(reason, detail)


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
class FrameFile(ImageFile):
    """A frame of a video.

    Attributes:
        duration_s: Duration of the video; 0 if it is unknown.
    """

    duration_s: float = 0.0


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
    if not images:
        return (), ()
    return (
        tuple(image for image in images if isinstance(image, ImageFile)),
        tuple(image for image in images if isinstance(image, ImageFault)),
    )


@dataclass(slots=True)
class ImportedPost:
    """One post, with the columns of `postbias.posts.schema.POSTS`.

    Not frozen, which would take five times as long to create.

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
        duration_s: Duration of its video in seconds, if known.
        transcript: What is said in its video; "" if that is not known.
        encoding: Encoding of its file, for the summary; "" for UTF-8.
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
    duration_s: float | None = None
    transcript: str = ""
    encoding: str = ""

    @property
    def video_details(self) -> list[dict[str, str | float | None]]:
        """Its rows of `postbias.posts.video_details.VIDEO_DETAILS`: none if nothing is known."""
        if self.duration_s is None and not self.transcript:
            return []
        transcript = self.transcript or None
        row = {"post_id": self.post_id, "duration_s": self.duration_s, "transcript": transcript}
        return [row]

    @property
    def n_bytes(self) -> int:
        """Approximate size in a shard."""
        n_bytes = len(self.caption)
        if self.images:
            n_bytes += sum(len(image.data) for image in self.images)
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


def note_encoding(records: Iterable[Record], encoding: str) -> Iterable[Record]:
    """Add the encoding of their file to posts.

    Args:
        records: Posts and rejects of the file.
        encoding: Its encoding; "" for UTF-8.

    Returns:
        The records.
    """
    if not encoding:
        return records
    return (
        replace(record, encoding=encoding) if isinstance(record, ImportedPost) else record
        for record in records
    )


def read_noted(load: ReadUnit, encoding: str) -> Iterable[Record]:
    """Read a unit and add the encoding of its file to its posts."""
    return note_encoding(load(), encoding)


# More lines per row, or more lines in cells that look like rows, are not credible.
_MAX_LINES_PER_ROW, _MAX_ROW_LIKE_SHARE, _MIN_LINES = 50, 0.1, 100


@dataclass(slots=True)
class TextReading:
    """What was noticed while a text file was read; complete when all of its units were read.

    Attributes:
        encoding: Description of its encoding.
        notes: Remarks for the user, about the encoding or the header.
        n_lines: Lines of the rows so far.
        n_rows: Rows so far, with those that could not be read.
        n_row_like: Lines inside cells that look like rows.
    """

    encoding: str
    notes: list[str] = field(default_factory=list)
    n_lines: int = 0
    n_rows: int = 0
    n_row_like: int = 0

    @property
    def warning(self) -> str | None:
        """A warning if there are so few rows for the lines that quotes are probably damaged."""
        is_collapsed = self.n_lines > _MIN_LINES and self.n_lines > _MAX_LINES_PER_ROW * self.n_rows
        if not is_collapsed and self.n_row_like <= _MAX_ROW_LIKE_SHARE * self.n_rows:
            return None
        return (
            f"WARNING: {self.n_lines} lines became only {self.n_rows} rows, and {self.n_row_like} "
            "lines inside cells look like rows: a quote is probably missing; compare the number of "
            "posts with the export"
        )


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was opened by its layout; its units always come in the same order.

    Attributes:
        digest: Covers the content of tables, and names and sizes of other files.
        n_units: Number of units for the progress bar; None if unknown.
        units: Iterates over the units from the first one.
        reading: Remarks on a text file; filled while its units are iterated over.
    """

    digest: str
    n_units: int | None
    units: Callable[[], Iterator[ReadUnit]]
    reading: TextReading | None = None
