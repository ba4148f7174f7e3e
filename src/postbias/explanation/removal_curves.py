"""Test an explanation of one post: does removing its parts in their order change the score faster?

A removal curve is the score against the share of the text or the images that is removed. If the
parts that raise the score most are removed first, the area under it is small; if they are removed
last, it is large. Random order lies between. The shares are words and pixels, so that phrases and
large regions weigh more than words and small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postbias.explanation.image_regions import Region
from postbias.explanation.occlusion import ImagePart, TextPart
from postbias.explanation.post_variants import Variant, VariantImage, VariantScorer
from postbias.explanation.text_spans import Span, mask_spans

#: Shares at which a curve is measured, besides nothing and everything.
SHARES = (0.1, 0.25, 0.45, 0.7)

#: Random orders that an explanation is compared with.
RANDOM_ORDERS = 3


@dataclass(frozen=True, slots=True)
class OrderComparison:
    """How much the order of an explanation changes the score of one post faster than random orders.

    Attributes:
        deletion: Mean score, in points, by which the curve of the random orders lies above that of
            removing the parts with the largest contributions first.
        insertion: Mean score by which the curve of removing them last lies above that of the random
            orders: parts are inserted in the order of their contributions.
    """

    deletion: float
    insertion: float


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of one kind, their weights, and the variant in which some of them are removed."""

    contributions: Sequence[float]
    weights: NDArray[np.float64]
    remove: Callable[[Sequence[int]], Variant]


def compare_word_order(
    variants: VariantScorer,
    words: Sequence[Span],
    parts: Sequence[TextPart],
    column: int,
    rng: np.random.Generator,
) -> OrderComparison | None:
    """Compare the order of words and phrases with random orders.

    Args:
        variants: Scores variants of the post.
        words: Words of its text.
        parts: Their contributions.
        column: Index of the axis.

    Returns:
        The result; None for fewer than two parts, whose order says nothing.
    """
    whole = variants.post.whole

    def remove(chosen: Sequence[int]) -> Variant:
        spans = [words[i] for part in chosen for i in parts[part].words]
        return Variant(mask_spans(whole.text, spans), whole.images)

    weights = np.array([len(part.words) for part in parts], np.float64)
    contributions = [part.contribution for part in parts]
    return _compare_orders(variants, _Parts(contributions, weights, remove), column, rng)


def compare_region_order(
    variants: VariantScorer, parts: Sequence[ImagePart], column: int, rng: np.random.Generator
) -> OrderComparison | None:
    """Compare the order of image regions with random orders.

    Args:
        variants: Scores variants of the post.
        parts: The contributions of its regions.
        column: Index of the axis.

    Returns:
        The result; None for fewer than two regions.
    """
    whole = variants.post.whole
    pixels = [len(image) ** 2 for image in variants.post.images]

    def remove(chosen: Sequence[int]) -> Variant:
        filled: dict[int, list[Region]] = {}
        dropped = set()
        for part in (parts[i] for i in chosen):
            if part.region is None:
                dropped.add(part.image)
            else:
                filled.setdefault(part.image, []).append(part.region)
        images: list[VariantImage] = [
            (image, tuple(sorted(filled.get(image, ()))))
            for image, _ in whole.images
            if image not in dropped
        ]
        return Variant(whole.text, tuple(images))

    weights = [part.region.area if part.region else pixels[part.image] for part in parts]
    contributions = [part.contribution for part in parts]
    return _compare_orders(
        variants, _Parts(contributions, np.array(weights, np.float64), remove), column, rng
    )


def _compare_orders(
    variants: VariantScorer, parts: _Parts, column: int, rng: np.random.Generator
) -> OrderComparison | None:
    n = len(parts.contributions)
    if n < 2:
        return None
    descending = np.argsort(-np.array(parts.contributions), kind="stable")
    orders = [descending, descending[::-1], *(rng.permutation(n) for _ in range(RANDOM_ORDERS))]
    prefixes = [_choose_prefixes(parts.weights[order]) for order in orders]
    needed = [
        parts.remove(order[:length].tolist())
        for order, lengths in zip(orders, prefixes, strict=True)
        for length in lengths
    ]
    scores = iter(variants.score(needed)[:, column].astype(np.float64))
    areas = []
    for order, lengths in zip(orders, prefixes, strict=True):
        removed = np.concatenate([[0.0], np.cumsum(parts.weights[order])]) / parts.weights.sum()
        curve = [next(scores) for _ in lengths]
        areas.append(float(np.trapezoid(curve, removed[lengths])))
    first, last, random = areas[0], areas[1], float(np.mean(areas[2:]))
    return OrderComparison(deletion=random - first, insertion=last - random)


def _choose_prefixes(weights: NDArray[np.float64]) -> list[int]:
    """Return the numbers of parts to remove: none, all, and those that reach each share."""
    shares = np.cumsum(weights) / weights.sum()
    lengths = 1 + np.searchsorted(shares, SHARES)
    return sorted({0, len(weights), *(int(min(length, len(weights))) for length in lengths)})
