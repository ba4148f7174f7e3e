"""Extract frames of a video with PyAV.

The video is divided into parts of equal length. Of each part, the frame in its middle is taken. A
frame of a single colour (a fade) is replaced by the one at three quarters of the part; a frame that
equals an earlier one is left out. Times and choices depend on the file only.

Runs in the worker process of `postbias.posts.importers.media_converter`: files are untrusted, and
decoders of videos can crash or never return.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from PIL import Image

from postbias.errors import UnreadableImageError
from postbias.posts.file_kinds import FileKind
from postbias.posts.images import MAX_PIXELS, MIN_SIDE_PX
from postbias.posts.importers.video_reader import VideoReader, open_video
from postbias.posts.reasons import RejectReason

#: Longer side of stored frames. Instagram and TikTok show videos at 1080 x 1920 at most.
MAX_SIDE_PX = 1080

JPEG_QUALITY = 90

# Frames are compared as thumbnails in grey. A single colour has a standard deviation under 3 even
# after lossy compression; equal frames differ by less than 2 levels on average.
_THUMBNAIL_PX = 32
_MIN_DEVIATION, _MIN_DIFFERENCE = 3.0, 2.0

# Position of the frame in its part, and of its replacement if it has a single colour.
_SHARES = (0.5, 0.75)

# A video that ends before this share of its stated duration is divided again.
_MIN_SHARE = 0.9

# A wider or narrower pixel is damaged metadata.
_MAX_PIXEL_RATIO = 8
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class ExtractedFrame:
    """A frame of a video.

    Attributes:
        time_s: Time since the start of the video.
        data: The upright frame as a JPEG file.
        duration_s: Duration of the video.
    """

    time_s: float
    data: bytes
    duration_s: float


def extract_frames(file: str | BinaryIO, kind: FileKind, n_frames: int) -> list[ExtractedFrame]:
    """Extract frames in the order of their times.

    Args:
        file: Path or content of a video.
        kind: Its container.
        n_frames: Number of parts; at most one frame is taken of each.

    Returns:
        One to `n_frames` frames.

    Raises:
        UnreadableImageError: If there is no frame, or the video exceeds a limit.
    """
    with open_video(file, kind) as reader:
        _check_size(reader.stream.width, reader.stream.height)
        duration_s = reader.duration_s
        chosen = _choose(reader, duration_s, n_frames)
        if reader.is_at_end:
            end_s = reader.measure_duration_s()
            if end_s < _MIN_SHARE * duration_s:
                duration_s = end_s
                chosen = _choose(reader, duration_s, n_frames)
        return [
            ExtractedFrame(time_s, _to_jpeg(frame, reader.stream), duration_s)
            for time_s, frame in chosen
        ]


def _choose(
    reader: VideoReader, duration_s: float, n_frames: int
) -> list[tuple[float, VideoFrame]]:
    """Choose frames by time; only one of a single colour if there is no other."""
    chosen: list[tuple[float, VideoFrame]] = []
    thumbnails: list[np.ndarray] = []
    fallback = None
    for part in range(n_frames):
        for share in _SHARES:
            frame = reader.frame_at((part + share) / n_frames * duration_s)
            if frame is None:
                break
            fallback = fallback or (reader.time_s(frame), frame)
            thumbnail = _thumbnail(frame)  # (S, S)
            if thumbnail.std() < _MIN_DEVIATION:
                continue
            if all(np.abs(thumbnail - seen).mean() >= _MIN_DIFFERENCE for seen in thumbnails):
                chosen.append((reader.time_s(frame), frame))
                thumbnails.append(thumbnail)
            break
    if not chosen and fallback is None:
        raise UnreadableImageError(RejectReason.NO_FRAMES, reader.describe_failure())
    return chosen or ([fallback] if fallback else [])


def _thumbnail(frame: VideoFrame) -> np.ndarray:
    small = frame.reformat(_THUMBNAIL_PX, _THUMBNAIL_PX, "gray", interpolation=Interpolation.AREA)
    return small.to_ndarray().astype(np.float32)  # (S, S)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            f"a video of {width} x {height} px, at most {MAX_PIXELS} px are decoded",
        )


def _to_jpeg(frame: VideoFrame, stream: VideoStream) -> bytes:
    width, height = _target_size(frame, stream)
    image = _to_rgb(frame, width, height)
    turns = _quarter_turns(frame)
    if turns:
        image = image.transpose(
            (
                Image.Transpose.ROTATE_90,
                Image.Transpose.ROTATE_180,
                Image.Transpose.ROTATE_270,
            )[turns - 1]
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _target_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Compute the size of the frame with square pixels, shrunk to the maximum side."""
    _check_size(frame.width, frame.height)
    ratio = stream.sample_aspect_ratio
    width, height = float(frame.width), float(frame.height)
    if ratio and 1 / _MAX_PIXEL_RATIO <= ratio <= _MAX_PIXEL_RATIO:
        width *= float(ratio)
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    size = round(width * scale), round(height * scale)
    if min(size) < MIN_SIDE_PX:
        raise UnreadableImageError(
            RejectReason.TOO_SMALL,
            f"a video of {frame.width} x {frame.height} px, each side needs {MIN_SIDE_PX}",
        )
    return size


def _to_rgb(frame: VideoFrame, width: int, height: int) -> Image.Image:
    is_untagged_hd = frame.colorspace == _UNSPECIFIED and frame.height >= 720
    is_hdr = frame.color_trc in _HDR
    rgb = frame.reformat(
        width,
        height,
        "rgb24",
        src_colorspace=Colorspace.ITU709 if is_untagged_hd else None,  # as players assume
        interpolation=Interpolation.AREA,
        dst_color_trc=ColorTrc.IEC61966_2_1 if is_hdr else None,
        dst_color_primaries=ColorPrimaries.BT709 if is_hdr else None,
    )
    return Image.fromarray(rgb.to_ndarray())


def _quarter_turns(frame: VideoFrame) -> int:
    """Return the number of quarter turns counterclockwise that make the frame upright."""
    with suppress(ValueError, OverflowError):  # a damaged matrix has no angle
        return round(frame.rotation / 90) % 4
    return 0
