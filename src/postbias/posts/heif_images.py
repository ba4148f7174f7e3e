"""HEIF images, which Pillow reads with an extra only."""

from __future__ import annotations

from postbias.errors import UnreadableImageError
from postbias.posts.reasons import RejectReason


def register_heif() -> None:
    """Add HEIF to Pillow's formats.

    Raises:
        UnreadableImageError: If the extra `heif` is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise UnreadableImageError(
            RejectReason.MISSING_EXTRA, "a HEIF image; to read it: pip install 'postbias[heif]'"
        ) from error
    pillow_heif.register_heif_opener()
