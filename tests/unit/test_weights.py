"""Pretrained weights that cannot be loaded: the error lists three ways to provide them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from postbias.errors import WeightsError
from postbias.params import ScratchText
from postbias.student.image_encoders import load_image_encoder
from postbias.student.text_encoders import load_text_encoder, load_tokenizer

SMALL = ScratchText(vocab_size=320, hidden=16, layers=1, heads=2)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make hub and download server unreachable (closed port) and their caches empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    # huggingface_hub retries five times, and waits for half a minute in total.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def _check_three_ways(error: WeightsError, key: str, name: str) -> None:
    message = str(error)
    assert name in message
    for way in ("(1) run once with access to", "(2) copy", f"(3) set {key}: "):
        assert way in message
    assert f"set {key} to its path" in message
    assert "\n" not in message


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize("name", ["nobody/no-such-encoder", "empty", "without_weights"])
def test_an_unavailable_text_encoder_is_an_error_with_three_ways(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "without_weights").mkdir()
    (tmp_path / "without_weights" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError) as of_tokenizer:
        load_tokenizer(name, [], 320)
    tokenizer = load_tokenizer("scratch", ["hello"], 320)
    with pytest.raises(WeightsError) as of_encoder:
        load_text_encoder(name, SMALL, tokenizer)
    for caught in (of_tokenizer, of_encoder):
        _check_three_ways(caught.value, "train.text_encoder", name)


@pytest.mark.usefixtures("unreachable")
def test_a_failed_download_of_imagenet_weights_is_an_error_with_three_ways() -> None:
    with pytest.raises(WeightsError) as caught:
        load_image_encoder("shufflenet_v2_x0_5", "imagenet")
    _check_three_ways(caught.value, "train.image_weights", "shufflenet_v2_x0_5")


@pytest.mark.parametrize(
    "name", ["missing.pth", "damaged.pth", "damaged.safetensors", "other.safetensors"]
)
def test_a_file_without_weights_of_this_encoder_is_an_error_with_three_ways(
    name: str, tmp_path: Path
) -> None:
    for damaged in ("damaged.pth", "damaged.safetensors"):
        (tmp_path / damaged).write_bytes(b"not weights" * 50)
    other = models.get_model("squeezenet1_1", weights=None).state_dict()
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_image_encoder("shufflenet_v2_x0_5", str(tmp_path / name))
    _check_three_ways(caught.value, "train.image_weights", name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_loaded_from_a_file(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = models.get_model("shufflenet_v2_x0_5", weights=None).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    loaded = load_image_encoder("shufflenet_v2_x0_5", str(path)).eval()
    expected = dict(source.named_parameters())
    for key, value in loaded.backbone.named_parameters():
        assert torch.equal(value, expected[key])
