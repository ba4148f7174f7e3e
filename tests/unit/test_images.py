"""The decoding policy, against plain Pillow and against files of every kind."""

from __future__ import annotations

import csv
import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from postbias.errors import UnreadableImageError
from postbias.posts import images
from postbias.posts.images import MIN_SIDE_PX, decode, open_upright
from postbias.posts.reasons import Reason

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "images"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real images beside this checkout")

WHITE, RED = (255, 255, 255), (200, 30, 30)


def _gradient(width: int = 320, height: int = 200) -> Image.Image:
    """A picture whose four corners differ, so that a turn or a flip shows."""
    x = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    y = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def _bytes(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _reference(data: bytes, size: int) -> np.ndarray:
    """Decode the plain way, with none of the policy's code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = Image.open(io.BytesIO(data))
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        assert upright is not None
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        flat = Image.alpha_composite(white, layer).convert("RGB")
        return np.asarray(flat.resize((size, size), Image.Resampling.BILINEAR))


def _reason(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode(data, 64)
    return caught.value.reason


def _manifest() -> list[dict[str, str]]:
    with (REAL / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_allowed_format_decodes_like_plain_pillow(kind: str) -> None:
    data = _bytes(_gradient(), kind)
    pixels = decode(data, 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - _reference(data, 64)).mean() < 3


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PDF", "MPO"])
def test_other_formats_are_refused_unless_they_are_jpeg_inside(kind: str) -> None:
    data = _bytes(_gradient(), kind)
    if kind == "MPO":
        assert decode(data, 64).shape == (64, 64, 3)
    else:
        assert _reason(data) == Reason.UNKNOWN_FORMAT


def test_a_stereo_jpeg_gives_its_first_picture() -> None:
    flipped = _gradient().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = _bytes(_gradient(), "MPO", save_all=True, append_images=[flipped])
    assert np.abs(decode(data, 64).astype(int) - _reference(data, 64)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _bytes(_gradient(), kind, exif=exif)
    assert np.abs(decode(data, 64).astype(int) - _reference(data, 64)).mean() < 3
    size = (200, 320) if orientation > 4 else (320, 200)
    assert open_upright(data).size == size


def test_damaged_exif_does_not_cost_a_sound_picture() -> None:
    data = _bytes(_gradient(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert decode(data, 64).shape == (64, 64, 3)


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (64, 64), (*RED, 0))
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 128))
    keyed = Image.new("P", (64, 64), 1)
    keyed.putpalette([*RED, 10, 20, 30])
    grey_key = Image.fromarray(np.full((64, 64), 5000, np.uint16))
    assert (decode(_bytes(clear, "PNG"), 32) == 255).all()
    assert np.abs(decode(_bytes(half, "WEBP", lossless=True), 32).astype(int) - 127).max() <= 1
    assert (decode(_bytes(keyed, "GIF", transparency=1), 32) == 255).all()
    assert (decode(_bytes(grey_key, "PNG", transparency=5000), 32) == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :].repeat(64, 0)
    row = decode(_bytes(Image.fromarray(ramp), "PNG"), 64)[0, :, 0]
    assert np.abs(row.astype(int) - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "LA", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture = Image.new("RGB", (64, 64), WHITE).convert("P" if mode == "PA" else mode)
    assert (decode(_bytes(picture, kind), 32) >= 254).all()


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, WHITE)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = _bytes(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(decode(data, 32).astype(int) - RED).max() <= 8, kind


@pytest.mark.parametrize("kind", images.FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    data = _bytes(Image.fromarray(noise), kind)
    assert _reason(data[: int(len(data) * share)]) in {Reason.TRUNCATED, Reason.DAMAGED}


def test_limits_are_looked_at_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    side = int(images.MAX_PIXELS**0.5) + 1
    assert _reason(_bytes(Image.new("L", (side, side)), "PNG")) == Reason.TOO_LARGE
    assert _reason(_bytes(Image.new("L", (MIN_SIDE_PX - 1, 500)), "PNG")) == Reason.TOO_SMALL
    assert _reason(b"\xff\xd8\xff" + bytes(images.MAX_BYTES)) == Reason.TOO_LARGE


def test_pictures_that_pillow_only_warns_of_are_too_large_too() -> None:
    assert _reason(_bytes(Image.new("1", (10_000, 10_000)), "PNG")) == Reason.TOO_LARGE


def test_what_is_no_picture_is_named_so() -> None:
    assert _reason(b"") == Reason.TRUNCATED
    assert _reason(b"<html>403 Forbidden</html>") == Reason.UNKNOWN_FORMAT
    assert _reason(b"GIF89a\0\0") == Reason.DAMAGED


def test_the_same_fault_reads_the_same_every_time() -> None:
    said = set()
    for _ in range(2):
        with pytest.raises(UnreadableImageError) as caught:
            decode(b"GIF89a" + b"\xff" * 3, 64)
        said.add(caught.value.detail)
    assert len(said) == 1


@pytest.mark.parametrize("fault", [KeyError, MemoryError, RuntimeError, ZeroDivisionError])
def test_whatever_the_decoder_raises_becomes_one_error(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def load(_self: ImageFile.ImageFile) -> None:
        raise fault("odd")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    expected = Reason.TOO_LARGE if fault is MemoryError else Reason.DAMAGED
    assert _reason(_bytes(_gradient(), "JPEG")) == expected


def test_open_upright_keeps_proportions_and_never_enlarges() -> None:
    data = _bytes(_gradient(1200, 600), "JPEG")
    assert open_upright(data, max_side_px=300).size == (300, 150)
    assert open_upright(data, max_side_px=5000).size == (1200, 600)
    assert open_upright(data).mode == "RGB"


def test_warnings_are_silent_in_the_decoding_thread_and_nowhere_else() -> None:
    data = _bytes(Image.new("1", (10_000, 10_000)), "PNG")  # Pillow warns of a bomb
    inside = threading.Event()
    heard = []

    def warn_meanwhile() -> None:
        inside.wait(5)
        try:
            warnings.warn("mine", UserWarning, stacklevel=1)
        except UserWarning:
            heard.append(True)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = threading.Thread(target=warn_meanwhile)
        other.start()
        with images._quiet():
            warnings.warn("silenced", UserWarning, stacklevel=1)
            inside.set()
            other.join()
        assert _reason(data) == Reason.TOO_LARGE
        with pytest.raises(UserWarning):
            warnings.warn("mine again", UserWarning, stacklevel=1)
    assert heard == [True]


def test_pillow_keeps_its_settings() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decode(_bytes(_gradient(), "JPEG"), 32)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


@needs_real
def test_real_files_are_read_or_refused_as_the_manifest_says() -> None:
    # Its pixels are whole but its animation is not; Pillow says so only on the first load.
    either_way = {"pillow_apng_chunk_no_fctl.png"}
    wrong = []
    for row in _manifest():
        data = (REAL / row["file"]).read_bytes()
        try:
            is_ok = decode(data, 64).shape == (64, 64, 3)
        except UnreadableImageError:
            is_ok = False
        if is_ok != (row["pillow_result"] == "ok") and row["file"] not in either_way:
            wrong.append(row["file"])
    assert not wrong


@needs_real
def test_real_files_have_the_pixels_of_plain_pillow() -> None:
    far = {}
    for row in _manifest():
        if row["pillow_result"] != "ok" or row["exif_orientation"] == "ERR":
            continue
        data = (REAL / row["file"]).read_bytes()
        difference = np.abs(decode(data, 96).astype(int) - _reference(data, 96)).mean()
        # Draft mode shrinks a JPEG in two steps, which leaves it a little softer.
        if difference > (8 if row["format"] == "JPEG" else 1):
            far[row["file"]] = difference
    assert not far


@needs_real
def test_threads_and_order_change_nothing() -> None:
    files = [(REAL / row["file"]).read_bytes() for row in _manifest()][:60]

    def outcome(data: bytes) -> bytes | str:
        try:
            return decode(data, 32).tobytes()
        except UnreadableImageError as error:
            return error.reason

    alone = [outcome(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, reversed(files))) == alone[::-1]
