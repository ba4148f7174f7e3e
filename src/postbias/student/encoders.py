"""The encoders of a student: captions and images to embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from postbias.posts.image_preprocessing import DEFAULT_PREPROCESSING, ImagePreprocessing
from postbias.scoring.manifest_records import Pooling


class TextEncoder(nn.Module):
    """A Hugging Face encoder with pooling."""

    def __init__(self, backbone: nn.Module, dim: int, pooling: Pooling = "mean") -> None:
        """Wrap a backbone.

        Args:
            backbone: Maps `input_ids` and `attention_mask` to `last_hidden_state`.
            dim: Width of its hidden states.
            pooling: `mean` over the tokens, or `cls` for the first token.
        """
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.pooling = pooling

    @property
    def settings(self) -> str:
        """What an embedding depends on besides weights and input."""
        return self.pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode captions.

        Args:
            input_ids: Token ids, int64 (B, T).
            attention_mask: 1 for a token and 0 for padding, int64 (B, T).

        Returns:
            The pooled hidden states, float32 (B, D); padding is ignored.
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        states: Tensor = hidden.last_hidden_state.float()  # (B, T, D)
        if self.pooling == "cls":
            return states[:, 0]
        mask = attention_mask.unsqueeze(-1).float()  # (B, T, 1)
        total = (states * mask).sum(1)  # (B, D)
        mean: Tensor = total / mask.sum(1).clamp(min=1.0)
        return mean


class ImageEncoder(nn.Module):
    """A torchvision or timm network without its classifier, preceded by normalisation."""

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        dim: int,
        preprocessing: ImagePreprocessing = DEFAULT_PREPROCESSING,
    ) -> None:
        """Wrap a backbone.

        Args:
            backbone: Maps normalised images (B, 3, S, S) to embeddings (B, D).
            dim: Width of the embeddings.
            preprocessing: Has the constants of the normalisation.
        """
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.preprocessing = preprocessing
        for name, values in (("mean", preprocessing.mean), ("sd", preprocessing.sd)):
            constant = torch.tensor(values).view(1, 3, 1, 1) * 255
            self.register_buffer(name, constant, persistent=False)

    @property
    def settings(self) -> str:
        """What an embedding depends on besides weights and input."""
        return f"{self.preprocessing.mean} {self.preprocessing.sd}"

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
