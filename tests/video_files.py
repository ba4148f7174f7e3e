"""Tiny videos for tests, made with PyAV: every second has a colour pattern of its own."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

#: Side of the checks of the pattern; even, and a multiple of the blocks of codecs.
WIDTH, HEIGHT, FPS = 160, 96, 10


_VP9 = {"deadline": "realtime", "cpu-used": "8"}
#: A frame of one colour.
BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

#: Options of `make_video` by the kind of file.
KINDS: dict[str, dict[str, Any]] = {
    "mp4": {},
    "mp4 with its index at the front": {"muxer": {"movflags": "faststart"}},
    "fragmented mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "mov": {"container": "mov"},
    "avi": {"container": "avi", "codec": "mpeg4"},
    "webm": {"container": "webm", "codec": "libvpx-vp9", "options": _VP9},
    "webm without duration": {
        "container": "webm",
        "codec": "libvpx-vp9",
        "options": _VP9,
        "muxer": {"live": "1"},
    },
    "mkv": {"container": "matroska"},
    "one key frame": {"gop": 1000},
    "10 bit": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "options": {"x265-params": "log-level=none"},
    },
}


def scene(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw scene `number`: a bright bar whose position and colour depend on it, top left white."""
    image = np.full((height, width, 3), 40, np.uint8)
    left = (number % 8) * width // 8
    image[:, left : left + width // 8] = ((250, 60, 60), (60, 250, 60), (60, 60, 250))[number % 3]
    image[: height // 4, : width // 4] = 255
    return image  # (H, W, 3)


def make_video(
    *,
    container: str = "mp4",
    codec: str = "libx264",
    seconds: float = 4,
    gop: int = 10,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: int | None = None,
    pixel_ratio: int = 1,
    pixel_format: str = "yuv420p",
    frames: list[np.ndarray] | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> bytes:
    """Encode a video of scene 0, 1, 2 ..., a second each, or of given frames.

    Args:
        container: Format of the file.
        codec: Encoder.
        seconds: Duration.
        gop: Frames between key frames.
        size: Width and height.
        rotation: Degrees counterclockwise that its metadata asks a player to turn it by.
        pixel_ratio: Width of a pixel divided by its height, in the metadata.
        pixel_format: Pixel format of the encoder.
        frames: Frames to encode instead of scenes. (H, W, 3)
        options: Options of the encoder.
        muxer: Options of the container.

    Returns:
        The file's bytes.
    """
    if frames is None:
        frames = [scene(n // FPS, *size) for n in range(round(seconds * FPS))]
    with (
        tempfile.TemporaryDirectory() as folder,  # the index can be moved to the front in a file
        av.open(path := f"{folder}/v", "w", format=container, options=muxer or {}) as out,
    ):
        stream: Any = out.add_stream(codec, rate=FPS, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.gop_size = gop
        stream.thread_count = 1
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_ratio)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        out.close()
        return Path(path).read_bytes()


def make_audio() -> bytes:
    """Encode one second of silence, as an MP4 file without video."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def make_heif(number: int = 2) -> bytes:
    """Encode a scene as a HEIF image."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene(number))).save(buffer, quality=90)
    return buffer.getvalue()


def noise_frames(n_frames: int) -> list[np.ndarray]:
    """Draw frames that compress badly, so that bytes are spread evenly over time."""
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 255, (n_frames, HEIGHT, WIDTH, 3), dtype=np.uint8))


def read_pixels(data: bytes) -> np.ndarray:
    """Decode a JPEG file with plain Pillow."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
