"""Tell images and videos by their first bytes."""

from __future__ import annotations

#: Bytes that `media_suffix` needs.
HEAD_BYTES = 16

#: Suffixes of videos.
VIDEO_SUFFIXES = frozenset({".avi", ".mov", ".mp4", ".webm"})

_SIGNATURES = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"GIF87a", ".gif"),
    (0, b"GIF89a", ".gif"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"\x1aE\xdf\xa3", ".webm"),
    (8, b"WEBP", ".webp"),
    (8, b"AVI ", ".avi"),
    (4, b"ftypavi", ".avif"),
    (4, b"ftyphe", ".heic"),
    (4, b"ftypmif1", ".heic"),
    (4, b"ftypmsf1", ".heic"),
    (4, b"ftypqt  ", ".mov"),
    (4, b"ftyp", ".mp4"),
)


def media_suffix(head: bytes) -> str | None:
    """Return the suffix of an image or a video.

    Args:
        head: Its first `HEAD_BYTES` bytes, or all if it has fewer.

    Returns:
        The usual suffix of its format, with the dot; None for anything else.
    """
    for start, signature, suffix in _SIGNATURES:
        if head[start : start + len(signature)] == signature and (
            start != 8 or head[:4] == b"RIFF"
        ):
            return suffix
    # Two letters are a weak signature; the reserved bytes of a bitmap are 0.
    return ".bmp" if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" else None
