"""Static embeddings: a text encoder that is a table with one vector per token, and nothing else.

Two layouts are read: model2vec's, and the `StaticEmbedding` of sentence-transformers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from postbias.student.text_conventions import find_model_file, find_module, read_model_json

if TYPE_CHECKING:
    from collections.abc import Mapping


class StaticEmbeddings(nn.Module):
    """A table of token vectors with the interface of a Hugging Face encoder."""

    def __init__(self, table: Tensor) -> None:
        """Wrap a table.

        Args:
            table: One vector per token, float32 (V, D).
        """
        super().__init__()
        self.embeddings = nn.Embedding(table.shape[0], table.shape[1], _weight=table)
        self.config = SimpleNamespace(vocab_size=table.shape[0], hidden_size=table.shape[1])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """Look up tokens.

        Args:
            input_ids: Token ids, int64 (B, T).
            attention_mask: Not used.

        Returns:
            `last_hidden_state`, float32 (B, T, D).
        """
        del attention_mask
        return SimpleNamespace(last_hidden_state=self.embeddings(input_ids))

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table."""
        return self.embeddings

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Replace the table, by one with other tokens."""
        self.embeddings = table


def is_static(name: str) -> bool:
    """Check whether a text encoder is a table of static embeddings.

    Args:
        name: Hub name or folder.

    Returns:
        Whether its files say so.
    """
    config = read_model_json(name, "config.json")
    is_model2vec = isinstance(config, dict) and config.get("model_type") == "model2vec"
    return is_model2vec or find_module(name, "StaticEmbedding") is not None


def folder_of(name: str) -> str:
    """Find the folder of table and tokenizer inside a model.

    Args:
        name: Hub name or folder.

    Returns:
        Its relative path with a trailing slash; empty for the model's own folder.
    """
    folder = find_module(name, "StaticEmbedding")
    return f"{folder}/" if folder else ""


def load_static(name: str) -> StaticEmbeddings:
    """Load a table of static embeddings.

    Args:
        name: Hub name or folder.

    Returns:
        The encoder.

    Raises:
        ValueError: If the file is missing or has no table.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = find_model_file(name, f"{folder_of(name)}model.safetensors")
    if path is None:
        raise ValueError("it has no model.safetensors")
    try:
        return StaticEmbeddings(_read_table(load_file(path)))
    except (SafetensorError, IndexError, RuntimeError) as error:
        raise ValueError(f"its model.safetensors is damaged: {error}") from error


def _read_table(tensors: Mapping[str, Tensor]) -> Tensor:
    table = next((tensors[key] for key in ("embeddings", "embedding.weight") if key in tensors),
                 None)  # fmt: skip
    if table is None or table.dim() != 2:
        raise ValueError("its model.safetensors has no table `embeddings` or `embedding.weight`")
    table = table.to(torch.float32)
    if "mapping" in tensors:  # tokens that share a vector
        table = table[tensors["mapping"].long()]
    if "weights" in tensors:
        table = table * tensors["weights"].to(torch.float32).unsqueeze(1)
    return table
