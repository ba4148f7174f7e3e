"""What importers read and what they hand on: one record per post, kept or rejected.

Knows no layout and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from postbias.posts.reasons import RejectReason


class FaultError(Exception):
    """Why one post or file cannot be imported; never leaves the importers: it becomes a reject."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        """Remember the reason.

        Args:
            reason: The reject's reason.
            detail: One line for people.
        """
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class WrapperError(FaultError):
    """JSON that is sound but of no shape that the layout knows."""

    def __init__(self, detail: str) -> None:
        """Remember what was seen.

        Args:
            detail: One line for people.
        """
        super().__init__(RejectReason.BROKEN_FILE, detail)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file as it lay on disk, not decoded.

    Attributes:
        data: Its bytes.
        path: Where it lay, relative to the source.
    """

    data: bytes
    path: str


@dataclass(frozen=True, slots=True)
class PictureFault:
    """An image that a post names and that could not be taken along.

    Attributes:
        reason: Why.
        detail: One line for people.
    """

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class Post:
    """One post to write; the columns of `postbias.posts.schema.POSTS`.

    Attributes:
        post_id: Its id.
        author: Who published it.
        caption: Its text, "" if none.
        source: Where it came from, relative to the source.
        platform: Where it was published.
        pictures: Its images, in order.
        faults: Images it names that are not there.
        sponsored: Whether it is paid for, if known.
        posted_at_us: Microseconds since 1970 (UTC), if known.
        likes: Number of likes, if known.
        comments: Number of comments, if known.
        media_type: `image`, `video` or `carousel`, if known.
    """

    post_id: str
    author: str
    caption: str
    source: str
    platform: str
    pictures: tuple[Picture, ...] = ()
    faults: tuple[PictureFault, ...] = ()
    sponsored: bool | None = None
    posted_at_us: int | None = None
    likes: int | None = None
    comments: int | None = None
    media_type: str | None = None

    @property
    def n_bytes(self) -> int:
        """What the post weighs in a shard, about."""
        n_bytes = len(self.caption)
        for picture in self.pictures:
            n_bytes += len(picture.data)
        return n_bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """One post, or one file of unknown posts, that could not be imported.

    Attributes:
        source: The file or row, relative to the source.
        post_id: Its id, if it got as far as that.
        reason: Why.
        detail: One line for people.
        is_unknown_wrapper: Whether it was sound JSON of no known shape.
    """

    source: str
    post_id: str | None
    reason: RejectReason
    detail: str
    is_unknown_wrapper: bool = False

    @classmethod
    def of(cls, fault: FaultError, source: str, post_id: str | None = None) -> Reject:
        """Make a reject of a fault.

        Args:
            fault: What went wrong.
            source: The file or row.
            post_id: The post's id, if known.

        Returns:
            The reject.
        """
        is_unknown = isinstance(fault, WrapperError)
        return cls(source, post_id, fault.reason, fault.detail, is_unknown)


Record = Post | Reject

#: Reads one file, row or group of files; made cheaply, so that what is done can be skipped.
Unit = Callable[[], Iterable[Record]]


@dataclass(frozen=True, slots=True)
class Source:
    """An export, ready to be read in an order that never changes.

    Attributes:
        digest: Changes when the export does: its tables by content, its files by name and size.
        n_units: How many units there are, for the progress bar; unknown if None.
        units: Gives the units from the first one on.
    """

    digest: str
    n_units: int | None
    units: Callable[[], Iterator[Unit]]
