"""Draw the next round of an active sample: posts about which the champion is likely to be wrong.

Active statistical inference (Zrnic and Candes, ICML 2024): a post is drawn with a probability
proportional to the expected error of its score, mixed with equal probabilities. The round is
appended to `samples/rounds.csv`, which the stage `sample` reads; the next `dvc repro` labels it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import InputError, ParamsError
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.import_history import list_imported_shards
from postbias.posts.sampling import OpenPosts, list_open_posts
from postbias.posts.sampling_rounds import (
    PlannedRound,
    append_round,
    check_rounds,
    describe_first_sample,
    read_rounds,
)
from postbias.posts.schema import FIRST_ROUND, SAMPLE
from postbias.posts.shards import read_table
from postbias.scoring.artifact import Artifact
from postbias.stats.active_sampling import (
    draw_fixed_number,
    equivalent_sample_size,
    expected_errors_by_score,
    sampling_probabilities,
)
from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT

# Intervals are clipped to the axis; none counts as narrower than this share of their mean width.
_SMALLEST_WIDTH = 0.2


@dataclass(frozen=True, slots=True)
class DrawnRound:
    """A round that has been drawn.

    Attributes:
        planned: The posts and their probabilities.
        n_open: Posts that it was drawn from.
        axis: The axis whose errors it follows.
        errors: Expected errors of the open posts with a score, in points, ascending. (M,)
        n_random: Number of open posts drawn with equal probability that would be as informative.
    """

    planned: PlannedRound
    n_open: int
    axis: str
    errors: Array
    n_random: float

    def describe(self) -> str:
        """Describe the round in a few lines of text."""
        probabilities = list(self.planned.probabilities.values())
        low, high = np.quantile(self.errors, [0.1, 0.9])
        return (
            f"round {self.planned.number}: {len(probabilities):,} of {self.n_open:,} open posts, "
            f"with probabilities from {min(probabilities):.3g} to {max(probabilities):.3g}\n"
            f"expected error of {self.axis}: {low:.2f} to {high:.2f} points (from the 10% to the "
            f"90% quantile of the open posts)\n"
            f"for the mean of {self.axis}, the round is worth about {self.n_random:,.0f} of these "
            "posts drawn at random"
        )


def draw_next_round(paths: Paths, params: Params, n: int) -> DrawnRound:
    """Draw the posts to label next and append them to `samples/rounds.csv`.

    Args:
        paths: The repository, after the stage infer.
        params: `seed`, `sample` and `split.folds` are used.
        n: Number of posts.

    Returns:
        The round.

    Raises:
        CorpusError: If no post has a score.
        InputError: If the last round or the first sample is not labelled yet, or fewer than `n`
            posts are left.
        ParamsError: If `sample.method` is not active, or the first sample had other params.
        SchemaError: If a table is damaged.
        StorageError: If the file cannot be written.
    """
    if params.sample.method != "active":
        raise ParamsError(
            "only an active sample has rounds",
            seen=f"sample.method: {params.sample.method}",
            do="set sample.method to active and run `dvc repro`; the sample of simple with the "
            "same params is its first round",
        )
    rounds = read_rounds(paths.sample_rounds)
    check_rounds(rounds, params)
    shards = list_imported_shards(paths.data, params.sample.imports)
    posts = list_open_posts(shards, params.sample, params.seed, rounds)
    _check_labelled(paths, posts, has_rounds=bool(rounds))
    is_open = ~posts.is_sampled
    if n > is_open.sum():
        raise InputError(
            f"{n} posts cannot be drawn: {is_open.sum()} are left",
            do="draw fewer; with sample.n: null the first round has all posts",
        )
    corpus = load_scored_corpus(paths)
    errors = _align(corpus, posts, estimate_errors(corpus))
    # A post that represents several with its caption stands for the errors of all of them.
    total_errors = np.nan_to_num(errors) * posts.multiplicity
    probabilities = sampling_probabilities(total_errors, n, available=is_open)
    number = rounds[-1].number + 1 if rounds else FIRST_ROUND + 1
    drawn = draw_fixed_number(probabilities, _random_numbers(posts, params.seed, number))
    chosen = np.flatnonzero(drawn.is_sampled)
    ids = posts.post_ids.take(pa.array(chosen)).to_pylist()
    planned = PlannedRound(
        number=number,
        probabilities=dict(zip(ids, probabilities[chosen].tolist(), strict=True)),
        worth=equivalent_sample_size(total_errors, probabilities),
        champion=Artifact.open(paths.champion).digest,
        first_sample=describe_first_sample(params.sample, params.seed),
    )
    append_round(paths.sample_rounds, planned)
    n_open, known = int(is_open.sum()), errors[is_open & np.isfinite(errors)]
    by_chance = equivalent_sample_size(total_errors, np.where(is_open, n / n_open, 0.0))
    n_random = n * planned.worth / by_chance
    return DrawnRound(planned, n_open, corpus.axes[0].name, np.sort(known), n_random)


def estimate_errors(corpus: ScoredCorpus) -> Array:
    """Estimate the root mean squared error of each score of the main axis.

    From the errors of held-out labels with similar scores, relative to the width of the prediction
    interval, which differs between modalities.

    Args:
        corpus: All scored posts.

    Returns:
        Expected errors in points. (N,)
    """
    axis = corpus.axes[0]
    main, bounds = axis.name, (axis.low, axis.high)
    lo, hi = (
        corpus.table[f"{main}_{end}"].to_numpy(zero_copy_only=False).astype(np.float64)
        for end in ("lo", "hi")
    )
    width = hi - lo  # NaN if the student has no intervals
    scale = np.ones_like(width)
    if np.isfinite(width).all():
        scale = np.maximum(width, _SMALLEST_WIDTH * width.mean())
    is_known = corpus.design.roles == HELD_OUT
    squares = ((corpus.labels[main] - corpus.held_out_scores(main)) / scale) ** 2
    squares = np.where(is_known, squares, np.nan)
    scores, weights = corpus.scores[main], corpus.design.weights
    relative = expected_errors_by_score(scores, squares, weights, bounds)
    errors: Array = relative * scale
    return errors


def _align(corpus: ScoredCorpus, posts: OpenPosts, errors: Array) -> Array:
    """Return the expected error of each post that can be sampled; NaN without a score, (M,)."""
    at = pc.index_in(posts.post_ids, value_set=corpus.table["post_id"].combine_chunks())
    rows = at.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where(rows >= 0, errors[rows], np.nan)


def _check_labelled(paths: Paths, posts: OpenPosts, *, has_rounds: bool) -> None:
    """Check that the sample on disk has all rounds so far: the champion has learned from them."""
    sampled = set(posts.post_ids.filter(pa.array(posts.is_sampled)).to_pylist())
    on_disk = set(read_table(paths.sample, SAMPLE, ["post_id"])["post_id"].to_pylist())
    if sampled != on_disk:
        what = "last round" if has_rounds else "first sample that params.yaml describes"
        raise InputError(
            f"the {what} is not labelled yet: the sample of the last `dvc repro` is another one",
            seen=f"{len(sampled - on_disk)} posts more, {len(on_disk - sampled)} posts fewer",
            do="run `dvc repro`, so that the next round follows the errors that it leaves",
        )


def _random_numbers(posts: OpenPosts, seed: int, number: int) -> Array:
    """Hash each id to a uniform random number of this round, (M,)."""
    key = f"round:{number}:{seed}".encode()
    ids = posts.post_ids.to_pylist()
    digests = b"".join(blake2b(i.encode(), digest_size=8, key=key).digest() for i in ids)
    uniform: Array = np.frombuffer(digests, dtype="<u8") / 2.0**64
    return uniform
