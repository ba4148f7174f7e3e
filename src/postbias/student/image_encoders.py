"""Load image encoders from torchvision and timm, with published weights or weights from disk.

Weights that cannot be loaded are an error: random weights are used only if params ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import nn

from postbias.errors import ParamsError, WeightsError
from postbias.posts.image_preprocessing import (
    DEFAULT_PREPROCESSING,
    INTERPOLATIONS,
    Channels,
    Fit,
    ImagePreprocessing,
)
from postbias.student.convolution import trim_convolutions
from postbias.student.encoders import ImageEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Prefix of `image_encoder` for the networks of timm.
TIMM = "timm/"
#: Values of `image_weights` that ask for published weights, and for random ones.
PUBLISHED = ("pretrained", "imagenet")
NO_WEIGHTS = "none"

_DEFAULT_SIZE = 224
_CROP_SHARE = 0.875  # of torchvision's and of most of timm's encoders


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What an image encoder reads.

    Attributes:
        size: Side of its square images in pixels.
        preprocessing: How they are decoded.
    """

    size: int = _DEFAULT_SIZE
    preprocessing: ImagePreprocessing = DEFAULT_PREPROCESSING


def read_image_input(
    name: str, size: int | None = None, fit: Literal["auto", "stretch", "crop"] = "auto"
) -> ImageInput:
    """Determine what an image encoder reads; needs no weights.

    Args:
        name: A torchvision classifier, or `timm/` and the name of a network of timm.
        size: Side of its images; None for the encoder's own.
        fit: How images are made square; `auto` for timm's convention, and `stretch` for
            torchvision.

    Returns:
        Size and preprocessing.

    Raises:
        ParamsError: If there is no such encoder, or its convention is not supported.
    """
    if not name.startswith(TIMM):
        share = _CROP_SHARE if fit == "crop" else 1.0
        chosen: Fit = "crop" if fit == "crop" else "stretch"
        preprocessing = ImagePreprocessing(fit=chosen, crop_share=share)
        return ImageInput(size or _DEFAULT_SIZE, preprocessing)
    config = _timm_config(name)
    own_size = set(config.get("input_size", (3, _DEFAULT_SIZE, _DEFAULT_SIZE))[1:])
    if size is None and len(own_size) > 1:
        raise ParamsError("train.image_encoder reads images that are not square", seen=name,
                          do="set train.image_size to the side of a square")  # fmt: skip
    interpolation = config.get("interpolation", "bicubic")
    mode, share = config.get("crop_mode", "center"), float(config.get("crop_pct") or _CROP_SHARE)
    if fit == "auto" and mode not in ("center", "squash"):
        raise ParamsError("train.image_encoder makes images square in a way that is not supported",
                          seen=f"{name}: {mode}", allowed="center, squash",
                          do="set train.image_fit to stretch or crop")  # fmt: skip
    own_fit: Fit = "stretch" if mode == "squash" else "crop"
    return ImageInput(
        size or own_size.pop(),
        ImagePreprocessing(
            fit=own_fit if fit == "auto" else fit,
            interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
            crop_share=1.0 if fit == "stretch" else share,
            mean=_channels(config.get("mean", DEFAULT_PREPROCESSING.mean)),
            sd=_channels(config.get("std", DEFAULT_PREPROCESSING.sd)),
        ),
    )


def load_image_encoder(
    name: str, weights: str, image_input: ImageInput | None = None
) -> ImageEncoder:
    """Load an image encoder.

    Args:
        name: A torchvision classifier, for example `resnet18`, or `timm/` and the name of a
            network of timm, for example `timm/mobilenetv4_conv_small.e2400_r224_in1k`.
        weights: `pretrained` (or `imagenet`) for the published weights, a file of weights
            (safetensors or a state dict), or `none` for random weights.
        image_input: What it reads; None for its own convention.

    Returns:
        The encoder, without its classifier.

    Raises:
        ParamsError: If there is no such encoder.
        WeightsError: If the weights cannot be loaded or belong to another architecture.
    """
    image_input = image_input or read_image_input(name)
    if name.startswith(TIMM):
        backbone, dim = _load_timm(name, weights, image_input.size)
    else:
        backbone, dim = _load_torchvision(name, weights)
    trim_convolutions(backbone)
    return ImageEncoder(backbone, dim, image_input.preprocessing)


def _load_torchvision(name: str, weights: str) -> tuple[nn.Module, int]:
    from torchvision import models

    if name not in (allowed := models.list_models(module=models)):
        raise ParamsError(
            "train.image_encoder is not a torchvision classifier", seen=name,
            allowed=", ".join(allowed[:8]) + f", ..., or {TIMM} and a name of timm",
        )  # fmt: skip
    if weights in PUBLISHED:
        backbone = _published(name)
    else:
        backbone = models.get_model(name, weights=None)
        if weights != NO_WEIGHTS:
            _load_state(backbone, Path(weights))
    return backbone, _remove_last_linear(backbone, name)


def _timm() -> Any:  # noqa: ANN401 - a module
    try:
        import timm
    except ImportError as error:
        raise ParamsError("train.image_encoder needs timm, which is not installed",
                          do="install postbias with the extra `train`") from error  # fmt: skip
    return timm


def _timm_config(name: str) -> Mapping[str, Any]:
    """Look up the configuration of a network of timm, which needs no download."""
    timm = _timm()
    wanted = name.removeprefix(TIMM)
    architecture, _, tag = wanted.partition(".")
    if not timm.is_model(architecture):
        similar = timm.list_models(f"{architecture[:6]}*")[:8] or ["resnet18", "convnext_atto"]
        raise ParamsError(
            "train.image_encoder is not a network of timm", seen=name,
            allowed=", ".join(TIMM + other for other in similar) + ", ...",
        )  # fmt: skip
    tags = [other.partition(".")[2] for other in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ParamsError(
            "train.image_encoder names weights that timm does not have", seen=name,
            allowed=", ".join(f"{TIMM}{architecture}.{other}" for other in tags) or architecture,
        )  # fmt: skip
    config = timm.get_pretrained_cfg(wanted)
    return {} if config is None else cast("Mapping[str, Any]", config.to_dict())


def _load_timm(name: str, weights: str, size: int) -> tuple[nn.Module, int]:
    config = _timm_config(name)
    options: dict[str, Any] = {}
    if config.get("fixed_input_size") and size != config["input_size"][-1]:
        options["img_size"] = size  # position embeddings are resampled
    if weights not in (*PUBLISHED, NO_WEIGHTS):
        if not Path(weights).is_file():
            error = FileNotFoundError("no such file")
            raise _no_image_weights(f"cannot load image weights from {weights}", error)
        options["pretrained_cfg_overlay"] = {"file": weights}
    wanted = name.removeprefix(TIMM)
    try:
        backbone = _timm().create_model(wanted, pretrained=weights != NO_WEIGHTS, **options)
    except Exception as error:  # timm, its hub client, torch and safetensors raise various types
        where = f"weights of {name}" if weights in PUBLISHED else f"image weights from {weights}"
        raise _no_image_weights(f"cannot load {where}", error) from error
    backbone.reset_classifier(0)
    return backbone, _embedding_width(backbone, name, size)


def _embedding_width(backbone: nn.Module, name: str, size: int) -> int:
    """Run the network once on images of this size."""
    try:
        with torch.no_grad():
            shape = backbone.eval()(torch.zeros(2, 3, size, size)).shape
    except Exception as error:  # whatever torch and the network raise for a size they cannot read
        raise ParamsError(
            f"train.image_encoder cannot read images of this size ({_short(error)})",
            seen=f"{name} at {size} px", do="set train.image_size: null for the encoder's own size",
        ) from error  # fmt: skip
    backbone.train()
    if len(shape) != 2:
        raise ParamsError("train.image_encoder does not give one embedding per image", seen=name,
                          do="choose another encoder")  # fmt: skip
    return int(shape[1])


def _channels(values: Any) -> Channels:  # noqa: ANN401 - a list or tuple of numbers
    red, green, blue = map(float, values)
    return red, green, blue


def _published(name: str) -> nn.Module:
    from torchvision import models

    try:
        backbone: nn.Module = models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise _no_image_weights(f"cannot load the ImageNet weights of {name}", error) from error
    return backbone


def _load_state(backbone: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        backbone.load_state_dict(state)
    except Exception as error:  # torch and safetensors raise various types for a damaged file
        raise _no_image_weights(f"cannot load image weights from {path}", error) from error


def _remove_last_linear(backbone: nn.Module, name: str) -> int:
    """Replace the classifier's last linear layer by the identity; return its input width."""
    linears = [path for path, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ParamsError(
            "train.image_encoder has no linear layer to remove",
            seen=name,
            do="choose another torchvision classifier, for example resnet18",
        )
    last = backbone.get_submodule(linears[-1])
    assert isinstance(last, nn.Linear)
    backbone.set_submodule(linears[-1], nn.Identity())
    return last.in_features


def _no_image_weights(problem: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{problem} ({_short(error)})",
        do="three ways: (1) run once with access to the download server, which fills its "
        "cache; (2) copy the weights file to this machine and set train.image_weights to its path; "
        "(3) set train.image_weights: none to train from random weights",
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
