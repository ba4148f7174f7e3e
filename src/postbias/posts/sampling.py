"""Sample the posts to label, each with its inclusion probability.

Three random phases, each with its own random numbers:

1. of all posts with the same normalised caption, keep one representative (posts without a caption
   differ by their images and represent themselves);
2. of each author's representatives, keep at most `max_per_author`;
3. of those, draw `n`: simple random, or the same number from each stratum.

`probability` is the product of a post's three inclusion probabilities, each conditional on the
earlier phases. So E[1{sampled} / probability] = 1 for every post of the corpus, and weights of
1 / `probability` give unbiased estimates for all posts: sum(w y) / N for a mean, sum(w y) / sum(w)
if N is unknown. Do not multiply by `group_size`: the probability already includes it. If no caption
is shared between authors or strata and the cap drops no author with posts in several strata,
`probability` is also the marginal inclusion probability over seeds.

With `method: active`, the simple random sample of `n` posts is the first round, and the posts of
later rounds are added (`postbias.posts.sampling_rounds`). The third factor of `probability` is then
the probability in a post's own round, and `weight` combines the rounds: E[1{sampled} weight] = 1.

Posts of a given test fold (`split.folds`) take no part in this: a benchmark's test fold is kept as
it is, with repeated captions, and all its posts are sampled with probability 1.

The random numbers are keyed hashes of the post id. So the order of rows and shards has no effect,
and added posts displace no more sampled posts than necessary. Posts of later imports than
`sample.imports` are not in the sampling frame: they have no inclusion probability, and no weighted
estimate covers them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CountsError
from postbias.json_files import write_json
from postbias.params import Params, SampleParams
from postbias.paths import Paths
from postbias.posts.authorship import count_authors
from postbias.posts.fold_assignment import read_given_test_posts
from postbias.posts.import_history import list_imported_shards, read_imports
from postbias.posts.sample_summary import SampleSummary
from postbias.posts.sampled_corpus import write_sampled_corpus
from postbias.posts.sampling_frame import SamplingFrame, read_sampling_frame
from postbias.posts.sampling_phases import draw_from_strata, find_eligible
from postbias.posts.sampling_rounds import (
    PlannedRound,
    check_rounds,
    combine_rounds,
    read_rounds,
)
from postbias.posts.schema import FIRST_ROUND, SAMPLE
from postbias.posts.shards import count_rows, list_shards, read_table, write_table
from postbias.stats.active_sampling import Round

logger = logging.getLogger(__name__)


def sample(paths: Paths, params: Params) -> SampleSummary:
    """Run the stage: read the posts, write the sample, its posts and `reports/sample.json`.

    Args:
        paths: The repository; reads `data/`, the file of given folds, if any, and the later rounds
            of an active sample.
        params: `seed`, the group `sample`, `annotate.labels`, `split.folds`,
            `split.folds_column`, `train.cross_fit` and `train.transfer` are used.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        ParamsError: If there are more strata than posts to draw, no stratifying column, or rounds
            that continue another sample.
        InputError: If the file of given folds, that of rounds, or `import.json` cannot be used.
        SchemaError: If a shard is damaged.
        CountsError: If the counts do not add up.
        StorageError: If an output cannot be written.
    """
    given_test = None
    rounds = _read_rounds(paths, params)
    if params.split.folds is not None:
        path = paths.root / params.split.folds
        given_test = read_given_test_posts(path, params.split.folds_column)
    shards = list_imported_shards(paths.data, params.sample.imports)
    table, summary = sample_posts(shards, params.sample, params.seed, given_test, rounds)
    write_table(table, paths.sample, SAMPLE)
    written = read_table(paths.sample, SAMPLE, ["post_id"]).num_rows
    dropped = summary.repeated + summary.capped + summary.not_drawn
    if written + dropped != summary.posts:
        raise CountsError(
            f"sample: {summary.posts} posts in, but {written} sampled and {dropped} dropped",
            do="report this bug in postbias",
        )
    write_sampled_corpus(paths, params, shards, table["post_id"].combine_chunks())
    write_json(paths.reports / "sample.json", summary.report())
    logger.info("sampled %d of %d posts", summary.sampled, summary.posts)
    _warn_of_later_posts(paths, shards)
    return summary


def _read_rounds(paths: Paths, params: Params) -> tuple[PlannedRound, ...]:
    """Read the later rounds of an active sample; other methods have none."""
    if params.sample.method != "active":
        return ()
    rounds = read_rounds(paths.sample_rounds)
    check_rounds(rounds, params)
    return rounds


def _warn_of_later_posts(paths: Paths, shards: Sequence[Path]) -> None:
    n_later = count_rows(list_shards(paths.posts)) - count_rows(shards)
    if n_later:
        logger.warning(
            "%d posts of later imports are not sampled: they are scored, but no estimate covers"
            " them; to label a sample of them, too, set sample.imports to %d",
            n_later,
            len(read_imports(paths.data)),
        )


def sample_posts(
    shards: Sequence[Path],
    params: SampleParams,
    seed: int,
    given_test: pa.Array | None = None,
    rounds: Sequence[PlannedRound] = (),
) -> tuple[pa.Table, SampleSummary]:
    """Sample the posts to label.

    Args:
        shards: The shards of the posts that can be sampled.
        params: Sample size and method.
        seed: Key of the random numbers.
        given_test: Ids of posts to keep in any case; ids that are not in the corpus are ignored.
        rounds: Later rounds of an active sample.

    Returns:
        The sample as `SAMPLE`, sorted by post id, and the counts.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        InputError: If a post of a later round is not eligible.
        ParamsError: If there are more strata than posts to draw, or no stratifying column.
        SchemaError: If a shard is damaged.
    """
    frame = read_sampling_frame(shards, params, seed)
    is_given = _mark_given(frame, given_test)
    candidates, given = np.flatnonzero(~is_given), np.flatnonzero(is_given)
    eligible = find_eligible(frame, candidates, params.max_per_author)
    drawn, p, strata = draw_from_strata(frame, eligible.posts, params, len(given))
    ids = frame.post_id.take(pa.array(eligible.posts))
    combined = combine_rounds(ids, Round(p, drawn), rounds)
    sampled = combined.rounds > 0
    _, caption, counts = np.unique(frame.caption[given], return_inverse=True, return_counts=True)
    ones = np.ones(len(given))
    probability = eligible.probability[sampled] * combined.probabilities[sampled]
    columns = {
        "posts": np.r_[eligible.posts[sampled], given],
        "group_size": np.r_[eligible.sizes[sampled], counts[caption]],
        "round": np.r_[combined.rounds[sampled], FIRST_ROUND * ones],
        "probability": np.r_[probability, ones],
        "weight": np.r_[combined.weights[sampled] / eligible.probability[sampled], ones],
    }
    if not rounds:  # equal up to rounding
        columns["weight"] = 1 / columns["probability"]
    weight = columns["weight"]
    summary = SampleSummary(
        posts=len(frame.post_id),
        **count_authors(
            pa.chunked_array([frame.author]), pa.chunked_array([frame.post_id])
        ).as_dict(),
        repeated=len(candidates) - eligible.groups,
        capped=eligible.groups - len(eligible.posts),
        not_drawn=len(eligible.posts) - int(sampled.sum()),
        sampled=len(weight),
        rounds=int(combined.rounds.max(initial=FIRST_ROUND)),
        later_rounds=int((combined.rounds > FIRST_ROUND).sum()),
        given_test=len(given),
        given_test_repeated=int((counts[caption] > 1).sum()),
        largest_group=eligible.largest_group,
        weight_sum=float(weight.sum()),
        effective_n=float(weight.sum() ** 2 / (weight**2).sum()),
        strata=strata,
    )
    return _sample_table(frame, columns), summary


@dataclass(frozen=True, slots=True)
class OpenPosts:
    """The M posts that can be sampled: one for each caption, and not too many by one author.

    Attributes:
        post_ids: Their ids. (M,)
        multiplicity: Number of posts of the corpus that each of them represents. (M,)
        is_sampled: Whether a round so far has sampled them. (M,)
    """

    post_ids: pa.Array
    multiplicity: np.ndarray
    is_sampled: np.ndarray


def list_open_posts(
    shards: Sequence[Path], params: SampleParams, seed: int, rounds: Sequence[PlannedRound]
) -> OpenPosts:
    """List the posts that the next round may draw, and those that are sampled already.

    Args:
        shards: The shards of the posts that can be sampled.
        params: The params of the first sample.
        seed: Key of the random numbers.
        rounds: The later rounds so far.

    Returns:
        All eligible posts.

    Raises:
        CorpusError: If there is no post, or a post id occurs twice.
        InputError: If a post of a later round is not eligible.
        SchemaError: If a shard is damaged.
    """
    frame = read_sampling_frame(shards, params, seed)
    eligible = find_eligible(frame, np.arange(len(frame.post_id)), params.max_per_author)
    drawn, p, _strata = draw_from_strata(frame, eligible.posts, params, 0)
    ids = frame.post_id.take(pa.array(eligible.posts))
    combined = combine_rounds(ids, Round(p, drawn), rounds)
    return OpenPosts(ids, 1 / eligible.probability, combined.rounds > 0)


def _mark_given(frame: SamplingFrame, given_test: pa.Array | None) -> np.ndarray:
    """Mark the posts of a given test fold, bool, (N,)."""
    if given_test is None:
        return np.zeros(len(frame.post_id), dtype=bool)
    is_given: np.ndarray = pc.is_in(frame.post_id, value_set=given_test).to_numpy(
        zero_copy_only=False
    )
    return is_given


def _sample_table(frame: SamplingFrame, columns: dict[str, np.ndarray]) -> pa.Table:
    rows = pa.array(columns.pop("posts"))
    taken = [
        frame.post_id.take(rows),
        frame.author.take(rows).cast(pa.string()),
        frame.stratum.take(rows).cast(pa.string()),
    ]
    numbers = [pa.array(v).cast(SAMPLE.field(name).type) for name, v in columns.items()]
    return pa.table([*taken, *numbers], schema=SAMPLE).sort_by("post_id")
