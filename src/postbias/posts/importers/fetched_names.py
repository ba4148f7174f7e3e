"""Names of the image files that `postbias fetch-images` writes."""

from __future__ import annotations

import hashlib
import re

# 128 bits: two addresses never share a name.
_N_DIGITS = 32
_FETCHED_STEM = re.compile(rf"[0-9a-f]{{{_N_DIGITS}}}")


def fetched_stem(address: str) -> str:
    """Return the file name of a fetched image, without its suffix.

    Args:
        address: The address, exactly as in the table.

    Returns:
        The first digits of its SHA-256.
    """
    return hashlib.sha256(address.encode(errors="surrogatepass")).hexdigest()[:_N_DIGITS]


def is_fetched_stem(stem: str) -> bool:
    """Tell whether a file name without its suffix may be that of a fetched image."""
    return _FETCHED_STEM.fullmatch(stem) is not None
