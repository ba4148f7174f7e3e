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
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CountsError, ParamsError
from postbias.json_files import write_json
from postbias.params import Params, SampleParams
from postbias.paths import Paths
from postbias.posts.authorship import count_authors
from postbias.posts.fold_assignment import read_given_test_posts
from postbias.posts.import_history import list_imported_shards, read_imports
from postbias.posts.sample_summary import SampleSummary
from postbias.posts.sampled_corpus import write_sampled_corpus
from postbias.posts.sampling_frame import SamplingFrame, read_sampling_frame
from postbias.posts.schema import SAMPLE
from postbias.posts.shards import count_rows, list_shards, read_table, write_table

logger = logging.getLogger(__name__)


def sample(paths: Paths, params: Params) -> SampleSummary:
    """Run the stage: read the posts, write the sample, its posts and `reports/sample.json`.

    Args:
        paths: The repository; reads `data/` and the file of given folds, if any.
        params: `seed`, the group `sample`, `annotate.labels`, `split.folds`,
            `split.folds_column`, `train.cross_fit` and `train.transfer` are used.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        ParamsError: If there are more strata than posts to draw, or no stratifying column.
        InputError: If the file of given folds or `import.json` cannot be used.
        SchemaError: If a shard is damaged.
        CountsError: If the counts do not add up.
        StorageError: If an output cannot be written.
    """
    given_test = None
    if params.split.folds is not None:
        path = paths.root / params.split.folds
        given_test = read_given_test_posts(path, params.split.folds_column)
    shards = list_imported_shards(paths.data, params.sample.imports)
    table, summary = sample_posts(shards, params.sample, params.seed, given_test)
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
    shards: Sequence[Path], params: SampleParams, seed: int, given_test: pa.Array | None = None
) -> tuple[pa.Table, SampleSummary]:
    """Sample the posts to label.

    Args:
        shards: The shards of the posts that can be sampled.
        params: Sample size and method.
        seed: Key of the random numbers.
        given_test: Ids of posts to keep in any case; ids that are not in the corpus are ignored.

    Returns:
        The sample as `SAMPLE`, sorted by post id, and the counts.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        ParamsError: If there are more strata than posts to draw, or no stratifying column.
        SchemaError: If a shard is damaged.
    """
    frame = read_sampling_frame(shards, params, seed)
    is_given = _mark_given(frame, given_test)
    candidates, given = np.flatnonzero(~is_given), np.flatnonzero(is_given)
    picked, sizes = _pick_representatives(frame.caption[candidates], frame.random[candidates, 0])
    posts = candidates[picked]
    probability, groups, largest = 1 / sizes, len(sizes), int(sizes.max(initial=0))
    kept, p = _cap_authors(
        _codes(frame.author)[posts], frame.random[posts, 1], params.max_per_author
    )
    posts, sizes, probability = posts[kept], sizes[kept], (probability * p)[kept]
    eligible = len(posts)
    drawn, p, strata = _draw(frame, posts, params, len(given))
    posts, sizes, probability = posts[drawn], sizes[drawn], (probability * p)[drawn]
    n_drawn = len(posts)
    _, caption, counts = np.unique(frame.caption[given], return_inverse=True, return_counts=True)
    given_sizes = counts[caption]
    posts = np.concatenate([posts, given])
    sizes = np.concatenate([sizes, given_sizes])
    probability = np.concatenate([probability, np.ones(len(given))])
    summary = SampleSummary(
        posts=len(frame.post_id),
        **count_authors(
            pa.chunked_array([frame.author]), pa.chunked_array([frame.post_id])
        ).as_dict(),
        repeated=len(candidates) - groups,
        capped=groups - eligible,
        not_drawn=eligible - n_drawn,
        sampled=len(posts),
        given_test=len(given),
        given_test_repeated=int((given_sizes > 1).sum()),
        largest_group=largest,
        weight_sum=float((1 / probability).sum()),
        effective_n=float((1 / probability).sum() ** 2 / (1 / probability**2).sum()),
        strata=strata,
    )
    return _sample_table(frame, posts, sizes, probability), summary


def _mark_given(frame: SamplingFrame, given_test: pa.Array | None) -> np.ndarray:
    """Mark the posts of a given test fold, bool, (N,)."""
    if given_test is None:
        return np.zeros(len(frame.post_id), dtype=bool)
    is_given: np.ndarray = pc.is_in(frame.post_id, value_set=given_test).to_numpy(
        zero_copy_only=False
    )
    return is_given


def allocate_to_strata(available: np.ndarray, n: int) -> np.ndarray:
    """Allocate a sample of `n` posts equally to strata; larger strata make up for exhausted ones.

    Args:
        available: Eligible posts per stratum, all above 0, (H,).
        n: Sample size, at least H.

    Returns:
        Posts to draw per stratum, (H,): at least 1 each, `min(n, available.sum())` in total.
    """
    allocated = np.zeros_like(available)
    remaining = n
    for done, stratum in enumerate(np.argsort(available, kind="stable")):
        allocated[stratum] = min(available[stratum], remaining // (len(available) - done))
        remaining -= int(allocated[stratum])
    return allocated


def _pick_representatives(caption: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pick the post with the lowest random number per caption, (G,), and count its posts, (G,)."""
    order, starts, sizes = _sort_into_groups(caption, random)
    return order[starts], sizes


def _cap_authors(
    author: np.ndarray, random: np.ndarray, max_per_author: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep random posts of each author, up to the cap: a mask and inclusion probabilities, (G,)."""
    if max_per_author is None:
        return np.ones(len(author), dtype=bool), np.ones(len(author))
    is_kept = _rank_within(author, random) < max_per_author
    return is_kept, np.minimum(1, max_per_author / np.bincount(author)[author])


def _draw(
    frame: SamplingFrame, eligible: np.ndarray, params: SampleParams, n_given: int
) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[int, int]]]:
    """Draw from each stratum: a mask, inclusion probabilities, and the counts per stratum."""
    n, total = params.n, len(eligible)
    if n is not None and n > total + n_given:
        logger.warning(
            "sample.n is %d but only %d posts can be drawn: all are sampled", n, total + n_given
        )
    if n is not None and n < n_given:
        raise ParamsError(
            f"sample.n is smaller than the given test fold of {n_given} posts, which is kept whole",
            seen=n,
            allowed=f"at least {n_given}, or null",
            do="raise sample.n, or set split.folds to null",
        )
    names, stratum = np.unique(
        frame.stratum.dictionary.to_numpy(zero_copy_only=False)[_codes(frame.stratum)[eligible]],
        return_inverse=True,
    )
    available = np.bincount(stratum)
    size = total if n is None else min(n - n_given, total)
    if size < len(names):
        raise ParamsError(
            f"sample.n allows less than one post for each of {len(names)} strata",
            seen=n,
            allowed=f"at least {len(names) + n_given}",
            do="raise sample.n or stratify by fewer columns",
        )
    allocated = allocate_to_strata(available, size)
    is_drawn = _rank_within(stratum, frame.random[eligible, 2]) < allocated[stratum]
    counts = zip(map(str, names), available.tolist(), allocated.tolist(), strict=True)
    return is_drawn, (allocated / available)[stratum], {name: (a, d) for name, a, d in counts}


def _rank_within(group: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Rank each entry within its group by its random number, from 0; all arrays are (N,)."""
    order, starts, sizes = _sort_into_groups(group, random)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks


def _sort_into_groups(
    group: np.ndarray, random: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort by group, then random number: the order, (N,), and each group's start and size, (G,)."""
    order = np.lexsort((random, group))
    grouped = group[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]][: len(order)])
    return order, starts, np.diff(np.r_[starts, len(order)])


def _sample_table(
    frame: SamplingFrame, posts: np.ndarray, sizes: np.ndarray, probability: np.ndarray
) -> pa.Table:
    rows = pa.array(posts)
    columns = [
        frame.post_id.take(rows),
        frame.author.take(rows).cast(pa.string()),
        frame.stratum.take(rows).cast(pa.string()),
        pa.array(sizes, pa.int64()),
        pa.array(probability, pa.float64()),
    ]
    return pa.table(columns, schema=SAMPLE).sort_by("post_id")


def _codes(column: pa.DictionaryArray) -> np.ndarray:
    return np.asarray(column.indices)
