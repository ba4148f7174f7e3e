"""The explanations of example posts: marked words, the strongest image region and the shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postbias.explanation.explain import explain_post
from postbias.explanation.explanation_records import (
    Explanation,
    ModalityShares,
    RegionContribution,
)
from postbias.explanation.faithfulness_verdicts import read_verdicts
from postbias.explanation.image_regions import RelativeBox
from postbias.params import Params
from postbias.paths import Paths
from postbias.scoring.scorer import PostInput, Scorer

#: Words and regions that change the score by less are not marked.
MIN_MARKED_POINTS = 0.1

#: Strengths of marks: shares of the largest contribution in the post.
_STRENGTHS = (0.33, 0.66)


@dataclass(frozen=True, slots=True)
class CaptionPart:
    """A part of a caption.

    Attributes:
        text: Its text.
        mark: CSS class: `up` or `down` with the strength from 1 to 3; empty for unmarked text.
        contribution: Points that it adds; None for unmarked text.
    """

    text: str
    mark: str = ""
    contribution: float | None = None


@dataclass(frozen=True, slots=True)
class ExplainedExample:
    """The explanation of an example post.

    Attributes:
        caption: Parts of the text that the student read, with marked words.
        region: The strongest region of the image that the page shows; None if no region changes
            the score.
        shares: Shares of caption and images; None if the post has no score now.
    """

    caption: tuple[CaptionPart, ...]
    region: RegionContribution | None
    shares: ModalityShares | None


def explain_examples(
    paths: Paths, params: Params, posts: Sequence[tuple[PostInput, int]]
) -> list[ExplainedExample]:
    """Explain posts with the champion.

    Args:
        posts: Posts, each with the position of the image that the page shows.

    Returns:
        One explanation per post, in order.
    """
    with Scorer.open(
        paths.champion,
        precision=params.infer.precision,
        threads=params.threads,
        image_texts=paths.image_texts,
    ) as scorer:
        verdicts = read_verdicts(scorer.artifact)
        return [
            _describe(explain_post(scorer, post, verdicts=verdicts), image) for post, image in posts
        ]


def mark_caption(explanation: Explanation) -> tuple[CaptionPart, ...]:
    """Split the text that the student read into marked words and the text between them."""
    limit = max((abs(word.contribution) for word in explanation.words), default=0.0)
    parts = []
    position = 0
    for word in explanation.words:
        if abs(word.contribution) < MIN_MARKED_POINTS:
            continue
        parts.append(CaptionPart(explanation.text[position : word.start]))
        strength = 1 + sum(abs(word.contribution) > share * limit for share in _STRENGTHS)
        direction = "up" if word.contribution > 0 else "down"
        parts.append(CaptionPart(word.text, f"{direction}{strength}", word.contribution))
        position = word.end
    parts.append(CaptionPart(explanation.text[position:]))
    return tuple(part for part in parts if part.text)


def _describe(explanation: Explanation, image: int) -> ExplainedExample:
    shown = [region for region in explanation.regions if region.image == image]
    strongest = max(shown, key=lambda region: abs(region.contribution), default=None)
    is_marked = strongest is not None and abs(strongest.contribution) >= MIN_MARKED_POINTS
    return ExplainedExample(
        caption=mark_caption(explanation),
        region=strongest if is_marked else None,
        shares=explanation.shares,
    )


def scale_box(box: RelativeBox, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Convert a box to left, top, width and height in pixels of an image of this size."""
    width, height = size
    left, top = round(box.left * width), round(box.top * height)
    return left, top, round(box.right * width) - left, round(box.bottom * height) - top
