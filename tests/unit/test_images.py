"""The image decoder, compared with plain Pillow and tested on files of every kind."""

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
from postbias.posts.images import MIN_SIDE_PX, decode_square, decode_upright
from postbias.posts.reasons import RejectReason

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "images"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images in ../shared/real")

WHITE, RED = (255, 255, 255), (200, 30, 30)


def _gradient(width: int = 320, height: int = 200) -> Image.Image:
    """Make an image whose four corners differ, so that any rotation or flip is visible."""
    x = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    y = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _reference(data: bytes, size: int) -> np.ndarray:
    """Decode with plain Pillow, without any code under test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        image.load()
        upright = ImageOps.exif_transpose(image)
        assert upright is not None
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        flat = Image.alpha_composite(white, layer).convert("RGB")
        return np.asarray(flat.resize((size, size), Image.Resampling.BILINEAR))


def _reason(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_square(data, 64)
    return caught.value.reason


def _manifest() -> list[dict[str, str]]:
    with (REAL / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_allowed_format_decodes_like_plain_pillow(kind: str) -> None:
    data = _encode(_gradient(), kind)
    pixels = decode_square(data, 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - _reference(data, 64)).mean() < 3


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PDF", "MPO"])
def test_other_formats_are_rejected_unless_they_contain_jpeg(kind: str) -> None:
    data = _encode(_gradient(), kind)
    if kind == "MPO":
        assert decode_square(data, 64).shape == (64, 64, 3)
    else:
        assert _reason(data) == RejectReason.UNKNOWN_FORMAT


def test_only_the_first_image_of_a_stereo_jpeg_is_used() -> None:
    flipped = _gradient().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = _encode(_gradient(), "MPO", save_all=True, append_images=[flipped])
    assert np.abs(decode_square(data, 64).astype(int) - _reference(data, 64)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encode(_gradient(), kind, exif=exif)
    assert np.abs(decode_square(data, 64).astype(int) - _reference(data, 64)).mean() < 3
    size = (200, 320) if orientation > 4 else (320, 200)
    assert decode_upright(data).size == size


def test_damaged_exif_does_not_reject_an_intact_image() -> None:
    data = _encode(_gradient(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert decode_square(data, 64).shape == (64, 64, 3)


def test_transparency_is_composited_on_white() -> None:
    clear = Image.new("RGBA", (64, 64), (*RED, 0))
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 128))
    keyed = Image.new("P", (64, 64), 1)
    keyed.putpalette([*RED, 10, 20, 30])
    grey_key = Image.fromarray(np.full((64, 64), 5000, np.uint16))
    assert (decode_square(_encode(clear, "PNG"), 32) == 255).all()
    assert (
        np.abs(decode_square(_encode(half, "WEBP", lossless=True), 32).astype(int) - 127).max() <= 1
    )
    assert (decode_square(_encode(keyed, "GIF", transparency=1), 32) == 255).all()
    assert (decode_square(_encode(grey_key, "PNG", transparency=5000), 32) == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :].repeat(64, 0)
    row = decode_square(_encode(Image.fromarray(ramp), "PNG"), 64)[0, :, 0]
    assert np.abs(row.astype(int) - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "LA", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image = Image.new("RGB", (64, 64), WHITE).convert("P" if mode == "PA" else mode)
    assert (decode_square(_encode(image, kind), 32) >= 254).all()


def test_the_first_frame_of_an_animation_is_used() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, WHITE)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = _encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(decode_square(data, 32).astype(int) - RED).max() <= 8, kind


@pytest.mark.parametrize("kind", images.FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_rejected(kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    data = _encode(Image.fromarray(noise), kind)
    assert _reason(data[: int(len(data) * share)]) in {RejectReason.TRUNCATED, RejectReason.DAMAGED}


def test_limits_are_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    side = int(images.MAX_PIXELS**0.5) + 1
    assert _reason(_encode(Image.new("L", (side, side)), "PNG")) == RejectReason.TOO_LARGE
    assert _reason(_encode(Image.new("L", (MIN_SIDE_PX - 1, 500)), "PNG")) == RejectReason.TOO_SMALL
    assert _reason(b"\xff\xd8\xff" + bytes(images.MAX_BYTES)) == RejectReason.TOO_LARGE


def test_images_that_pillow_only_warns_about_are_too_large() -> None:
    assert _reason(_encode(Image.new("1", (10_000, 10_000)), "PNG")) == RejectReason.TOO_LARGE


def test_a_file_that_is_not_an_image_has_the_right_reason() -> None:
    assert _reason(b"") == RejectReason.TRUNCATED
    assert _reason(b"<html>403 Forbidden</html>") == RejectReason.UNKNOWN_FORMAT
    assert _reason(b"GIF89a\0\0") == RejectReason.DAMAGED


def test_the_same_error_has_the_same_detail_every_time() -> None:
    details = set()
    for _ in range(2):
        with pytest.raises(UnreadableImageError) as caught:
            decode_square(b"GIF89a" + b"\xff" * 3, 64)
        details.add(caught.value.detail)
    assert len(details) == 1


@pytest.mark.parametrize("error", [KeyError, MemoryError, RuntimeError, ZeroDivisionError])
def test_every_error_of_the_decoder_becomes_an_unreadable_image_error(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def load(_self: ImageFile.ImageFile) -> None:
        raise error("odd")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    expected = RejectReason.TOO_LARGE if error is MemoryError else RejectReason.DAMAGED
    assert _reason(_encode(_gradient(), "JPEG")) == expected


def test_decode_upright_keeps_the_aspect_ratio_and_never_enlarges() -> None:
    data = _encode(_gradient(1200, 600), "JPEG")
    assert decode_upright(data, max_side_px=300).size == (300, 150)
    assert decode_upright(data, max_side_px=5000).size == (1200, 600)
    assert decode_upright(data).mode == "RGB"


def test_warnings_are_suppressed_only_in_the_decoding_thread() -> None:
    data = _encode(Image.new("1", (10_000, 10_000)), "PNG")  # Pillow warns of a decompression bomb
    inside = threading.Event()
    raised = []

    def warn_meanwhile() -> None:
        inside.wait(5)
        try:
            warnings.warn("mine", UserWarning, stacklevel=1)
        except UserWarning:
            raised.append(True)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = threading.Thread(target=warn_meanwhile)
        other.start()
        with images._suppress_warnings():
            warnings.warn("suppressed", UserWarning, stacklevel=1)
            inside.set()
            other.join()
        assert _reason(data) == RejectReason.TOO_LARGE
        with pytest.raises(UserWarning):
            warnings.warn("mine again", UserWarning, stacklevel=1)
    assert raised == [True]


def test_pillow_settings_are_unchanged() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decode_square(_encode(_gradient(), "JPEG"), 32)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


@needs_real
def test_real_files_are_decoded_or_rejected_as_in_the_manifest() -> None:
    # Its pixels are intact but its animation is not; Pillow reports that only on the first load.
    ambiguous = {"pillow_apng_chunk_no_fctl.png"}
    wrong = []
    for row in _manifest():
        data = (REAL / row["file"]).read_bytes()
        try:
            is_ok = decode_square(data, 64).shape == (64, 64, 3)
        except UnreadableImageError:
            is_ok = False
        if is_ok != (row["pillow_result"] == "ok") and row["file"] not in ambiguous:
            wrong.append(row["file"])
    assert not wrong


@needs_real
def test_real_files_decode_like_plain_pillow() -> None:
    deviating = {}
    for row in _manifest():
        if row["pillow_result"] != "ok" or row["exif_orientation"] == "ERR":
            continue
        data = (REAL / row["file"]).read_bytes()
        difference = np.abs(decode_square(data, 96).astype(int) - _reference(data, 96)).mean()
        # Draft mode shrinks a JPEG in two steps, which softens it a little.
        if difference > (8 if row["format"] == "JPEG" else 1):
            deviating[row["file"]] = difference
    assert not deviating


@needs_real
def test_results_do_not_depend_on_threads_or_order() -> None:
    files = [(REAL / row["file"]).read_bytes() for row in _manifest()][:60]

    def outcome(data: bytes) -> bytes | str:
        try:
            return decode_square(data, 32).tobytes()
        except UnreadableImageError as error:
            return error.reason

    sequential = [outcome(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, reversed(files))) == sequential[::-1]


def test_scikit_learn_can_copy_the_warning_filters_after_an_image_was_decoded() -> None:
    from sklearn.utils.parallel import Parallel, delayed

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode_square(_encode(_gradient(), "PNG"), 32)
        assert Parallel()(delayed(_warn)(value) for value in range(2)) == [0, 1]
    assert "not suppressed" in [str(warning.message) for warning in caught]


def _warn(value: int) -> int:
    warnings.warn("not suppressed", UserWarning, stacklevel=1)
    return value
