"""Reduce a pretrained text encoder: keep its first layers, and the tokens that captions use.

The lower layers of a transformer keep most of what fine-tuning needs, so that the upper ones can be
dropped before it (Sajjad, Dalvi, Durrani and Nakov, 2023). Of a small encoder most weights are the
embeddings of tokens, most of which are rare.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from postbias.errors import ParamsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Tokens of which every word of these characters can be composed, whatever else is dropped.
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation


def keep_first_layers(backbone: Any, n_layers: int, name: str) -> None:  # noqa: ANN401 - a module with a config
    """Drop all but the first layers of an encoder, in place.

    Args:
        backbone: An encoder of transformers. Its layers are its longest module list.
        n_layers: Number of layers to keep.
        name: Name of the encoder, for the error.

    Raises:
        ParamsError: If the encoder has fewer layers.
    """
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=len, default=nn.ModuleList())
    if n_layers > len(layers):
        raise ParamsError(
            "train.text_layers is greater than the number of layers of the text encoder",
            seen=f"{n_layers} of {name}",
            allowed=f"1 to {len(layers)}, or null for all" if layers else "null: it has no layers",
        )
    del layers[n_layers:]
    backbone.config.num_hidden_layers = n_layers


def keep_frequent_tokens(
    tokenizer: Tokenizer, captions: Sequence[str], n_tokens: int, name: str
) -> Tokenizer:
    """Drop the tokens that are rarest in captions; words are then composed of shorter tokens.

    Args:
        tokenizer: A WordPiece tokenizer.
        captions: Captions to count tokens in.
        n_tokens: Number of tokens to keep. Special tokens and single ASCII characters are always
            among them.
        name: Name of the encoder, for the error.

    Returns:
        A tokenizer with consecutive ids, in the order of the old ones.

    Raises:
        ParamsError: If it is of another kind, or has fewer tokens.
    """
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = content["model"].get("vocab", {})
    if content["model"].get("type") != "WordPiece":
        raise ParamsError("train.text_vocabulary is for encoders with a WordPiece tokenizer",
                          seen=f"{name}: {content['model'].get('type')}",
                          do="set train.text_vocabulary to null, or choose a BERT or MiniLM",
                          )  # fmt: skip
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    special.add(content["model"]["unk_token"])
    prefix = content["model"]["continuing_subword_prefix"]
    needed = special | set(_CHARACTERS) | {prefix + character for character in _CHARACTERS}
    if not len(needed & vocabulary.keys()) <= n_tokens <= len(vocabulary):
        raise ParamsError("train.text_vocabulary does not suit the text encoder", seen=n_tokens,
                          allowed=f"{len(needed & vocabulary.keys())} to {len(vocabulary)}, or null"
                          " for all")  # fmt: skip
    counts = Counter(token for e in tokenizer.encode_batch(list(captions)) for token in e.ids)
    ranked = sorted(vocabulary.items(), key=lambda t: (t[0] not in needed, -counts[t[1]], t[1]))
    kept = sorted(ranked[:n_tokens], key=lambda item: item[1])
    _renumber(content, {token: row for row, (token, _) in enumerate(kept)})
    return type(tokenizer).from_str(json.dumps(content))


def _renumber(content: dict[str, Any], ids: dict[str, int]) -> None:
    """Set the ids of tokens everywhere in the JSON of a tokenizer."""
    content["model"]["vocab"] = ids
    content["added_tokens"] = [
        token | {"id": ids[token["content"]]}
        for token in content["added_tokens"]
        if token["content"] in ids
    ]
    processor = content["post_processor"] or {}
    for token, fields in processor.get("special_tokens", {}).items():  # of a template
        fields["ids"] = [ids[token]]
    for end in ("cls", "sep"):  # of BERT
        if end in processor:
            processor[end][1] = ids[processor[end][0]]


def keep_token_rows(backbone: Any, original: Tokenizer, reduced: Tokenizer) -> None:  # noqa: ANN401 - a module with a config
    """Drop the embeddings of the tokens that a reduced tokenizer lacks, in place.

    Args:
        backbone: An encoder of transformers.
        original: Its own tokenizer.
        reduced: The tokenizer with fewer tokens.
    """
    old, new = original.get_vocab(), reduced.get_vocab()
    rows = torch.tensor([old[token] for token in sorted(new, key=new.__getitem__)])
    table = backbone.get_input_embeddings().weight.detach()[rows]
    backbone.set_input_embeddings(nn.Embedding(len(rows), table.shape[1], _weight=table.clone()))
    backbone.config.vocab_size = len(rows)
