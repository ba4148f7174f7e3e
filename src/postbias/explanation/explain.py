"""Explain the score of one post."""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from postbias.errors import InputError
from postbias.explanation.explanation_records import (
    Explanation,
    ModalityShares,
    RegionContribution,
    TextSource,
    WordContribution,
)
from postbias.explanation.faithfulness_verdicts import (
    FaithfulnessVerdicts,
    is_refused,
    note_on_verdict,
)
from postbias.explanation.image_regions import Region, to_relative
from postbias.explanation.occlusion import (
    ImagePart,
    TextPart,
    occlude_regions,
    occlude_words,
)
from postbias.explanation.post_variants import (
    ReadPost,
    Variant,
    VariantScorer,
    read_post_parts,
)
from postbias.explanation.text_spans import Span, split_words
from postbias.posts.image_text import MARKER
from postbias.scoring.post_scores import OK, PostInput
from postbias.scoring.scorer import Scorer

#: Maximum number of variants of a post that are scored to explain it.
MAX_CALLS = 60

# The post itself, its caption, its images, and nothing.
_CALLS_FOR_SHARES = 4

# For the words of a post with images, which get the rest: 16 cells, and the quarters of four.
_WORD_CALLS = MAX_CALLS - _CALLS_FOR_SHARES - 32


def explain_post(
    scorer: Scorer,
    post: PostInput,
    axis: str | None = None,
    *,
    verdicts: FaithfulnessVerdicts | None = None,
) -> Explanation:
    """Explain the score of one post.

    Args:
        scorer: The student.
        axis: The axis to explain; the main axis by default.
        verdicts: Results of the tests of this student's explanations; parts that failed are left
            out, and a note says so.

    Returns:
        The explanation. A post without a score has none: see the status of its score.

    Raises:
        InputError: If the student has no such axis.
    """
    axis = axis or scorer.axes[0]
    column = _find_axis(scorer, axis)
    (score,) = scorer.score([post])
    if score.status != OK:
        return Explanation(score, axis)
    read = read_post_parts(scorer, post)
    variants = VariantScorer(scorer, read)
    shares = _share_between_modalities(variants, column)
    words = list_read_words(scorer, read)
    text_parts, image_parts = occlude_post(variants, words, column)
    return Explanation(
        score=score,
        axis=axis,
        text=read.text,
        words=()
        if is_refused(verdicts, "words", axis)
        else describe_words(read, words, text_parts),
        regions=()
        if is_refused(verdicts, "regions", axis)
        else describe_regions(read, image_parts),
        shares=shares,
        notes=_list_notes(scorer, read, axis, verdicts),
        n_calls=variants.n_calls,
    )


def list_read_words(scorer: Scorer, read: ReadPost) -> list[Span]:
    """List the words of a post's text that the student reads; text beyond its limit is not."""
    if not read.text:
        return []
    words = split_words(read.text[: scorer.graphs.count_read_characters(read.text)])
    start = read.text.find(MARKER, len(read.caption)) if read.image_texts else len(read.text)
    return [word for word in words if not start <= word.start < start + len(MARKER)]


def occlude_post(
    variants: VariantScorer, words: Sequence[Span], column: int
) -> tuple[list[TextPart], list[ImagePart]]:
    """Measure the contributions of the words and image regions of a post within `MAX_CALLS`.

    Args:
        variants: Scores variants of the post.
        words: Result of `list_read_words`.
        column: Index of the axis.

    Returns:
        Words and phrases in order of the text, and regions by image.
    """
    budget = MAX_CALLS - _CALLS_FOR_SHARES
    if not variants.post.images:
        return occlude_words(variants, words, column, budget), []
    variants.score([variants.post.whole])
    n_before = variants.n_calls
    text_parts = occlude_words(variants, words, column, _WORD_CALLS)
    n_used = variants.n_calls - n_before
    return text_parts, occlude_regions(variants, column, budget - n_used)


def describe_words(
    read: ReadPost, words: Sequence[Span], parts: Sequence[TextPart]
) -> tuple[WordContribution, ...]:
    """Describe words and phrases by their text and position."""
    described = []
    for part in parts:
        start, end = words[part.words[0]].start, words[part.words[-1]].end
        source: TextSource = "caption" if start < len(read.caption) else "image_text"
        text = read.text[start:end]
        described.append(WordContribution(text, start, end, source, part.contribution))
    return tuple(described)


def describe_regions(read: ReadPost, parts: Sequence[ImagePart]) -> tuple[RegionContribution, ...]:
    """Describe image regions by their position in the upright image."""
    described = []
    for part in parts:
        side = len(read.images[part.image])
        region = part.region or Region(0, 0, side, side)
        box = to_relative(region, read.squares[part.image], side)
        position = read.positions[part.image]
        described.append(RegionContribution(position, box, part.contribution))
    return tuple(described)


def _find_axis(scorer: Scorer, axis: str) -> int:
    if axis not in scorer.axes:
        raise InputError("the student has no such axis", seen=axis, allowed=scorer.axes)
    return scorer.axes.index(axis)


def _share_between_modalities(variants: VariantScorer, column: int) -> ModalityShares:
    """Compute the Shapley values of caption and images."""
    read, axis = variants.post, variants.scorer.manifest.axes[column]
    parts = [read.whole, read.caption_only, read.images_only, Variant("")]
    raw = variants.score(parts)[:, column].astype(np.float64)
    whole, caption, images, nothing = np.clip(raw, axis.low, axis.high).tolist()
    return ModalityShares(
        baseline=nothing,
        caption=((caption - nothing) + (whole - images)) / 2,
        image=((images - nothing) + (whole - caption)) / 2,
    )


def _list_notes(
    scorer: Scorer, read: ReadPost, axis: str, verdicts: FaithfulnessVerdicts | None
) -> tuple[str, ...]:
    notes: list[str | None] = []
    if read.text:
        notes.append(note_on_verdict(verdicts, "words", axis))
        if scorer.graphs.count_read_characters(read.text) < len(read.text):
            notes.append("the student does not read the end of the text, which is too long")
    if read.images:
        notes.append(note_on_verdict(verdicts, "regions", axis))
    return tuple(note for note in notes if note)
