"""Text of an explanation for the terminal: shares, words with bars, and grids of image regions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postbias.explanation.explanation_records import (
        Explanation,
        RegionContribution,
        WordContribution,
    )

_BAR = 20  # characters
_MAX_WORDS = 12
_MAX_WORD_CHARACTERS = 40
_MIN_SHOWN = 0.005  # points; smaller contributions are printed as 0.00

# Cells per side of the printed grid: enough for the smallest regions.
_GRID = 8


def format_explanation(explanation: Explanation) -> str:
    """Format an explanation.

    Args:
        explanation: The explanation of a post with a score.

    Returns:
        Lines without trailing spaces or a final newline. Control characters of the caption are
        left out.
    """
    blocks = [list(_format_shares(explanation))]
    if explanation.words:
        blocks.append(list(_format_words(explanation.words)))
    images = sorted({region.image for region in explanation.regions})
    for image in images:
        regions = [region for region in explanation.regions if region.image == image]
        blocks.append(list(_format_regions(image, regions)))
    if explanation.nearest:
        blocks.append(list(_format_nearest(explanation)))
    if explanation.notes:
        blocks.append([f"note: {note}" for note in explanation.notes])
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def _format_shares(explanation: Explanation) -> Iterator[str]:
    shares = explanation.shares
    assert shares is not None
    score = explanation.score.scores[explanation.axis].value
    yield f"{explanation.axis}, in points"
    yield f"  {shares.baseline:6.2f}  without any content"
    yield f"  {shares.caption:+6.2f}  caption"
    yield f"  {shares.image:+6.2f}  images"
    yield f"  {score:6.2f}  score"


def _format_words(words: Sequence[WordContribution]) -> Iterator[str]:
    shown = sorted(words, key=lambda word: -abs(word.contribution))[:_MAX_WORDS]
    shown = [word for word in shown if abs(word.contribution) >= _MIN_SHOWN]
    if not shown:
        yield "words: none changes the score"
        return
    largest = abs(shown[0].contribution)
    yield f"words that move the score ({len(shown)} of {len(words)})"
    for word in shown:
        bar = round(_BAR * abs(word.contribution) / largest)
        sign = "+" if word.contribution > 0 else "-"
        where = "" if word.source == "caption" else "  (text in an image)"
        yield f"  {word.contribution:+6.2f}  {sign * bar:<{_BAR}}  {_clean(word.text)}{where}"


def _format_regions(image: int, regions: Sequence[RegionContribution]) -> Iterator[str]:
    """Print a grid of the regions' contributions in points, as seen upright."""
    yield f"image {image + 1}: points that each region adds"
    if len(regions) == 1:
        yield f"  {regions[0].contribution:+.2f}  the whole image"
        return
    left, top = (min(getattr(r.box, side) for r in regions) for side in ("left", "top"))
    right, bottom = (max(getattr(r.box, side) for r in regions) for side in ("right", "bottom"))
    strongest = max(regions, key=lambda region: abs(region.contribution))
    for row in range(_GRID):
        y = top + (bottom - top) * (row + 0.5) / _GRID
        cells = []
        for column in range(_GRID):
            x = left + (right - left) * (column + 0.5) / _GRID
            region = _find_region(regions, x, y)
            mark = "*" if region is strongest else " "
            cells.append(f"{region.contribution:+5.2f}{mark}")
        yield f"  {' '.join(cells)}"
    yield f"  * strongest region: {_describe_box(strongest)}"


def _find_region(regions: Sequence[RegionContribution], x: float, y: float) -> RegionContribution:
    """Return the region at a position; the nearest one if rounding leaves a gap."""

    def distance(region: RegionContribution) -> float:
        box = region.box
        across = max(box.left - x, x - box.right, 0)
        return across + max(box.top - y, y - box.bottom, 0)

    return min(regions, key=distance)


def _describe_box(region: RegionContribution) -> str:
    left, top, right, bottom = (f"{100 * side:.0f}%" for side in region.box)
    return f"{left} to {right} from the left, {top} to {bottom} from the top"


def _format_nearest(explanation: Explanation) -> Iterator[str]:
    yield "most similar labelled posts of the training data"
    for post in explanation.nearest:
        labels = ", ".join(f"{axis} {value:g}" for axis, value in post.labels.items())
        yield f"  {post.similarity:.2f}  {post.post_id}  {labels}"
        if post.reason:
            yield f"        {_clean(post.reason, 160)}"


def _clean(text: str, max_characters: int = _MAX_WORD_CHARACTERS) -> str:
    """Make text safe for a terminal, and short."""
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cf"} else c for c in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= max_characters else plain[: max_characters - 1] + "…"
