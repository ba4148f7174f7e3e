"""Name the frames of videos: the path of a frame in a shard ends in its time, `reel.mp4#t=1.500`.

This is the syntax of W3C Media Fragments. The time is part of the path so that posts with frames
have the schema of all other posts.
"""

from __future__ import annotations

import re

_FRAME = re.compile(r".+#t=(\d+\.\d{3})", re.DOTALL)


def frame_path(path: str, time_s: float) -> str:
    """Compose the path of a frame.

    Args:
        path: Path of the video.
        time_s: Time of the frame, since the start of the video.

    Returns:
        The path in the shard.
    """
    return f"{path}#t={time_s:.3f}"


def frame_time_s(path: str | None) -> float | None:
    """Read the time of a frame.

    Args:
        path: Path of an image in a shard.

    Returns:
        The time in its video; None if the image is no frame.
    """
    match = _FRAME.fullmatch(path) if path and "#t=" in path else None
    return float(match[1]) if match else None


def escape_path(path: str) -> str:
    """Change the path of a published image that looks like that of a frame."""
    return path.replace("#", "%23") if frame_time_s(path) is not None else path
