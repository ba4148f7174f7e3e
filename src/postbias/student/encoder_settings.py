"""The encoders that params ask for: how they are used, loaded, and recorded in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from postbias.scoring.execution_providers import installed_version
from postbias.student.encoder_reduction import (
    keep_first_layers,
    keep_frequent_tokens,
    keep_token_rows,
)
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
    from postbias.scoring.manifest_records import TextConvention
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
    """Load the tokenizer of the text encoder, with the tokens that are kept, or train one.

    Args:
        train: Parameters.
        captions: Captions of the train fold.
    """
    prefix, name = text_convention_of(train).prefix, train.text_encoder
    tokenizer = load_tokenizer(name, captions, train.text_scratch.vocab_size, prefix)
    if train.text_vocabulary is None:
        return tokenizer
    return keep_frequent_tokens(tokenizer, captions, train.text_vocabulary, name)


def load_text_encoder_of(train: TrainParams, tokenizer: Tokenizer) -> TextEncoder:
    """Load the text encoder, with the layers and tokens that are kept."""
    name, scratch = train.text_encoder, train.text_scratch
    encoder = load_text_encoder(
        name, scratch, tokenizer, text_convention_of(train), max_tokens=train.max_tokens
    )
    if train.text_layers is not None:
        keep_first_layers(encoder.backbone, train.text_layers, name)
    if train.text_vocabulary is not None:
        own = load_tokenizer(name, [], scratch.vocab_size)
        keep_token_rows(encoder.backbone, own, tokenizer)
    return encoder


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
        "text_layers": train.text_layers,
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
