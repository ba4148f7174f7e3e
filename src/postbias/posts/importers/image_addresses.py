"""Tell the addresses of images from paths, and split them."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"(?:(?!file:)[a-z][a-z0-9+.-]+:)?//(?=[^/])|data:", re.IGNORECASE)


def is_address(reference: str) -> bool:
    """Tell whether a reference is a URL, other than `file:`."""
    return _ADDRESS.match(reference) is not None


@lru_cache(16)
def split_address(address: str) -> tuple[str, str]:
    """Return the path and the query of an address, also of an invalid one."""
    try:
        parts = urlsplit(address)
    except ValueError:  # urlsplit raises it for an invalid host
        path, _, query = address.partition("?")
        return path, query
    return parts.path, parts.query
