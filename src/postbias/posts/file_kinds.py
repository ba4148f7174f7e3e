"""Recognise images by their first bytes, and those to convert: videos and HEIF images.

The name of a file does not tell its kind: exports contain videos named `.jpg`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO


class FileKind(StrEnum):
    """A kind of file that is converted to JPEG at import; a video's value names its demuxer."""

    MOV = "mov"  # MP4, QuickTime and 3GP
    MATROSKA = "matroska"  # and WebM
    AVI = "avi"
    HEIF = "heif"

    @property
    def is_video(self) -> bool:
        """Whether it is a container of videos; it may hold audio only."""
        return self is not FileKind.HEIF


# Brands of ISO/IEC 23008-12 (HEIF), and those of AVIF, which Pillow decodes by itself.
_HEIF = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_AVIF = {b"avif", b"avis"}
_ANY_CODEC = {b"mif1", b"mif2", b"msf1", b"miaf"}

# First boxes of QuickTime files written before `ftyp` existed.
_QUICKTIME_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_MAX_BRANDS_BYTES = 256

# JPEG, PNG, GIF, BMP and TIFF.
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def recognise_kind(head: bytes) -> FileKind | None:
    """Recognise a video or a HEIF image.

    Args:
        head: The file's bytes, or at least its first 256.

    Returns:
        The kind; None for everything else, AVIF images included.
    """
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return FileKind.MATROSKA
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return FileKind.AVI
    box = head[4:8]
    if box == b"ftyp":
        return _recognise_brand(head)
    return FileKind.MOV if box in _QUICKTIME_BOXES and len(head) > 8 else None


def _recognise_brand(head: bytes) -> FileKind | None:
    size = min(int.from_bytes(head[:4], "big"), len(head), _MAX_BRANDS_BYTES)
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if major in _AVIF or (major in _ANY_CODEC and brands & _AVIF):
        return None
    return FileKind.HEIF if major in _HEIF | _ANY_CODEC else FileKind.MOV


def is_video(head: bytes) -> bool:
    """Tell whether a file is a video, from its first 256 bytes."""
    kind = recognise_kind(head)
    return kind is not None and kind.is_video


def looks_like_image(head: bytes) -> bool:
    """Tell whether a file is an image or a video.

    Args:
        head: The file's bytes, or at least its first 256.

    Returns:
        Whether its first bytes are those of a format with images, also of one that is not decoded.
    """
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return is_webp or head[4:8] == b"ftyp" or head.startswith(_IMAGES) or bool(recognise_kind(head))


def is_cut_off(file: BinaryIO, kind: FileKind) -> bool:
    """Tell whether a video ends before its parts do, as after an interrupted download.

    Args:
        file: The video, seekable.
        kind: Its container.

    Returns:
        Whether bytes are missing at its end; always False for Matroska and HEIF.
    """
    end = file.seek(0, 2)
    if kind is FileKind.AVI:
        file.seek(4)
        return int.from_bytes(file.read(4), "little") + 8 > end
    if kind is not FileKind.MOV:
        return False
    at = 0
    while at < end:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:  # the size follows as 64 bits
            size = int.from_bytes(header[8:16], "big")
        elif size == 0:  # up to the end of the file
            return False
        if size < 8:
            return True
        at += size
    return at > end
