"""Image encoders of timm: loading, preprocessing, export and int8 of one network per family."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.tiny_artifact import AXES

from postbias.errors import ParamsError, WeightsError
from postbias.posts.image_preprocessing import ImagePreprocessing
from postbias.posts.images import decode_square
from postbias.scoring.manifest import Manifest
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.export import export_student
from postbias.student.freezing import image_layers
from postbias.student.image_encoders import ImageInput, load_image_encoder, read_image_input
from postbias.student.int8_loss import EncoderInputs, QuantizationPosts
from postbias.student.network import Student

SIZE = 64
FAMILIES = [
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_vit",
    pytest.param("mobilenetv4_conv_small", marks=pytest.mark.slow),
    pytest.param("tf_efficientnet_lite0", marks=pytest.mark.slow),
    pytest.param("fastvit_t8", marks=pytest.mark.slow),
    pytest.param("fastvit_mci0", marks=pytest.mark.slow),  # the image tower of MobileCLIP
]


def _image(width: int, height: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def _student(name: str) -> tuple[Student, ImageInput]:
    torch.manual_seed(0)
    image_input = read_image_input(name, SIZE)
    encoder = load_image_encoder(name, "none", image_input)
    # Statistics of real activations: with those of a new network int8 has nothing to work with.
    with torch.no_grad():
        encoder.train()
        for seed in range(4):
            rng = np.random.default_rng(seed)
            encoder(torch.from_numpy(rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)))
    return Student(None, encoder, hidden=16, n_axes=2, dropout=0.0).eval(), image_input


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_every_family_scores_as_in_pytorch(family: str, tmp_path: Path) -> None:
    name = f"timm/{family}"
    student, image_input = _student(name)
    manifest = Manifest(
        modality="image", axes=AXES, max_images=1, rubric="test@0", training_digest="0", n_train=1,
        image_encoder=name, image_size=SIZE, image_preprocessing=image_input.preprocessing,
    )  # fmt: skip
    files = [_image(150, 100, seed) for seed in range(16)]
    pixels = np.stack([decode_square(d, SIZE, image_input.preprocessing) for d in files])
    inputs = EncoderInputs(pixels, [])
    artifact = export_student(student, manifest, None, QuantizationPosts(inputs, inputs), tmp_path)
    with torch.no_grad():
        expected = student(
            pixels=torch.from_numpy(pixels), image_of=torch.arange(16), has_image=torch.ones(16, 1)
        )[:, 0].clamp(0, 10)  # fmt: skip
    posts = [PostInput(None, (data,)) for data in files]
    for precision, tolerance in (("fp32", 1e-3), ("int8", 0.2)):
        with Scorer.open(tmp_path, precision=precision) as scorer:  # type: ignore[arg-type]
            found = [score.scores["bias"].value for score in scorer.score(posts)]
        np.testing.assert_allclose(found, expected, atol=tolerance)
    shipped = artifact.manifest.precision["image"]
    assert shipped.loss is not None
    assert (tmp_path / "onnx/int8/image.onnx").exists() == (shipped.ships == "int8")


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet.r160_in1k",
        "tf_efficientnet_lite0.in1k",
        "vit_base_patch16_clip_224.openai",
        "fastvit_mci0.apple_mclip",
        "eva02_tiny_patch14_224.mim_in22k",
    ],
)
@pytest.mark.parametrize("shape", [(320, 200), (97, 231), (160, 160)])
def test_images_are_decoded_as_timm_transforms_them(name: str, shape: tuple[int, int]) -> None:
    data = _image(*shape)
    wanted = read_image_input(f"timm/{name}")
    config = timm.get_pretrained_cfg(name).to_dict()
    transform = timm.data.create_transform(
        input_size=config["input_size"], interpolation=config["interpolation"],
        mean=config["mean"], std=config["std"], crop_pct=config["crop_pct"],
        crop_mode=config["crop_mode"],
    )  # fmt: skip
    expected = transform(Image.open(io.BytesIO(data)))  # (3, S, S)
    pixels = decode_square(data, wanted.size, wanted.preprocessing).astype(np.float32) / 255
    chosen = wanted.preprocessing
    actual = ((pixels - np.array(chosen.mean)) / np.array(chosen.sd)).transpose(2, 0, 1)
    steps = np.abs(actual - expected.numpy()) * 255 * min(chosen.sd)
    # Pillow computes a crop in single precision: a few values differ by a grey level or two.
    assert steps.max() < 2.1
    assert steps.mean() < 0.1


def test_the_embedding_is_the_one_that_timm_gives_before_its_classifier() -> None:
    torch.manual_seed(0)
    encoder = load_image_encoder("timm/test_efficientnet", "none").eval()
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet").eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), np.uint8))
    chosen = encoder.preprocessing
    normalised = (pixels / 255 - torch.tensor(chosen.mean)) / torch.tensor(chosen.sd)
    with torch.no_grad():
        features = network.forward_features(normalised.permute(0, 3, 1, 2))
        expected = network.forward_head(features, pre_logits=True)
        np.testing.assert_allclose(encoder(pixels), expected, atol=1e-5)
    assert encoder.dim == expected.shape[1]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_loaded_from_a_file(suffix: str, tmp_path: Path) -> None:
    source = timm.create_model("test_resnet")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    loaded = dict(load_image_encoder("timm/test_resnet", str(path)).backbone.named_parameters())
    assert loaded
    for key, value in source.named_parameters():
        assert key.startswith("fc.") or torch.equal(value, loaded[key])


def test_position_embeddings_of_a_file_are_resampled_to_the_image_size(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    image_input = read_image_input("timm/test_vit", 96)
    encoder = load_image_encoder("timm/test_vit", str(tmp_path / "vit.safetensors"), image_input)
    with torch.no_grad():
        assert encoder(torch.zeros(2, 96, 96, 3, dtype=torch.uint8)).shape == (2, encoder.dim)


@pytest.mark.parametrize("content", [None, b"not weights" * 50, "other", "part"])
def test_a_file_without_weights_of_this_encoder_is_an_error_with_three_ways(
    content: Any, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "other":
        save_file(timm.create_model("test_vit").state_dict(), path)
    elif content == "part":
        state = timm.create_model("test_resnet").state_dict()
        save_file({key: value for key, value in state.items() if "layer2" not in key}, path)
    with pytest.raises(WeightsError, match=r"\(1\).*\(2\).*\(3\)") as caught:
        load_image_encoder("timm/test_resnet", str(path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/no_such_network", "not a network of timm"),
        ("timm/resnet18.no_such_tag", "allowed: .*timm/resnet18.a1_in1k"),
        ("resnet18.a1_in1k", "not a torchvision classifier.*timm/"),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_names(name: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load_image_encoder(name, "none")


def test_a_size_that_the_encoder_cannot_read_is_an_error() -> None:
    image_input = read_image_input("timm/test_vit", 41)
    with pytest.raises((ParamsError, WeightsError)) as caught:
        load_image_encoder("timm/test_vit", "none", image_input)
    assert "41" in str(caught.value)


def test_size_and_fit_of_params_override_the_encoders_own() -> None:
    name = "timm/tf_efficientnet_lite0.in1k"
    own = ImagePreprocessing("crop", "bicubic", 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert read_image_input(name) == ImageInput(224, own)
    stretched = read_image_input(name, 160, "stretch")
    assert stretched.size == 160
    assert (stretched.preprocessing.fit, stretched.preprocessing.crop_share) == ("stretch", 1.0)
    assert stretched.preprocessing.mean == own.mean
    assert read_image_input("resnet18") == ImageInput(224, ImagePreprocessing())
    assert read_image_input("resnet18", 64, "crop").preprocessing.crop_share == 0.875


@pytest.mark.parametrize(("name", "least"), [("test_vit", 6), ("test_convnext", 4)])
def test_the_blocks_of_a_network_can_be_frozen_one_by_one(name: str, least: int) -> None:
    encoder = load_image_encoder(f"timm/{name}", "none")
    layers = image_layers(encoder)
    assert len(layers) >= least
    counted = sum(p.numel() for layer in layers for p in layer.parameters())
    assert counted > 0.9 * sum(p.numel() for p in encoder.parameters())
