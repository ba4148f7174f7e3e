"""Load text encoders and their tokenizers from Hugging Face, by name or from disk.

Weights that cannot be loaded are an error: random weights are used only if params ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from postbias.errors import ParamsError, WeightsError
from postbias.scoring.manifest_records import DEFAULT_CONVENTION, TextConvention
from postbias.student import static_embeddings
from postbias.student.encoders import TextEncoder
from postbias.student.text_conventions import SCRATCH, find_model_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn

    from postbias.params import ScratchText

_SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]

# Like the pattern of byte-level BPE, but marks belong to the letters that they follow: that pattern
# would cut words of Hindi, Tamil or Thai at every vowel sign, and need twice as many tokens.
_WORDS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}[\p{L}\p{M}\u200c\u200d]*| ?\p{N}+"
    r"| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def load_text_encoder(
    name: str,
    scratch: ScratchText,
    tokenizer: Tokenizer,
    convention: TextConvention = DEFAULT_CONVENTION,
    *,
    max_tokens: int = 1,
) -> TextEncoder:
    """Load a text encoder, or initialise one with random weights.

    Args:
        name: Hub name or folder; `scratch` for random weights.
        scratch: Size of an encoder with random weights.
        tokenizer: Tokenizer that determines its vocabulary.
        convention: Determines its pooling.
        max_tokens: Maximum number of tokens of a caption.

    Returns:
        The encoder.

    Raises:
        ParamsError: If the encoder cannot read captions of this length.
        WeightsError: If the weights cannot be loaded, or do not match the tokenizer.
    """
    backbone = _load_backbone(name, scratch, tokenizer)
    longest = _longest_input(backbone)
    if longest is not None and max_tokens > longest:
        raise ParamsError("train.max_tokens is greater than the text encoder's maximum",
                          seen=max_tokens, allowed=f"4 to {longest}")  # fmt: skip
    config = backbone.config
    if tokenizer.get_vocab_size() > (rows := int(config.vocab_size)):
        raise WeightsError(
            "the tokenizer of this text encoder has more tokens than the encoder",
            seen=f"{name}: {tokenizer.get_vocab_size()} tokens",
            allowed=f"at most {rows}",
            do="copy config.json, the weights and tokenizer.json from one and the same model",
        )
    return TextEncoder(_without_pooler(backbone), int(config.hidden_size), convention.pooling)


def _load_backbone(name: str, scratch: ScratchText, tokenizer: Tokenizer) -> Any:  # noqa: ANN401 - a module with a config
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
        return AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    try:
        if static_embeddings.is_static(name):
            return static_embeddings.load_static(name)
        # Without it, a checkpoint in half precision would be trained in half precision.
        backbone = AutoModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise _no_text_weights(name, error) from error
    # Of an encoder-decoder only the encoder is used: the decoder would need an input of its own.
    return backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone


def load_tokenizer(
    name: str, captions: Sequence[str], vocab_size: int, prefix: str = ""
) -> Tokenizer:
    """Load the tokenizer of an encoder, or train one on captions.

    Args:
        name: Hub name or folder; `scratch` to train one.
        captions: Captions of the train fold; used for `scratch` only.
        vocab_size: Maximum vocabulary size of a trained tokenizer.
        prefix: Text that the tokenizer puts before every caption.

    Returns:
        A tokenizer without padding or truncation, which are left to the scorer.

    Raises:
        WeightsError: If the tokenizer cannot be loaded, or exists as Python code only.
    """
    from tokenizers import normalizers

    if name == SCRATCH:
        tokenizer = _train_tokenizer(captions, vocab_size)
    elif static_embeddings.is_static(name):
        tokenizer = _load_static_tokenizer(name)
    else:
        tokenizer = _load_fast_tokenizer(name)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if prefix:
        # In the tokenizer, so that training, scoring and whoever else reads the artifact agree.
        own = tokenizer.normalizer
        parts = [normalizers.Prepend(prefix), *([] if own is None else [own])]
        tokenizer.normalizer = normalizers.Sequence(parts)
    return tokenizer


def _load_fast_tokenizer(name: str) -> Tokenizer:
    from transformers import AutoTokenizer

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
    return tokenizer


def _load_static_tokenizer(name: str) -> Tokenizer:
    from tokenizers import Tokenizer

    folder = static_embeddings.folder_of(name)
    path = find_model_file(name, f"{folder}tokenizer.json")
    try:
        if path is None:
            raise ValueError("it has no tokenizer.json")
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise _no_text_weights(name, error) from error
    # These encoders average the caption's own tokens, without [CLS] and [SEP].
    tokenizer.post_processor = None
    return tokenizer


def _longest_input(backbone: Any) -> int | None:  # noqa: ANN401 - a module with a config
    """Return the maximum number of tokens; None if it is not limited or not stated."""
    config = backbone.config
    longest = getattr(config, "max_position_embeddings", None)
    embeddings = getattr(backbone, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if longest is not None and padding is not None:
        longest -= int(padding) + 1  # RoBERTa's positions start after the padding's id
    return None if longest is None else int(longest)


def _without_pooler(backbone: nn.Module) -> nn.Module:
    """Remove BERT's pooler, whose weights mean pooling does not use."""
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]
    return backbone


def _train_tokenizer(captions: Sequence[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer, which covers every character, emoji included."""
    from tokenizers import (
        Regex,
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    # Not WordPiece: its trainer breaks ties between equally frequent pieces in the order of a
    # randomised hash map, so that the vocabulary would differ from run to run.
    tokenizer = Tokenizer(models.BPE())
    # The first word of a caption begins with a space too, so that it is the same token elsewhere.
    parts = [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Prepend(" ")]
    tokenizer.normalizer = normalizers.Sequence(parts)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
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


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
