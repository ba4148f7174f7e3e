"""Any bytes decode to an array or raise UnreadableImageError, never anything else."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from postbias.errors import UnreadableImageError
from postbias.posts.images import FORMATS, decode_square
from postbias.posts.reasons import RejectReason

_NOISE = np.random.default_rng(7).integers(0, 255, (40, 48, 4), dtype=np.uint8)


def _valid_files() -> list[bytes]:
    files = []
    for kind in FORMATS:
        modes = ("RGB", "L") if kind in {"JPEG", "BMP"} else ("RGB", "RGBA", "L", "P")
        for mode in modes:
            image = Image.fromarray(_NOISE).convert("RGB").convert(mode)
            buffer = io.BytesIO()
            exif = {"exif": Image.Exif().tobytes()} if kind in {"JPEG", "PNG", "WEBP"} else {}
            image.save(buffer, kind, **exif)
            files.append(buffer.getvalue())
    return files


_VALID_FILES = _valid_files()


def _outcome(data: bytes) -> str:
    try:
        pixels = decode_square(data, 32)
    except UnreadableImageError as error:
        return f"{RejectReason(error.reason)}: {error.detail}"
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    return "ok"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_rejected_and_never_crash(data: bytes) -> None:
    assert _outcome(data) != "ok"


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]), st.binary())
@settings(max_examples=200, deadline=None)
def test_random_bytes_after_a_valid_signature_never_crash(magic: bytes, rest: bytes) -> None:
    assert _outcome(magic + rest) != "ok"


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_VALID_FILES)))
    edits = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=12)
    # Damaged headers cause the most unusual exceptions: half of the edits go there.
    near = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=12)
    for at, value in [*draw(edits), *draw(near)]:
        data[at] = value
    cut = draw(st.one_of(st.none(), st.integers(1, len(data))))
    return bytes(data[:cut])


@given(_mutated())
@settings(max_examples=600, deadline=None)
def test_mutated_images_are_decoded_or_rejected_and_never_crash(data: bytes) -> None:
    assert _outcome(data) == _outcome(data)
