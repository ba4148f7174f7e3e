"""Compare explanations on the demo corpus with the cues that its generator planted.

The words that carry a claim, which may lower the score, should be among the three words with the
largest contributions of either sign. A planted object always raises the score: one should be in the
region that raises it most. Chance is what random words and a random region would reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from postbias.explanation.explanation_records import RegionContribution, WordContribution
from postbias.paths import Paths

#: Number of words among which the planted ones are looked for.
TOP_WORDS = 3


@dataclass(frozen=True, slots=True)
class PlantedCues:
    """Cues of one post.

    Attributes:
        words: Start and end of the parts of the caption that carry the claim; empty without one.
        boxes: Position of the image, and left, top, right and bottom of the objects that raise the
            score, as shares of its width and height.
    """

    words: Sequence[tuple[int, int]]
    boxes: Sequence[tuple[int, tuple[float, float, float, float]]]


@dataclass(frozen=True, slots=True)
class CueHit:
    """Whether a planted cue was found, and the probability that chance would find it."""

    is_found: bool
    chance: float


def read_planted_cues(
    paths: Paths, post_ids: Sequence[str], captions: Sequence[str]
) -> list[PlantedCues] | None:
    """Read the cues of some posts.

    Args:
        paths: The repository, with the ground truth if its corpus is the demo.

    Returns:
        Cues by post; None for another corpus.
    """
    truth = paths.sampled_file("data/truth.parquet")
    if not truth.is_file():
        return None
    from postbias.demo.caption_writer import caption_cues_of
    from postbias.demo.ground_truth import read_cues
    from postbias.demo.planted_objects import SYMBOL, TAG, read_planted_objects
    from postbias.demo.planted_words import find_claim_words

    cues = read_cues(truth, post_ids)
    objects = read_planted_objects(truth, post_ids)
    if cues is None or objects is None:
        return None
    planted = []
    for row, caption in enumerate(captions):
        names = {SYMBOL} if cues.prop[row] else set()  # without strength it is an everyday object
        boxes = [(image, found[1:]) for image, found in objects[row] if found.name in names | {TAG}]
        planted.append(PlantedCues(find_claim_words(caption, caption_cues_of(cues, row)), boxes))
    return planted


def find_words(words: Sequence[WordContribution], cues: PlantedCues) -> CueHit | None:
    """Look for the words of the claim among the top words.

    Returns:
        The result; None if there is no claim or no word.
    """
    if not cues.words or not words:
        return None
    ranked = sorted(words, key=lambda word: -abs(word.contribution))
    is_cue = [_overlaps(word.start, word.end, cues.words) for word in ranked]
    n_top = min(TOP_WORDS, len(words))
    missed = comb(is_cue.count(False), n_top) / comb(len(words), n_top)
    return CueHit(is_found=any(is_cue[:TOP_WORDS]), chance=1 - missed)


def find_planted_objects(regions: Sequence[RegionContribution], cues: PlantedCues) -> CueHit | None:
    """Look for the centre of the region that raises the score most inside the objects.

    Returns:
        The result; None if there is no object or no region.
    """
    if not cues.boxes or not regions:
        return None
    top = max(regions, key=lambda region: region.contribution)
    hits = [_is_inside(region, cues) for region in regions]
    return CueHit(is_found=_is_inside(top, cues), chance=float(np.mean(hits)))


def _overlaps(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < last and first < end for first, last in spans)


def _is_inside(region: RegionContribution, cues: PlantedCues) -> bool:
    x = (region.box.left + region.box.right) / 2
    y = (region.box.top + region.box.bottom) / 2
    return any(
        image == region.image and left <= x <= right and top <= y <= bottom
        for image, (left, top, right, bottom) in cues.boxes
    )
