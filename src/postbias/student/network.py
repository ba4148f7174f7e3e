"""The student network: a text encoder, an image encoder or both, and a head for all axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postbias.student.encoders import ImageEncoder, TextEncoder


class Head(nn.Module):
    """An MLP on the concatenated embeddings.

    Each embedding is layer-normalised, so that both modalities start with equal weight. A missing
    modality is a zero vector with a zero flag.
    """

    center: Tensor
    scale: Tensor

    def __init__(
        self,
        dims: Sequence[int],
        hidden: int,
        n_axes: int,
        dropout: float,
        *,
        bounded: bool = False,
    ) -> None:
        """Initialise the head with random weights.

        Args:
            dims: Widths of the embeddings, text before image.
            hidden: Width of the hidden layer.
            n_axes: Number of axes A.
            dropout: Share of hidden units dropped in training.
            bounded: Whether a logistic function limits scores to the range from `center` to
                `center` + `scale`. Otherwise scores are unlimited, and `center` and `scale` hold
                the labels' mean and standard deviation.
        """
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in dims)
        self.mlp = nn.Sequential(
            nn.Linear(sum(dims) + len(dims), hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_axes),
        )
        self.bounded = bounded
        self.register_buffer("center", torch.zeros(n_axes))
        self.register_buffer("scale", torch.ones(n_axes))

    def forward(
        self,
        text: Tensor | None = None,
        has_text: Tensor | None = None,
        image: Tensor | None = None,
        has_image: Tensor | None = None,
    ) -> Tensor:
        """Score posts.

        Args:
            text: Caption embeddings, float32 (B, Dt), or None for a student without text.
            has_text: 1 if the post has a caption, else 0, float32 (B, 1).
            image: Mean image embeddings, float32 (B, Di), or None for a student without images.
            has_image: 1 if the post has an image, else 0, float32 (B, 1).

        Returns:
            Scores in units of the axes, not clipped, float32 (B, A).
        """
        inputs = [(e, h) for e, h in ((text, has_text), (image, has_image)) if e is not None]
        parts: list[Tensor] = []
        for norm, (embedding, has) in zip(self.norms, inputs, strict=True):
            assert has is not None
            parts += [norm(embedding) * has, has]
        standardised: Tensor = self.mlp(torch.cat(parts, dim=1)).float()  # (B, A)
        if self.bounded:
            standardised = standardised.sigmoid()
        scores: Tensor = standardised * self.scale + self.center
        return scores


class Student(nn.Module):
    """Encoders and head."""

    def __init__(
        self,
        text: TextEncoder | None,
        image: ImageEncoder | None,
        *,
        hidden: int,
        n_axes: int,
        dropout: float,
        bounded: bool = False,
    ) -> None:
        """Combine encoders with a new head.

        Args:
            text: Text encoder, or None for an image student.
            image: Image encoder, or None for a text student.
            hidden: Width of the head's hidden layer.
            n_axes: Number of axes A.
            dropout: Dropout in the head.
            bounded: Whether scores are limited to the axes' ranges.
        """
        super().__init__()
        self.text = text
        self.image = image
        dims = [encoder.dim for encoder in (text, image) if encoder is not None]
        self.head = Head(dims, hidden, n_axes, dropout, bounded=bounded)
        self._frozen: list[nn.Module] = []

    def keep_in_eval_mode(self, module: nn.Module) -> None:
        """Keep a module in evaluation mode even while the student trains."""
        self._frozen.append(module)

    def train(self, mode: bool = True) -> Student:
        """Set training or evaluation mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @property
    def encoders_are_frozen(self) -> bool:
        """Whether only the head has trainable weights."""
        encoders = [encoder for encoder in (self.text, self.image) if encoder is not None]
        return not any(p.requires_grad for encoder in encoders for p in encoder.parameters())

    @property
    def text_dim(self) -> int:
        """Width of caption embeddings; 0 without a text encoder."""
        return self.text.dim if self.text else 0

    @property
    def image_dim(self) -> int:
        """Width of image embeddings; 0 without an image encoder."""
        return self.image.dim if self.image else 0

    def forward(
        self,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixels: Tensor | None = None,
        image_of: Tensor | None = None,
        has_text: Tensor | None = None,
        has_image: Tensor | None = None,
    ) -> Tensor:
        """Score a batch of posts.

        Args:
            input_ids: Token ids of the captions, int64 (B, T).
            attention_mask: 1 for a token, 0 for padding, int64 (B, T).
            pixels: All images of the batch, uint8 (M, S, S, 3).
            image_of: Row of the post that each image belongs to, int64 (M,).
            has_text: 1 if the caption is to be used, float32 (B, 1).
            has_image: 1 if the images are to be used, float32 (B, 1).

        Returns:
            Scores in units of the axes, not clipped, float32 (B, A).
        """
        text = image = None
        if self.text is not None:
            text = self.text(input_ids, attention_mask)  # (B, Dt)
        if self.image is not None:
            assert pixels is not None
            assert image_of is not None
            assert has_image is not None
            n_rows = has_image.shape[0]
            image = (
                mean_by_row(self.image(pixels), image_of, n_rows)
                if len(pixels)  # batch normalisation fails on an empty batch
                else has_image.new_zeros(n_rows, self.image_dim)
            )  # (B, Di)
        return self.head(  # type: ignore[no-any-return]
            text,
            has_text if text is not None else None,
            image,
            has_image if image is not None else None,
        )


def mean_by_row(embeddings: Tensor, row_of: Tensor, n_rows: int) -> Tensor:
    """Average the image embeddings of each post.

    Args:
        embeddings: One row per image, float32 (M, D).
        row_of: Row of the post that each image belongs to, int64 (M,).
        n_rows: Number of posts B.

    Returns:
        Means, float32 (B, D); zero for a post without an image.
    """
    total = embeddings.new_zeros(n_rows, embeddings.shape[1]).index_add(0, row_of, embeddings)
    count = embeddings.new_zeros(n_rows).index_add(0, row_of, embeddings.new_ones(len(row_of)))
    return total / count.clamp(min=1.0).unsqueeze(1)  # (B, D)
