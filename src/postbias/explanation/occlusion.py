"""Find the words and image regions that moved a score, from coarse to fine, within a budget.

The contribution of a part is the score minus the score with the part masked. Long texts are
occluded by phrase first, then word by word in the phrases with the largest contributions; images by
cells of a grid, then by quarters of the cells with the largest contributions.
"""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from postbias.explanation.image_regions import GRID, Region
from postbias.explanation.post_variants import Variant, VariantImage, VariantScorer
from postbias.explanation.text_spans import Span, mask_spans, split_phrases

# Phrases get a third of the budget, their words the rest.
_PHRASE_SHARE = 3


class TextPart(NamedTuple):
    """Words that were masked together, and what they contribute."""

    words: tuple[int, ...]
    contribution: float


class ImagePart(NamedTuple):
    """A region of a readable image, and what it contributes; None is the whole image."""

    image: int
    region: Region | None
    contribution: float


_Part = TypeVar("_Part", TextPart, ImagePart)
_Key = TypeVar("_Key")


class _Occluder:
    """Scores a post without one part at a time, on one axis."""

    def __init__(self, variants: VariantScorer, column: int) -> None:
        self.variants = variants
        self.whole = variants.post.whole
        self._column = column
        self._score = self._measure([self.whole])[0]

    def contributions(self, variants: Iterable[Variant]) -> list[float]:
        return [self._score - value for value in self._measure(list(variants))]

    def _measure(self, variants: list[Variant]) -> list[float]:
        if not variants:
            return []
        return [float(v) for v in self.variants.score(variants)[:, self._column]]


def occlude_words(
    variants: VariantScorer, words: Sequence[Span], column: int, budget: int
) -> list[TextPart]:
    """Measure the contributions of words.

    Args:
        variants: Scores variants of the post.
        words: Words of its text.
        column: Index of the axis.
        budget: Maximum number of variants to score, besides the unchanged post.

    Returns:
        Words and phrases in order of the text; each word is in one of them.
    """
    occluder = _Occluder(variants, column)
    text = occluder.whole.text

    def measure(parts: Sequence[Sequence[int]]) -> list[TextPart]:
        without = (
            Variant(mask_spans(text, [words[i] for i in part]), occluder.whole.images)
            for part in parts
        )
        values = occluder.contributions(without)
        return [TextPart(tuple(p), v) for p, v in zip(parts, values, strict=True)]

    if len(words) <= budget:
        return measure([[i] for i in range(len(words))])
    phrases = measure(split_phrases(text, words, max(1, budget // _PHRASE_SHARE)))

    def divide(part: TextPart) -> list[Sequence[int]]:
        return [[i] for i in part.words] if len(part.words) > 1 else []

    return sorted(_refine(phrases, divide, measure, budget - len(phrases)))


def occlude_regions(variants: VariantScorer, column: int, budget: int) -> list[ImagePart]:
    """Measure the contributions of image regions.

    Args:
        variants: Scores variants of the post.
        column: Index of the axis.
        budget: Maximum number of variants to score, besides the unchanged post.

    Returns:
        Regions by image; they cover each image once. Of several images, those with the smallest
        contributions are one part each.
    """
    occluder = _Occluder(variants, column)
    images = occluder.whole.images

    def measure(parts: Sequence[tuple[int, Region | None]]) -> list[ImagePart]:
        without = (Variant(occluder.whole.text, _occlude(images, *part)) for part in parts)
        values = occluder.contributions(without)
        return [ImagePart(*part, v) for part, v in zip(parts, values, strict=True)]

    wholes = [ImagePart(i, None, 0.0) for i in range(len(images))]
    if len(images) > 1:
        wholes = measure([(i, None) for i in range(len(images))])
        budget -= len(images)
    side = [len(pixels) for pixels in variants.post.images]

    def divide_image(part: ImagePart) -> list[tuple[int, Region | None]]:
        square = Region(0, 0, side[part.image], side[part.image])
        return [(part.image, region) for region in square.divide(GRID)]

    def divide_cell(part: ImagePart) -> list[tuple[int, Region | None]]:
        if part.region is None:
            return []
        quarters = part.region.divide(2)
        return [(part.image, region) for region in quarters] if len(quarters) > 1 else []

    cells = _refine(wholes, divide_image, measure, budget)
    n_used = sum(part.region is not None for part in cells)
    parts = _refine(cells, divide_cell, measure, budget - n_used)
    return sorted(parts, key=lambda part: (part.image, part.region or ()))


def _occlude(
    images: Sequence[VariantImage], position: int, region: Region | None
) -> tuple[VariantImage, ...]:
    """Fill a region of one image, or leave the image out."""
    filled = () if region is None else ((position, (region,)),)
    return tuple(f for image in images for f in (filled if image[0] == position else (image,)))


def _refine(
    parts: Sequence[_Part],
    divide: Callable[[_Part], Sequence[_Key]],
    measure: Callable[[Sequence[_Key]], list[_Part]],
    budget: int,
) -> list[_Part]:
    """Divide the parts with the largest contributions as far as the budget allows."""
    kept: list[_Part] = []
    keys: list[_Key] = []
    for part in sorted(parts, key=lambda part: -abs(part.contribution)):
        divided = divide(part)
        if divided and len(keys) + len(divided) <= budget:
            keys += divided
        else:
            kept.append(part)
    return kept + measure(keys)
