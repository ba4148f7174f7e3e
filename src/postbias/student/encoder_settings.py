"""The encoders that params ask for: how they are used, loaded, and recorded in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from postbias.scoring.execution_providers import installed_version
from postbias.student.image_encoders import (
    TIMM,
    ImageInput,
    load_image_encoder,
    read_image_input,
)
from postbias.student.text_conventions import read_convention
from postbias.student.text_encoders import load_text_encoder, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from postbias.params import TrainParams
    from postbias.scoring.manifest import TextConvention
    from postbias.student.encoders import ImageEncoder, TextEncoder

#: Packages whose version changes the weights or the graphs; recorded in the manifest.
RECORDED_PACKAGES = ("onnxruntime", "tokenizers", "torch", "torchvision", "transformers")


def image_input_of(train: TrainParams) -> ImageInput:
    """Determine what the image encoder reads."""
    return read_image_input(train.image_encoder, train.image_size, train.image_fit)


def text_convention_of(train: TrainParams) -> TextConvention:
    """Determine how the text encoder is used."""
    return read_convention(train.text_encoder, train.text_pooling, train.text_prefix)


def load_tokenizer_of(train: TrainParams, captions: Sequence[str]) -> Tokenizer:
    """Load the tokenizer of the text encoder, or train one on captions."""
    prefix = text_convention_of(train).prefix
    return load_tokenizer(train.text_encoder, captions, train.text_scratch.vocab_size, prefix)


def load_text_encoder_of(train: TrainParams, tokenizer: Tokenizer) -> TextEncoder:
    """Load the text encoder."""
    convention = text_convention_of(train)
    return load_text_encoder(
        train.text_encoder, train.text_scratch, tokenizer, convention, max_tokens=train.max_tokens
    )


def load_image_encoder_of(train: TrainParams) -> ImageEncoder:
    """Load the image encoder."""
    return load_image_encoder(train.image_encoder, train.image_weights, image_input_of(train))


def package_versions(train: TrainParams) -> dict[str, str]:
    """List the versions of the packages that change the weights or the graphs.

    Args:
        train: Parameters; timm is listed only if they use it.

    Returns:
        Versions by package.
    """
    packages = RECORDED_PACKAGES + (("timm",) if train.image_encoder.startswith(TIMM) else ())
    return {package: installed_version(package) for package in packages}


def describe_text_encoder(train: TrainParams) -> dict[str, Any]:
    """Return the fields of the manifest that describe the text encoder."""
    return {
        "text_encoder": Path(train.text_encoder).name,
        "max_tokens": train.max_tokens,
        "text_convention": text_convention_of(train),
    }


def describe_image_encoder(train: TrainParams) -> dict[str, Any]:
    """Return the fields of the manifest that describe the image encoder."""
    image_input = image_input_of(train)
    return {
        "image_encoder": train.image_encoder,
        "image_size": image_input.size,
        "image_preprocessing": image_input.preprocessing,
    }
