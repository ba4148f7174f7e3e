"""Measure the extraction of frames against plain decoding of the same videos with PyAV.

    python benchmarks/video_frames.py [SECONDS]

Encodes a 720 x 1280 video of SECONDS (default 30) at 30 frames per second, with a key frame every
2 seconds and with a single one. The baseline decodes every frame and does nothing with it;
`extract_frames` finds four frames, compares them and writes them as JPEG files. Both run
alternately in this process; the last line is JSON. `video.speed_ratio` is the time of the baseline
divided by that of the extraction, for the slower of the two videos; exits with 1 if it is under
0.8.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np

from postbias.posts.file_kinds import FileKind
from postbias.posts.importers.media_converter import DEFAULT_FRAMES
from postbias.posts.importers.video_frames import extract_frames

LIMIT = 0.8
ROUNDS = 5
WIDTH, HEIGHT, FPS = 720, 1280, 30


def encode(seconds: int, gop: int) -> bytes:
    """Encode a moving texture with a new scene every 3 seconds."""
    rng = np.random.default_rng(0)
    scenes = [
        np.kron(rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3)), np.ones((16, 16, 1)))
        for _ in range(seconds // 3 + 1)
    ]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        for number in range(seconds * FPS):
            pixels = np.roll(scenes[number // (3 * FPS)], 4 * number, axis=0).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def decode_all(data: bytes) -> int:
    """Decode all frames, with one thread like the extraction."""
    with av.open(io.BytesIO(data), format="mov") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        return sum(1 for _ in container.decode(stream))


def compare(data: bytes) -> tuple[float, float]:
    """Time both alternately; return the best time of each in seconds."""
    baseline, extraction = [], []
    for _ in range(ROUNDS):
        baseline.append(_time(decode_all, data))
        extraction.append(
            _time(lambda d: extract_frames(io.BytesIO(d), FileKind.MOV, DEFAULT_FRAMES), data)
        )
    return min(baseline), min(extraction)


def _time(function: Callable[[bytes], object], data: bytes) -> float:
    start = time.perf_counter()
    function(data)
    return time.perf_counter() - start


def main() -> int:
    """Compare on both videos."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    ratios = {}
    for name, gop in (("key frame every 2 s", 2 * FPS), ("one key frame", seconds * FPS)):
        baseline, extraction = compare(encode(seconds, gop))
        ratios[name] = baseline / extraction
        print(
            f"{name}: decoding {baseline:.2f} s, extraction {extraction:.2f} s, "
            f"{seconds * FPS / extraction:.0f} frames of the video per s, ratio {ratios[name]:.2f}",
            file=sys.stderr,
        )
    slowest = min(ratios.values())
    print(
        json.dumps({"video": {"speed_ratio": slowest, "speed_ratio_seeking": max(ratios.values())}})
    )
    return int(slowest < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
