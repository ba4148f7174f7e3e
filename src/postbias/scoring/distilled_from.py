"""The record, in `student.json`, of the full student that a smaller student learned from."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

from dataclasses import dataclass


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
