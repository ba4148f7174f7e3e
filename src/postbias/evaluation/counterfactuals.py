"""Counterfactual captions: swapped gender words, repeated text and unusual captions.

With gender words swapped, the main axis must hardly change, and an orientation axis must follow the
words. With a caption written twice, scores must hardly change either. Unusual captions must get a
score within the axis, and empty ones none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.labelled_folds import to_predictions
from postbias.evaluation.word_swaps import SwappedCaption, WordPairs
from postbias.posts.authorship import AuthorCounts
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import resampled_mean

#: The gate ignores word swaps with fewer captions or authors.
MIN_SWAPPED_CAPTIONS, MIN_SWAPPED_AUTHORS = 30, 10

#: Captions that must not get a score.
EMPTY_CAPTIONS = {"empty": "", "blank": " \n\t "}
#: Captions that must get a score within the axis.
UNUSUAL_CAPTIONS = {
    "emoji": "✨🌿😂🙌💛",
    "one_letter": "x",
    "punctuation": "?!... #",
    "invisible": "\u200b\u200d\ufe0f",
    "control": "a\x00b\x07",
    "mixed_scripts": "mañana 今日 يوم день ✨",
}
_LONG_CAPTION_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class WordSwapResult:
    """Effect of swapped gender words on the scores of one student.

    Attributes:
        n: Captions with swapped words.
        authors: Their authors.
        languages: Number of these captions by language.
        unswapped: Captions by language in which no word of its list can be swapped.
        unaudited: Captions by language that has no list of words.
        change: Replicates of the mean absolute change of the main axis, as a share of its range.
            (1 + R,)
        n_directed: Captions that became more feminine or more masculine as a whole.
        shift: Replicates of the mean change of the orientation axis in the direction of the words,
            in points; `None` if the student has no such axis. (1 + R,)
        right: Replicates of the share of captions that changed in that direction; `None` likewise.
            (1 + R,)
    """

    n: int
    authors: AuthorCounts
    languages: Mapping[str, int]
    unswapped: Mapping[str, int]
    unaudited: Mapping[str, int]
    change: Array
    n_directed: int
    shift: Array | None
    right: Array | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough captions and authors for the gate."""
        return self.n >= MIN_SWAPPED_CAPTIONS and self.authors.n_units >= MIN_SWAPPED_AUTHORS


@dataclass(frozen=True, slots=True)
class CounterfactualResult:
    """Effect of changed captions on the scores of one student.

    Attributes:
        swaps: Effect of swapped gender words.
        n_repeated: Captions that were scored when written twice.
        repeat_change: Replicates of the mean absolute change of the main axis when a caption is
            written twice, as a share of its range. (1 + R,)
        odd: Status of each empty or unusual caption: `ok`, or the reason why it has no score.
        faults: Descriptions of empty or unusual captions that were handled wrongly.
    """

    swaps: WordSwapResult
    n_repeated: int
    repeat_change: Array
    odd: Mapping[str, str]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionSample:
    """Captions of the test fold to be changed.

    Attributes:
        rows: Row numbers of the sampled posts. (k,)
        languages: Language of every caption of the fold. (n,)
        pairs: Gender word pairs by language.
        orientation: Name of the axis that must follow the words, if any.
    """

    rows: npt.NDArray[np.intp]
    languages: Sequence[str]
    pairs: Mapping[str, WordPairs]
    orientation: str | None


def measure_counterfactuals(
    test: EvaluationSet, scorer: Scorer, sample: CaptionSample
) -> CounterfactualResult:
    """Score changed captions with a student that reads captions.

    Captions are scored without their images: beside an image of a man, a caption about women may
    rightly change the score.

    Args:
        scorer: The student, as shipped.
        sample: The captions, and how to swap their words.

    Returns:
        The effect on its scores.
    """
    captions = {int(row): test.fold.captions[row] for row in sample.rows}
    captions = {row: caption for row, caption in captions.items() if caption.strip()}
    swapped = _swap_words(captions, sample)
    original = _score(scorer, captions)
    after = _score(scorer, {row: caption.text for row, caption in swapped.items()})
    twice = _score(scorer, {row: f"{caption}\n{caption}" for row, caption in captions.items()})
    main = test.axes[0]
    span = main.high - main.low
    repeat_change = _score_changes(test, main.name, original, twice)
    odd, faults = _score_unusual_captions(scorer, max(captions.values(), key=len, default="word"))
    return CounterfactualResult(
        swaps=_measure_swaps(test, (original, after), swapped, (list(captions), sample)),
        n_repeated=int(np.isfinite(repeat_change).sum()),
        repeat_change=resampled_mean(np.abs(repeat_change) / span, test.resamples),
        odd=odd,
        faults=faults,
    )


def _swap_words(captions: Mapping[int, str], sample: CaptionSample) -> dict[int, SwappedCaption]:
    swapped = {}
    for row, caption in captions.items():
        pairs = sample.pairs.get(sample.languages[row])
        if pairs is not None and (changed := pairs.swap(caption)) is not None:
            swapped[row] = changed
    return swapped


def _score(scorer: Scorer, captions: Mapping[int, str]) -> dict[int, PostScore]:
    results = scorer.score([PostInput(caption) for caption in captions.values()])
    return dict(zip(captions, results, strict=True))


def _score_changes(
    test: EvaluationSet, axis: str, before: Mapping[int, PostScore], after: Mapping[int, PostScore]
) -> Array:
    """Return the change of each post's score; NaN for posts that were not scored twice: (n,)."""
    changes = np.full(len(test.fold), np.nan)
    rows = np.array(sorted(after), np.intp)
    if len(rows):
        old, new = (
            to_predictions([results[row] for row in rows], axis) for results in (before, after)
        )
        changes[rows] = new.values - old.values
    return changes


def _measure_swaps(
    test: EvaluationSet,
    results: tuple[Mapping[int, PostScore], Mapping[int, PostScore]],
    swapped: Mapping[int, SwappedCaption],
    tried: tuple[Sequence[int], CaptionSample],
) -> WordSwapResult:
    rows, sample = tried
    others = [sample.languages[row] for row in rows if row not in swapped]
    main = test.axes[0]
    change = np.abs(_score_changes(test, main.name, *results)) / (main.high - main.low)
    direction = np.full(len(test.fold), np.nan)
    for row, caption in swapped.items():
        if caption.direction:
            direction[row] = caption.direction
    shift = right = None
    if sample.orientation in {axis.name for axis in test.axes}:
        directed = _score_changes(test, str(sample.orientation), *results) * direction
        is_right = np.where(np.isfinite(directed), directed > 0, np.nan)
        shift = resampled_mean(directed, test.resamples)
        right = resampled_mean(is_right, test.resamples)
    return WordSwapResult(
        n=len(swapped),
        authors=test.fold.count_authors(list(swapped)),
        languages=_count(sample.languages[row] for row in swapped),
        unswapped=_count(language for language in others if language in sample.pairs),
        unaudited=_count(language for language in others if language not in sample.pairs),
        change=resampled_mean(change, test.resamples),
        n_directed=int(np.isfinite(direction).sum()),
        shift=shift,
        right=right,
    )


def _count(languages: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(languages).items()))


def _score_unusual_captions(scorer: Scorer, caption: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Score empty and unusual captions; return the status of each and the faults."""
    repetitions = _LONG_CAPTION_CHARACTERS // (len(caption) + 1) + 1
    very_long = (f"{caption} " * repetitions)[:_LONG_CAPTION_CHARACTERS]
    captions = {**EMPTY_CAPTIONS, **UNUSUAL_CAPTIONS, "very_long": very_long}
    scores = scorer.score([PostInput(text) for text in captions.values()])
    results = dict(zip(captions, scores, strict=True))
    faults = []
    for name, result in results.items():
        if name in EMPTY_CAPTIONS and result.status == OK:
            faults.append(f"{name}: scored from nothing")
        elif name not in EMPTY_CAPTIONS and result.status != OK:
            faults.append(f"{name}: not scored ({result.status})")
        faults += [f"{name}: {fault}" for fault in _scores_out_of_range(scorer, result)]
    return {name: result.status for name, result in results.items()}, tuple(faults)


def _scores_out_of_range(scorer: Scorer, result: PostScore) -> list[str]:
    return [
        f"{axis.name} is {result.scores[axis.name].value}"
        for axis in scorer.manifest.axes
        if axis.name in result.scores
        and not axis.low <= result.scores[axis.name].value <= axis.high
    ]
