"""Videos and HEIF images in exports: frames, times, rotation, and files that must not stop it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.video_files import (
    BLACK,
    FPS,
    HEIGHT,
    KINDS,
    WIDTH,
    make_audio,
    make_heif,
    make_video,
    noise_frames,
    read_pixels,
    scene,
)

from postbias.errors import UnreadableImageError
from postbias.posts.file_kinds import FileKind, is_cut_off, recognise_kind
from postbias.posts.frame_paths import escape_path, frame_path, frame_time_s
from postbias.posts.importers import video_frames, video_reader
from postbias.posts.importers.video_frames import ExtractedFrame, extract_frames
from postbias.posts.reasons import RejectReason


def _extract(data: bytes, n_frames: int = 4) -> list[ExtractedFrame]:
    kind = recognise_kind(data)
    assert kind is not None
    return extract_frames(io.BytesIO(data), kind, n_frames)


def _reason(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        _extract(data)
    return caught.value.reason


def _scene_of(pixels: np.ndarray) -> int:
    """Find the scene that an image shows, by comparison with all of them."""
    errors = [np.abs(pixels - scene(n)).mean() for n in range(24)]
    return int(np.argmin(errors))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_frame_in_the_middle_of_each_part_is_taken(options: dict[str, Any]) -> None:
    frames = _extract(make_video(seconds=6, **options), 3)
    assert [frame.time_s for frame in frames] == pytest.approx([1, 3, 5], abs=0.001)
    for frame in frames:
        pixels = read_pixels(frame.data)
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        assert _scene_of(pixels) == int(frame.time_s + 0.001)
        assert np.abs(pixels - scene(int(frame.time_s + 0.001))).mean() < 8


@pytest.mark.parametrize("gop", [1, 7, 1000])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 20, 32])
def test_frames_are_those_of_plain_decoding(gop: int, n_frames: int) -> None:
    """Seeking must not change which frame is found."""
    frames = _extract(make_video(seconds=8, gop=gop), n_frames)
    found = [(frame.time_s, _scene_of(read_pixels(frame.data))) for frame in frames]
    wanted, seen = [], set()
    for part in range(n_frames):
        number = int(np.ceil((part + 0.5) / n_frames * 8 * FPS - 1e-6))
        if number // FPS not in seen:
            seen.add(number // FPS)
            wanted.append((pytest.approx(number / FPS, abs=0.001), number // FPS))
    assert found == wanted


@pytest.mark.parametrize("rotation", [90, -90, 180, 0])
def test_rotation_is_applied(rotation: int) -> None:
    frame = _extract(make_video(container="mov", seconds=1, rotation=rotation))[0]
    reference = np.asarray(Image.fromarray(scene(0)).rotate(rotation, expand=True)).astype(int)
    assert read_pixels(frame.data).shape == reference.shape
    assert np.abs(read_pixels(frame.data) - reference).mean() < 8


def test_a_rotation_that_no_camera_writes_becomes_a_quarter_turn() -> None:
    assert read_pixels(_extract(make_video(rotation=37))[0].data).shape == (HEIGHT, WIDTH, 3)
    assert read_pixels(_extract(make_video(rotation=80))[0].data).shape == (WIDTH, HEIGHT, 3)


def test_frames_are_scaled_down_to_the_maximum_side() -> None:
    data = make_video(seconds=1, size=(2160, 1216), options={"preset": "ultrafast"})
    assert read_pixels(_extract(data, 1)[0].data).shape == (608, video_frames.MAX_SIDE_PX, 3)


@pytest.mark.parametrize(("ratio", "width"), [(1, WIDTH), (2, 2 * WIDTH), (50, WIDTH)])
def test_pixels_become_square_unless_the_ratio_is_absurd(ratio: int, width: int) -> None:
    data = make_video(seconds=1, pixel_ratio=ratio)
    assert read_pixels(_extract(data, 1)[0].data).shape == (HEIGHT, width, 3)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_keeps_its_colours_apart(transfer: str) -> None:
    tags = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    video = make_video(
        codec="libx265", pixel_format="yuv420p10le", options={"x265-params": tags}, seconds=1
    )
    pixels = read_pixels(_extract(video, 1)[0].data)
    assert pixels[5, 30].min() > 240  # white
    red, green, blue = pixels[60, 10]
    assert red > 200 > 100 > max(green, blue)
    assert pixels[60, 100].max() < 60  # the dark ground


def test_a_frame_of_one_colour_is_replaced_by_a_later_one_of_its_part() -> None:
    frames = [BLACK] * 25 + [scene(1)] * 15 + [scene(2)] * 40
    extracted = _extract(make_video(frames=frames), 2)
    assert [_scene_of(read_pixels(frame.data)) for frame in extracted] == [1, 2]
    assert extracted[0].time_s == pytest.approx(3)


def test_equal_frames_are_taken_once_and_a_black_video_gives_one_frame() -> None:
    assert len(_extract(make_video(frames=[scene(1)] * 60))) == 1
    boomerang = [scene(n) for n in (1, 2, 1, 2) for _ in range(FPS)]
    assert [frame.time_s for frame in _extract(make_video(frames=boomerang))] == [0.5, 1.5]
    assert len(_extract(make_video(frames=[BLACK] * 40))) == 1


def test_a_video_of_one_frame_has_one() -> None:
    assert [frame.time_s for frame in _extract(make_video(frames=[scene(3)]))] == [0]


def test_files_without_frames_have_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _reason(make_audio()) == RejectReason.NO_FRAMES
    assert _reason(make_video(size=(16, 16))) == RejectReason.TOO_SMALL
    assert _reason(b"\x1a\x45\xdf\xa3" + bytes(500)) == RejectReason.DAMAGED
    video = make_video()
    monkeypatch.setattr(video_frames, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    assert _reason(video) == RejectReason.TOO_LARGE
    monkeypatch.undo()
    monkeypatch.setattr(video_reader, "MAX_DURATION_S", 3)
    assert _reason(video) == RejectReason.TOO_LARGE


@pytest.mark.parametrize("kind", ["mp4 with its index at the front", "avi", "webm"])
def test_of_a_video_whose_end_is_missing_the_rest_is_divided(kind: str) -> None:
    data = make_video(frames=noise_frames(60), **KINDS[kind])
    half = data[: len(data) // 2]
    times = [frame.time_s for frame in _extract(half)]
    assert len(times) == 4
    assert 1.5 < times[-1] < 3.2
    assert is_cut_off(io.BytesIO(half), FileKind(recognise_kind(half) or "")) is (kind != "webm")
    assert not is_cut_off(io.BytesIO(data), FileKind(recognise_kind(data) or ""))


def test_kinds_are_recognised_by_content() -> None:
    assert recognise_kind(make_video()) is FileKind.MOV
    assert recognise_kind(make_video()[:40]) is FileKind.MOV
    assert recognise_kind(make_video(container="avi", codec="mpeg4")) is FileKind.AVI
    assert recognise_kind(make_heif()) is FileKind.HEIF
    assert recognise_kind(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") is FileKind.HEIF
    assert recognise_kind(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif") is None
    buffer = io.BytesIO()
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(scene(1)).save(buffer, name)
        assert recognise_kind(buffer.getvalue()) is None
    assert all(recognise_kind(b"x" * n) is None for n in range(20))


def test_paths_of_frames_hold_their_times() -> None:
    assert frame_path("a/b.mp4", 1.5) == "a/b.mp4#t=1.500"
    assert frame_time_s("a/b.mp4#t=1.500") == 1.5
    assert frame_time_s("odd#t=1.500#t=12.250") == 12.25
    assert [frame_time_s(path) for path in ("a.jpg", "", None, "a#t=1", "#t=1.500")] == [None] * 5
    assert frame_time_s(escape_path("a#t=1.500")) is None
    assert escape_path("a#1.jpg") == "a#1.jpg"
