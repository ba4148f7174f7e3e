"""Hostile bytes: an array or an UnreadableImageError, nothing else, ever."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from postbias.errors import UnreadableImageError
from postbias.posts.images import FORMATS, decode
from postbias.posts.reasons import Reason

_NOISE = np.random.default_rng(7).integers(0, 255, (40, 48, 4), dtype=np.uint8)


def _seeds() -> list[bytes]:
    seeds = []
    for kind in FORMATS:
        modes = ("RGB", "L") if kind in {"JPEG", "BMP"} else ("RGB", "RGBA", "L", "P")
        for mode in modes:
            picture = Image.fromarray(_NOISE).convert("RGB").convert(mode)
            buffer = io.BytesIO()
            exif = {"exif": Image.Exif().tobytes()} if kind in {"JPEG", "PNG", "WEBP"} else {}
            picture.save(buffer, kind, **exif)
            seeds.append(buffer.getvalue())
    return seeds


_SEEDS = _seeds()


def _outcome(data: bytes) -> str:
    try:
        pixels = decode(data, 32)
    except UnreadableImageError as error:
        return f"{Reason(error.reason)}: {error.detail}"
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    return "ok"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_and_never_crash(data: bytes) -> None:
    assert _outcome(data) != "ok"


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]), st.binary())
@settings(max_examples=200, deadline=None)
def test_random_bytes_behind_a_true_signature_never_crash(magic: bytes, rest: bytes) -> None:
    assert _outcome(magic + rest) != "ok"


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    edits = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=12)
    # Headers are where the odd exceptions live: half of the edits go there.
    near = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=12)
    for at, value in [*draw(edits), *draw(near)]:
        data[at] = value
    cut = draw(st.one_of(st.none(), st.integers(1, len(data))))
    return bytes(data[:cut])


@given(_mutated())
@settings(max_examples=600, deadline=None)
def test_mutated_pictures_are_read_or_refused_and_never_crash(data: bytes) -> None:
    assert _outcome(data) == _outcome(data)
