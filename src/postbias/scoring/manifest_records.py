"""Optional records of `student.json`: how the text encoder is used, and a full student."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["mean", "cls"]
POOLINGS: tuple[Pooling, ...] = ("mean", "cls")


@dataclass(frozen=True, slots=True)
class DistilledFrom:
    """The full student whose scores a smaller student learned from.

    Attributes:
        digest: Digest of its artifact.
        posts: Number of unlabelled posts that the smaller student learned from.
        same_folds: Whether it was trained on the same labels of the same folds, so that it has seen
            no label of the folds calib and test. If not, this is not known.
    """

    digest: str
    posts: int
    same_folds: bool


@dataclass(frozen=True, slots=True)
class TextConvention:
    """How a text encoder is used.

    Attributes:
        pooling: `mean` of the tokens' hidden states, or the hidden state of the first token, `cls`.
        prefix: Text put before every caption, for example `query: `. The tokenizer of the artifact
            does this.
    """

    pooling: Pooling = "mean"
    prefix: str = ""


DEFAULT_CONVENTION = TextConvention()
