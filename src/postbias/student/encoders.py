"""Load text encoders from Hugging Face and image encoders from torchvision, by name or from disk.

Weights that cannot be loaded are an error: random weights are used only if params ask for them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from postbias.errors import ParamsError, WeightsError
from postbias.student.convolution import trim_convolutions

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from postbias.params import ScratchText

logger = logging.getLogger(__name__)

#: Values of `text_encoder` and `image_weights` that ask for random weights.
SCRATCH = "scratch"
NO_WEIGHTS = "none"

# torchvision's ImageNet constants; suitable for training from random weights too.
_MEAN = (0.485, 0.456, 0.406)
_SD = (0.229, 0.224, 0.225)

_SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]


class TextEncoder(nn.Module):
    """A Hugging Face encoder with masked mean pooling."""

    def __init__(self, backbone: nn.Module, dim: int) -> None:
        """Wrap a backbone.

        Args:
            backbone: Maps `input_ids` and `attention_mask` to `last_hidden_state`.
            dim: Width of its hidden states.
        """
        super().__init__()
        self.backbone = backbone
        self.dim = dim

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode captions.

        Args:
            input_ids: Token ids, int64 (B, T).
            attention_mask: 1 for a token and 0 for padding, int64 (B, T).

        Returns:
            Mean of the hidden states over tokens that are not padding, float32 (B, D).
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask.unsqueeze(-1).float()  # (B, T, 1)
        total = (hidden.last_hidden_state.float() * mask).sum(1)  # (B, D)
        mean: Tensor = total / mask.sum(1).clamp(min=1.0)
        return mean


class ImageEncoder(nn.Module):
    """A torchvision classifier without its last layer, preceded by normalisation."""

    mean: Tensor
    sd: Tensor

    def __init__(self, backbone: nn.Module, dim: int) -> None:
        """Wrap a backbone.

        Args:
            backbone: Maps normalised images (B, 3, S, S) to embeddings (B, D).
            dim: Width of the embeddings.
        """
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("sd", torch.tensor(_SD).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Args:
            pixels: RGB, uint8 (B, S, S, 3).

        Returns:
            Embeddings, float32 (B, D).
        """
        channels_first = pixels.permute(0, 3, 1, 2).float()  # (B, 3, S, S)
        normalised = (channels_first - self.mean) / self.sd
        if self.training:  # 1.7 times as fast in bf16 on a CPU
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        embedding: Tensor = self.backbone(normalised)
        return embedding.float()


def load_text_encoder(name: str, scratch: ScratchText, tokenizer: Tokenizer) -> TextEncoder:
    """Load a text encoder, or initialise one with random weights.

    Args:
        name: Hub name or folder; `scratch` for random weights.
        scratch: Size of an encoder with random weights.
        tokenizer: Tokenizer that determines its vocabulary.

    Raises:
        WeightsError: If the weights cannot be loaded.
    """
    from transformers import AutoModel, BertConfig

    if name == SCRATCH:
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=scratch.hidden,
            num_hidden_layers=scratch.layers,
            num_attention_heads=scratch.heads,
            intermediate_size=4 * scratch.hidden,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
        )
        backbone = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        return TextEncoder(_without_pooler(backbone), scratch.hidden)
    try:
        backbone = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _no_text_weights(name, error) from error
    # Of an encoder-decoder only the encoder is used: the decoder would need a separate input.
    backbone = backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
    return TextEncoder(_without_pooler(backbone), int(backbone.config.hidden_size))


def load_tokenizer(name: str, captions: Sequence[str], vocab_size: int) -> Tokenizer:
    """Load the tokenizer of an encoder, or train one on captions.

    Args:
        name: Hub name or folder; `scratch` to train one.
        captions: Captions of the train fold; used for `scratch` only.
        vocab_size: Maximum vocabulary size of a trained tokenizer.

    Returns:
        A tokenizer without padding or truncation, which are left to the scorer.

    Raises:
        WeightsError: If the tokenizer cannot be loaded, or exists as Python code only.
    """
    from transformers import AutoTokenizer

    if name == SCRATCH:
        return _train_tokenizer(captions, vocab_size)
    try:
        loaded = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _no_text_weights(name, error) from error
    tokenizer: Tokenizer | None = getattr(loaded, "backend_tokenizer", None)
    if tokenizer is None:
        raise WeightsError(
            "the tokenizer of this text encoder has no fast version and cannot be exported",
            seen=name,
            do="choose an encoder with a tokenizer.json",
        )
    # transformers loads an empty vocabulary, without error, from a folder without tokenizer files.
    if tokenizer.get_vocab_size(with_added_tokens=False) <= len(loaded.all_special_tokens):
        raise _no_text_weights(
            name, ValueError("its tokenizer is missing or has an empty vocabulary")
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_image_encoder(name: str, weights: str) -> ImageEncoder:
    """Load an image encoder.

    Args:
        name: A torchvision classifier, for example `resnet18`.
        weights: `imagenet`, a file of weights (safetensors or a state dict), or `none` for random
            weights.

    Returns:
        The encoder, without the classifier's last linear layer.

    Raises:
        ParamsError: If torchvision has no such classifier.
        WeightsError: If the weights cannot be loaded or belong to another architecture.
    """
    from torchvision import models

    if name not in (allowed := models.list_models(module=models)):
        raise ParamsError("train.image_encoder is not a torchvision classifier", seen=name,
                          allowed=", ".join(allowed[:8]) + ", ...")  # fmt: skip
    if weights == "imagenet":
        backbone = _imagenet(name)
    else:
        backbone = models.get_model(name, weights=None)
        if weights != NO_WEIGHTS:
            _load_state(backbone, Path(weights))
    trim_convolutions(backbone)
    return ImageEncoder(backbone, _remove_last_linear(backbone, name))


def _imagenet(name: str) -> nn.Module:
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


def _without_pooler(backbone: nn.Module) -> nn.Module:
    """Remove BERT's pooler, whose weights mean pooling does not use."""
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]
    return backbone


def _train_tokenizer(captions: Sequence[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer, which covers every character, emoji included."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    # Not WordPiece: its trainer breaks ties between equally frequent pieces in the order of a
    # randomised hash map, so that the vocabulary would differ from run to run.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=_SPECIAL,
        show_progress=False,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(captions, trainer)
    first, last = "[CLS]", "[SEP]"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )
    return tokenizer


def _no_text_weights(name: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot load text encoder {name} ({_short(error)})",
        do="three ways: (1) run once with access to the hub, which fills its cache; "
        "(2) copy the model's folder to this machine and set train.text_encoder to its path; "
        "(3) set train.text_encoder: scratch to train from random weights",
    )


def _no_image_weights(problem: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{problem} ({_short(error)})",
        do="three ways: (1) run once with access to the download server, which fills torch's "
        "cache; (2) copy the weights file to this machine and set train.image_weights to its path; "
        "(3) set train.image_weights: none to train from random weights",
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
