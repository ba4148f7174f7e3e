"""What an encoder reads of an image: stated in the artifact, obeyed by the one decoder."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.tiny_artifact import write_tiny_artifact
from torchvision.transforms import InterpolationMode, v2

from postbias.errors import ArtifactError
from postbias.posts.image_preprocessing import FITS, INTERPOLATIONS, ImagePreprocessing
from postbias.posts.images import decode_square
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Manifest
from postbias.scoring.manifest_records import TextConvention
from postbias.scoring.scorer import PostInput, Scorer

SHAPES = [(320, 200), (200, 320), (231, 97), (64, 64), (500, 28), (40, 40)]


def _noise(width: int, height: int, kind: str = "PNG", **options: Any) -> bytes:
    """Encode an image with detail of every size, on which all filters differ."""
    rng = np.random.default_rng(width * height)
    coarse = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("fit", "share"), [("crop", 0.875), ("crop", 1.0), ("stretch", 0.9)])
def test_an_image_is_resized_and_cropped_as_torchvision_does_it(
    shape: tuple[int, int], interpolation: Any, fit: Any, share: float
) -> None:
    data = _noise(*shape)
    wanted = ImagePreprocessing(fit=fit, interpolation=interpolation, crop_share=share)
    shorter = int(48 / share)
    expected = v2.Compose(
        [
            v2.Resize(
                shorter if fit == "crop" else (shorter, shorter),
                interpolation=InterpolationMode(interpolation),
            ),
            v2.CenterCrop(48),
        ]
    )(Image.open(io.BytesIO(data)))
    actual = decode_square(data, 48, wanted).astype(int)
    assert np.abs(actual - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_default_stretches_the_whole_image_to_the_bit_as_before(shape: tuple[int, int]) -> None:
    data = _noise(*shape)
    before = Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.BILINEAR)
    assert (decode_square(data, 32) == np.asarray(before)).all()
    assert (decode_square(data, 32, ImagePreprocessing()) == np.asarray(before)).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_image_is_cropped_like_its_upright_copy(fit: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    rotated = _noise(320, 200, exif=exif)
    buffer = io.BytesIO()
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(rotated)))
    assert upright is not None
    upright.save(buffer, "PNG")
    wanted = ImagePreprocessing(fit=fit, interpolation="bicubic", crop_share=0.8)
    pixels = [decode_square(data, 40, wanted).astype(int) for data in (rotated, buffer.getvalue())]
    assert np.abs(pixels[0] - pixels[1]).mean() < 2


def test_a_cropped_jpeg_differs_little_from_full_decoding() -> None:
    wanted = ImagePreprocessing(fit="crop", interpolation="bicubic", crop_share=0.875)
    data = _noise(1600, 960, "JPEG", quality=95)
    whole = io.BytesIO()
    Image.open(io.BytesIO(data)).save(whole, "PNG")
    pixels = [decode_square(d, 64, wanted).astype(int) for d in (data, whole.getvalue())]
    assert np.abs(pixels[0] - pixels[1]).mean() < 3


def test_the_crop_of_a_long_strip_does_not_resize_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def record(image: Image.Image, size: tuple[int, int], *rest: Any, **options: Any) -> Any:
        made.append(size)
        return resize(image, size, *rest, **options)

    monkeypatch.setattr(Image.Image, "resize", record)
    data = _noise(30_000, 30)
    made.clear()
    wanted = ImagePreprocessing(fit="crop", crop_share=0.5)
    assert decode_square(data, 224, wanted).shape == (224, 224, 3)
    assert made == [(224, 224)]


def _with(artifact: Artifact, **changes: Any) -> Artifact:
    return write_artifact(artifact.folder, dataclasses.replace(artifact.manifest, **changes))


def test_the_scorer_decodes_as_the_artifact_says(tmp_path: Path) -> None:
    """The tiny student's image embedding is the mean colour, which cropping changes."""
    buffer = io.BytesIO()
    framed = Image.new("RGB", (100, 100), "white")
    framed.paste((0, 0, 0), (20, 20, 80, 80))
    framed.save(buffer, "PNG")
    post = PostInput(None, (buffer.getvalue(),))
    artifact = write_tiny_artifact(tmp_path, "image", with_intervals=False)

    def score() -> float:
        with Scorer.open(tmp_path) as scorer:
            return scorer.score([post])[0].scores["bias"].value

    whole = score()
    _with(artifact, image_preprocessing=ImagePreprocessing(fit="crop", crop_share=0.4))
    center = score()
    buffer.seek(0)
    buffer.truncate()
    Image.new("RGB", (100, 100), "black").save(buffer, "PNG")
    post = PostInput(None, (buffer.getvalue(),))
    assert center == pytest.approx(score(), abs=1e-4)
    assert abs(whole - center) > 0.01


def test_the_defaults_are_not_written_and_their_absence_means_them(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path)
    data = json.loads((tmp_path / "student.json").read_text())
    assert not {"image_preprocessing", "text_convention"} & data.keys()
    assert artifact.manifest.image_preprocessing == ImagePreprocessing()
    assert artifact.manifest.text_convention == TextConvention("mean", "")


def test_preprocessing_and_convention_survive_the_file(tmp_path: Path) -> None:
    wanted = ImagePreprocessing("crop", "bicubic", 0.9, (0.5, 0.5, 0.5), (0.25, 0.25, 1.0))
    changes = {"image_preprocessing": wanted, "text_convention": TextConvention("cls", "query: ")}
    _with(write_tiny_artifact(tmp_path), **changes)
    read = Artifact.open(tmp_path).manifest
    assert {name: getattr(read, name) for name in changes} == changes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_preprocessing", {"fit": "tile"}),
        ("image_preprocessing", {"interpolation": "box"}),
        ("image_preprocessing", {"crop_share": 0.0}),
        ("image_preprocessing", {"crop_share": float("nan")}),
        ("image_preprocessing", {"sd": [0.0, 1.0, 1.0]}),
        ("image_preprocessing", {"mean": [1.0]}),
        ("text_convention", {"pooling": "max"}),
    ],
)
def test_invalid_values_are_errors(tmp_path: Path, key: str, value: dict[str, Any]) -> None:
    manifest = write_tiny_artifact(tmp_path).manifest
    fields = dataclasses.asdict(ImagePreprocessing() if "image" in key else TextConvention())
    data = json.loads(manifest.to_json()) | {key: fields | value}
    with pytest.raises(ArtifactError, match=f"invalid fields: {key}"):
        Manifest.from_json(json.dumps(data))
