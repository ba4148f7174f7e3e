"""The student network: a text encoder, an image encoder or both, and a head for all axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postbias.student.encoders import ImageEncoder, TextEncoder


class ScoreHead(nn.Module):
    """What heads have in common: the units of their scores."""

    center: Tensor
    scale: Tensor

    def __init__(self, n_axes: int, *, bounded: bool) -> None:
        """Start with standardised units.

        Args:
            n_axes: Number of axes A.
            bounded: Whether a logistic function limits scores to the range from `center` to
                `center` + `scale`. Otherwise scores are unlimited, and `center` and `scale` hold
                the labels' mean and standard deviation.
        """
        super().__init__()
        self.bounded = bounded
        self.register_buffer("center", torch.zeros(n_axes))
        self.register_buffer("scale", torch.ones(n_axes))

    def to_scores(self, raw: Tensor) -> Tensor:
        """Convert raw scores (B, A), before the logistic function, to units of the axes (B, A)."""
        standardised = raw.sigmoid() if self.bounded else raw
        return standardised * self.scale + self.center


class Head(ScoreHead):
    """An MLP or a linear layer on the concatenated embeddings.

    Each embedding is layer-normalised, so that both modalities start with equal weight. A missing
    modality is a zero vector with a zero flag.
    """

    def __init__(
        self,
        dims: Sequence[int],
        hidden: int | None,
        n_axes: int,
        dropout: float,
        *,
        bounded: bool = False,
    ) -> None:
        """Initialise the head with random weights.

        Args:
            dims: Widths of the embeddings, text before image.
            hidden: Width of the hidden layer of an MLP; None for a linear layer.
            n_axes: Number of axes A.
            dropout: Share of the last layer's inputs dropped in training.
            bounded: Whether scores are limited to the axes' ranges.
        """
        super().__init__(n_axes, bounded=bounded)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in dims)
        n_features = sum(dims) + len(dims)
        below = [] if hidden is None else [nn.Linear(n_features, hidden), nn.GELU()]
        self.layers = nn.Sequential(
            *below, nn.Dropout(dropout), nn.Linear(hidden or n_features, n_axes)
        )

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that computes the raw scores; the only one of a linear head."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

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
        return self.to_scores(self.raw_scores((text, has_text), (image, has_image)))

    def raw_scores(self, *inputs: tuple[Tensor | None, Tensor | None]) -> Tensor:
        """Compute scores before the logistic function and before units, float32 (B, A).

        Args:
            inputs: Embeddings (B, D) and flags (B, 1) of each modality, text before image.
        """
        raw: Tensor = self.layers(self.features(*inputs)).float()  # (B, A)
        return raw

    def features(self, *inputs: tuple[Tensor | None, Tensor | None]) -> Tensor:
        """Concatenate normalised embeddings and flags; arguments as for `raw_scores`, (B, F)."""
        used = [(embedding, has) for embedding, has in inputs if embedding is not None]
        parts: list[Tensor] = []
        for norm, (embedding, has) in zip(self.norms, used, strict=True):
            assert has is not None
            parts += [norm(embedding) * has, has]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def change_units(self, center: Tensor, scale: Tensor) -> None:
        """Change the units of the raw scores; the scores stay the same.

        Args:
            center: New center, (A,); of a bounded head only the present one is allowed.
            scale: New scale, (A,).
        """
        if self.bounded:
            assert torch.equal(center, self.center)
            assert torch.equal(scale, self.scale)
            return
        last = self.last_layer
        last.weight.mul_((self.scale / scale).unsqueeze(1))
        last.bias.mul_(self.scale / scale).add_((self.center - center) / scale)
        self.center.copy_(center)
        self.scale.copy_(scale)


class LateFusionHead(ScoreHead):
    """A weighted sum of a text head and an image head, and a correction for posts with both.

    A post with one modality gets the score of its head. The correction is zero at first; training
    makes it depend on caption and image together.
    """

    def __init__(self, text: Head, image: Head, joint: Head) -> None:
        """Combine heads with equal weights.

        Args:
            text: Head on caption embeddings.
            image: Head on image embeddings.
            joint: Head on both, for the correction; its last layer is set to zero.
        """
        n_axes = len(joint.center)
        super().__init__(n_axes, bounded=joint.bounded)
        self.text, self.image, self.joint = text, image, joint
        self.weights = nn.Parameter(torch.full((2, n_axes), 0.5))
        self.offset = nn.Parameter(torch.zeros(n_axes))
        for parameter in joint.last_layer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, text: Tensor, has_text: Tensor, image: Tensor, has_image: Tensor) -> Tensor:
        """Score posts; arguments and result as for `Head`."""
        by_text = self.text.raw_scores((text, has_text))  # (B, A)
        by_image = self.image.raw_scores((image, has_image))  # (B, A)
        correction = self.joint.raw_scores((text, has_text), (image, has_image))  # (B, A)
        by_both = self.weights[0] * by_text + self.weights[1] * by_image + self.offset + correction
        has_both = has_text * has_image
        by_one = has_text * by_text + has_image * by_image
        return self.to_scores(has_both * by_both + (1 - has_both) * by_one)


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
        linear: bool = False,
        late_fusion: bool = False,
    ) -> None:
        """Combine encoders with a new head.

        Args:
            text: Text encoder, or None for an image student.
            image: Image encoder, or None for a text student.
            hidden: Width of the head's hidden layer.
            n_axes: Number of axes A.
            dropout: Dropout in the head.
            bounded: Whether scores are limited to the axes' ranges.
            linear: Whether the head is linear; the correction of late fusion never is, since a
                linear one could not depend on caption and image together.
            late_fusion: Whether the head starts as a weighted sum of two.
        """
        super().__init__()
        self.text = text
        self.image = image
        dims = [encoder.dim for encoder in (text, image) if encoder is not None]

        def new_head(dims: Sequence[int], width: int | None) -> Head:
            return Head(dims, width, n_axes, dropout, bounded=bounded)

        width = None if linear else hidden
        self.head: Head | LateFusionHead = (
            LateFusionHead(
                new_head(dims[:1], width), new_head(dims[1:], width), new_head(dims, hidden)
            )
            if late_fusion
            else new_head(dims, width)
        )
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
