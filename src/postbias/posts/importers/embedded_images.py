"""Images whose bytes are in a table or an archive, rather than in a file."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from postbias.posts.file_kinds import recognise_kind
from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.records import ImageFault, ImageFile, MediaFile
from postbias.posts.reasons import RejectReason

_DATA_URI = re.compile(r"data:[^,]*;base64,(.*)", re.IGNORECASE | re.DOTALL)

# URIs are shortened in details.
_MAX_CHARS = 120


def read_data_uri(uri: str) -> ImageFile | ImageFault:
    """Decode an image whose bytes are in a `data:` URI in base64."""
    match = _DATA_URI.fullmatch(uri)
    try:
        data = base64.b64decode(unquote(match[1]), validate=True) if match else b""
    except ValueError:
        data = b""
    if not data:
        return ImageFault(RejectReason.BROKEN_ROW, f"{uri[:_MAX_CHARS]}: no base64 data")
    return check_image_bytes(data, "")


def check_image_bytes(data: bytes, path: str) -> ImageFile | ImageFault:
    """Check the size of an image, and recognise a video or a HEIF image."""
    if len(data) > MAX_BYTES:
        return ImageFault(RejectReason.TOO_LARGE, f"{len(data)} bytes, over {MAX_BYTES}")
    kind = recognise_kind(data)
    return MediaFile(data, path, kind) if kind else ImageFile(data, path)
