"""Read the frames of a video at ascending times, decoding as little as possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from postbias.errors import UnreadableImageError
from postbias.posts.file_kinds import FileKind
from postbias.posts.images import MAX_PIXELS
from postbias.posts.reasons import RejectReason

#: Longest video; at this length a frame stands for an hour, which says little of a post.
MAX_DURATION_S = 4 * 3600

# Packets that cannot be decoded, after which the rest of a video is not tried.
_MAX_ERRORS = 100

# Without an index of key frames, a seek pays off only over a distance longer than that of most key
# frames.
_SEEK_S = 10.0

_MICROSECONDS = 1_000_000


@contextmanager
def open_video(file: str | BinaryIO, kind: FileKind) -> Iterator[VideoReader]:
    """Open a video; errors of FFmpeg become an `UnreadableImageError`.

    Args:
        file: Path or content of a video.
        kind: Its container. FFmpeg does not guess it, so no other demuxer (playlists, which name
            files and addresses) ever reads the file.

    Yields:
        A reader of its frames.

    Raises:
        UnreadableImageError: If there is no video stream, it is too long, or it cannot be read.
    """
    av.logging.set_level(None)
    name = f"file:{file}" if isinstance(file, str) else file
    options = {"protocol_whitelist": "file"} if isinstance(file, str) else {}
    try:
        with av.open(
            name, "r", format=kind.value, container_options=options, metadata_errors="ignore"
        ) as container:
            yield VideoReader(container)
    except av.FFmpegError as error:
        raise UnreadableImageError(RejectReason.DAMAGED, _describe(error)) from error


class VideoReader:
    """Reads frames at ascending times.

    Attributes:
        stream: The video stream.
        duration_s: Its duration: as stated in the file, else that of its packets.
        is_at_end: Whether a frame was asked for after the last one.
    """

    def __init__(self, container: InputContainer) -> None:
        """Choose the stream and find its duration.

        Args:
            container: The open video.

        Raises:
            UnreadableImageError: If there is no video stream or it is too long.
        """
        self._container = container
        self.stream = _choose_stream(container)
        # Frame threads deadlock on some damaged HEVC streams, and what they make of others differs
        # from run to run.
        self.stream.thread_type = "NONE"
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        base = self.stream.time_base
        self._base_s = float(base) if base else 1 / 30
        self._start = self.stream.start_time or 0
        self._frames: Iterator[VideoFrame] | None = None
        self._current: VideoFrame | None = None
        self._can_seek = True
        self._n_errors = 0
        self._last_error = ""
        self.is_at_end = False
        self.duration_s = self._find_duration_s()

    def time_s(self, frame: VideoFrame) -> float:
        """Return the time of a frame since the start of the video."""
        return max(0.0, (_timestamp(frame) - self._start) * self._base_s)

    def frame_at(self, time_s: float) -> VideoFrame | None:
        """Return the first frame at or after a time.

        Args:
            time_s: Time since the start, not before that of the last call.

        Returns:
            The frame; the last one if there is none so late; None if none can be decoded.
        """
        target = self._start + int(time_s / self._base_s)
        self._approach(target)
        while self._current is None or _timestamp(self._current) < target:
            frame = next(self._frames, None) if self._frames else None
            if frame is None:
                self.is_at_end = True
                return self._current
            if not frame.is_corrupt:
                self._current = frame
        return self._current

    def describe_failure(self) -> str:
        """Say in one line why there is no frame."""
        if self._last_error:
            return f"no frame can be decoded: {self._last_error}"
        return "a video without frames"

    def _approach(self, target: int) -> None:
        """Seek to the last key frame before a timestamp unless decoding on is faster."""
        if self._frames is None:
            self._frames = self._decode()
            position = self._start
        else:
            position = _timestamp(self._current) if self._current else self._start
        if self._can_seek and self._is_seek_faster(position, target):
            self._seek(target)

    def _is_seek_faster(self, position: int, target: int) -> bool:
        index = self.stream.index_entries
        if len(index):
            # The index is in decoding order, which starts before the first frame is shown.
            delay = max(0, self._start - index[0].timestamp)
            found = index.search_timestamp(target - delay, backward=True)
            return found >= 0 and index[found].timestamp > position
        return (target - position) * self._base_s > _SEEK_S

    def _seek(self, target: int) -> None:
        before = self._current
        try:
            self._container.seek(target, stream=self.stream, backward=True)
        except av.FFmpegError:
            self._can_seek = False
            return
        self._frames = self._decode()
        frame = next(self._frames, None)
        if frame is not None:
            if target > self._start and before and _timestamp(frame) <= _timestamp(before):
                self._can_seek = False  # it went back: key frames are rarer than seeks
            self._current = frame

    def _decode(self) -> Iterator[VideoFrame]:
        """Decode on from here; a packet that cannot be decoded is left out."""
        try:
            for packet in self._container.demux(self.stream):
                try:
                    yield from packet.decode()
                except av.FFmpegError as error:
                    self._last_error = _describe(error)
                    self._n_errors += 1
                    if self._n_errors > _MAX_ERRORS:
                        return
        except av.FFmpegError as error:  # the rest of the file cannot be read
            self._last_error = _describe(error)

    def _find_duration_s(self) -> float:
        stated = 0.0
        if self.stream.duration:
            stated = self.stream.duration * self._base_s
        elif self._container.duration:
            stated = self._container.duration / _MICROSECONDS
        if stated <= 0:
            stated = self.measure_duration_s()
        if stated > MAX_DURATION_S:
            raise UnreadableImageError(
                RejectReason.TOO_LARGE,
                f"a video of {stated / 3600:.1f} hours, at most {MAX_DURATION_S / 3600:.0f}",
            )
        return stated

    def measure_duration_s(self) -> float:
        """Read all packets, without decoding: recordings of browsers state no duration."""
        last = self._start
        self._rewind()
        try:
            for packet in self._container.demux(self.stream):
                last = max(last, packet.pts or packet.dts or last)
        except av.FFmpegError as error:
            self._last_error = _describe(error)
        self._rewind()
        return (last - self._start) * self._base_s

    def _rewind(self) -> None:
        with suppress(av.FFmpegError):  # then the file is read on from where it is
            self._container.seek(self._start, stream=self.stream, backward=True)
        self._frames = self._current = None


def _choose_stream(container: InputContainer) -> VideoStream:
    """Choose the first video stream that is not a cover image."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise UnreadableImageError(RejectReason.UNKNOWN_FORMAT, "a video of unknown codec")
            return stream
    kinds = ", ".join(sorted({str(stream.type) for stream in container.streams}))
    raise UnreadableImageError(RejectReason.NO_FRAMES, f"a file with streams of {kinds or 'none'}")


def _timestamp(frame: VideoFrame) -> int:
    return next((stamp for stamp in (frame.pts, frame.dts) if stamp is not None), 0)


def _describe(error: av.FFmpegError) -> str:
    return " ".join(str(error.strerror or type(error).__name__).split())[:160]
