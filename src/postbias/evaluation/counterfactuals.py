"""What a student makes of captions that differ only in what should, or should not, matter.

Gendered words are swapped in pairs: the main axis must hardly move, and an axis of orientation must
move the way the words did. Captions are written twice, cut down to emoji, drawn out or emptied:
scores must stay within the axis, and nothing must be scored from nothing. Captions stand alone
here, without their pictures: beside a picture of a man, speaking of women may rightly change the
score. Decides nothing: see `postbias.evaluation.gate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postbias.evaluation.labelled_folds import predictions_of
from postbias.evaluation.measure import Bench
from postbias.evaluation.word_swaps import Swapped, WordPairs
from postbias.scoring.scorer import OK, PostInput, PostScore, Scorer
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import mean_of

#: With fewer swapped captions, or those of fewer authors, the gate does not look at them.
MIN_SWAPPED, MIN_AUTHORS = 30, 10

#: Captions that nobody should get a score from.
NOTHING = {"empty": "", "blank": " \n\t "}
#: Captions that a student may find nothing in, but must survive.
ODD = {
    "emoji": "✨🌿😂🙌💛",
    "one_letter": "x",
    "punctuation": "?!... #",
    "invisible": "\u200b\u200d\ufe0f",
    "control": "a\x00b\x07",
    "mixed_scripts": "mañana 今日 يوم день ✨",
}
_LONG_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class Swaps:
    """What swapping gendered words did to the scores of one student.

    Replicates are the number on the data, then one value per draw of authors.

    Attributes:
        n: Captions with swapped words.
        n_authors: Their authors.
        languages: How many of them by language.
        change: Mean absolute change of the main axis, as a share of its range. (1 + R,)
        n_directed: Captions that became more feminine or more masculine as a whole.
        shift: Mean change of the orientation axis in the direction of the words, in its own
            points; None if the student has no such axis. (1 + R,)
        right: Share of them that moved in that direction; None likewise. (1 + R,)
    """

    n: int
    n_authors: int
    languages: Mapping[str, int]
    change: Array
    n_directed: int
    shift: Array | None
    right: Array | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough of them to judge by."""
        return self.n >= MIN_SWAPPED and self.n_authors >= MIN_AUTHORS


@dataclass(frozen=True, slots=True)
class Audit:
    """What one student made of changed captions.

    Attributes:
        swaps: With gendered words swapped.
        n_repeated: Captions that were written twice.
        repeat_change: Mean absolute change of the main axis by that, as a share of its range.
            (1 + R,)
        odd: What became of each odd caption: `ok`, or the reason why it has no score.
        faults: Odd captions that did not behave, in words.
    """

    swaps: Swaps
    n_repeated: int
    repeat_change: Array
    odd: Mapping[str, str]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the audit knows of the captions of a fold.

    Attributes:
        rows: Positions of the posts that are tried. (k,)
        languages: The language of every caption of the fold.
        pairs: The word pairs by language.
        orientation: The axis that must follow the words, if any.
    """

    rows: npt.NDArray[np.intp]
    languages: Sequence[str]
    pairs: Mapping[str, WordPairs]
    orientation: str | None


def audit_student(bench: Bench, scorer: Scorer, wording: Wording) -> Audit:
    """Put changed captions to a student that reads them.

    Args:
        bench: The test fold and its draws.
        scorer: The student, as it ships.
        wording: Which captions, and how to swap their words.

    Returns:
        What it made of them.
    """
    captions = {int(row): bench.fold.captions[row] for row in wording.rows}
    captions = {row: caption for row, caption in captions.items() if caption.strip()}
    swapped = _swap(captions, wording)
    before = _score(scorer, captions)
    after = _score(scorer, {row: one.caption for row, one in swapped.items()})
    twice = _score(scorer, {row: f"{caption}\n{caption}" for row, caption in captions.items()})
    main = bench.axes[0]
    span = main.high - main.low
    repeated = _change(bench, main.name, before, twice)
    odd, faults = _try_odd(scorer, max(captions.values(), key=len, default="word"))
    return Audit(
        swaps=_swaps(bench, (before, after), swapped, wording),
        n_repeated=int(np.isfinite(repeated).sum()),
        repeat_change=mean_of(np.abs(repeated) / span, bench.resamples),
        odd=odd,
        faults=faults,
    )


def _swap(captions: Mapping[int, str], wording: Wording) -> dict[int, Swapped]:
    swapped = {}
    for row, caption in captions.items():
        pairs = wording.pairs.get(wording.languages[row])
        if pairs is not None and (one := pairs.swap(caption)) is not None:
            swapped[row] = one
    return swapped


def _score(scorer: Scorer, captions: Mapping[int, str]) -> dict[int, PostScore]:
    results = scorer.score([PostInput(caption) for caption in captions.values()])
    return dict(zip(captions, results, strict=True))


def _change(
    bench: Bench, axis: str, before: Mapping[int, PostScore], after: Mapping[int, PostScore]
) -> Array:
    """Return by how much each post's score changed; NaN for posts that were not tried: (n,)."""
    change = np.full(len(bench.fold), np.nan)
    rows = np.array(sorted(after), np.intp)
    if len(rows):
        one, two = (predictions_of([said[row] for row in rows], axis) for said in (before, after))
        change[rows] = two.values - one.values
    return change


def _swaps(
    bench: Bench,
    said: tuple[Mapping[int, PostScore], Mapping[int, PostScore]],
    swapped: Mapping[int, Swapped],
    wording: Wording,
) -> Swaps:
    main = bench.axes[0]
    change = np.abs(_change(bench, main.name, *said)) / (main.high - main.low)
    direction = np.full(len(bench.fold), np.nan)
    for row, one in swapped.items():
        if one.direction:
            direction[row] = one.direction
    shift = right = None
    if wording.orientation in {axis.name for axis in bench.axes}:
        moved = _change(bench, str(wording.orientation), *said) * direction
        shift = mean_of(moved, bench.resamples)
        right = mean_of(np.where(np.isfinite(moved), moved > 0, np.nan), bench.resamples)
    return Swaps(
        n=len(swapped),
        n_authors=len({bench.fold.authors[row] for row in swapped}),
        languages=dict(sorted(Counter(wording.languages[row] for row in swapped).items())),
        change=mean_of(change, bench.resamples),
        n_directed=int(np.isfinite(direction).sum()),
        shift=shift,
        right=right,
    )


def _try_odd(scorer: Scorer, caption: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Score odd captions; return what became of each, and what is wrong with it."""
    long = (f"{caption} " * (_LONG_CHARACTERS // (len(caption) + 1) + 1))[:_LONG_CHARACTERS]
    odd = {**NOTHING, **ODD, "very_long": long}
    results = dict(zip(odd, scorer.score([PostInput(text) for text in odd.values()]), strict=True))
    faults = []
    for name, result in results.items():
        if name in NOTHING and result.status == OK:
            faults.append(f"{name}: scored from nothing")
        elif name not in NOTHING and result.status != OK:
            faults.append(f"{name}: not scored ({result.status})")
        faults += [f"{name}: {fault}" for fault in _out_of_range(scorer, result)]
    return {name: result.status for name, result in results.items()}, tuple(faults)


def _out_of_range(scorer: Scorer, result: PostScore) -> list[str]:
    return [
        f"{axis.name} is {result.scores[axis.name].value}"
        for axis in scorer.manifest.axes
        if axis.name in result.scores
        and not axis.low <= result.scores[axis.name].value <= axis.high
    ]
