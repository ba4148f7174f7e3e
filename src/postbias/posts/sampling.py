"""Choose the posts to label, each with its inclusion probability.

Three random phases, each by hashed numbers of its own:

1. of the posts with one normalised caption, one represents all (posts without a caption differ by
   their pictures and represent themselves);
2. of an author's representatives, at most `max_per_author` stay;
3. of those, `n` are drawn: from all alike, or the same number from each stratum.

`probability` is the product of a post's three chances, the later ones given what the earlier
phases left. So for every post of the corpus E[1{sampled} / probability] = 1, and with weights
1 / `probability` the sample is unbiased for all posts: sum(w y) / N for a mean, sum(w y) / sum(w)
when N is not known. Do not multiply by `group_size`: being one of so many is in the probability
already. Where no caption is shared between authors or strata and the cap cuts no author who posts
in several strata, `probability` is also the plain share of seeds that sample the post.

The random numbers are keyed hashes of the post's id. So the order of rows and shards makes no
difference, and new posts displace only as many sampled ones as they must. Reads no image bytes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from postbias.errors import CountsError, ParamsError
from postbias.json_files import write_json
from postbias.params import Params, SampleParams
from postbias.paths import Paths
from postbias.posts.sampling_frame import Frame, read_frame
from postbias.posts.schema import SAMPLE
from postbias.posts.shards import read_table, write_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What sampling did, in counts of posts.

    Attributes:
        posts: In the corpus.
        authors: Distinct authors.
        repeated: Represented by another post with the same caption.
        capped: Left out because their author has enough others.
        not_drawn: Left out by the draw.
        sampled: Chosen.
        largest_group: Posts that share the most frequent caption.
        weight_sum: Sum of the weights; estimates `posts`.
        effective_n: Sample size after the loss by unequal weights (Kish).
        strata: Stratum to (posts that could be drawn, posts drawn).
    """

    posts: int
    authors: int
    repeated: int
    capped: int
    not_drawn: int
    sampled: int
    largest_group: int
    weight_sum: float
    effective_n: float
    strata: dict[str, tuple[int, int]]

    def metrics(self) -> dict[str, float]:
        """Return the numbers to log.

        Returns:
            Name to value.
        """
        return {key: float(value) for key, value in self.report().items() if key != "strata"}

    def report(self) -> dict[str, Any]:
        """Return the content of `reports/sample.json`.

        Returns:
            All fields, the strata as dictionaries.
        """
        strata = {
            name: {"eligible": eligible, "sampled": sampled}
            for name, (eligible, sampled) in self.strata.items()
        }
        fields = (name for name in self.__slots__ if name != "strata")
        return {name: getattr(self, name) for name in fields} | {"strata": strata}


def sample(paths: Paths, params: Params) -> SampleSummary:
    """Run the stage: read the posts, write the sample and `reports/sample.json`.

    Args:
        paths: Where things lie.
        params: Its groups `seed` and `sample` are used.

    Returns:
        The counts.

    Raises:
        CountsError: If the counts do not add up.
    """
    table, summary = sample_posts(paths.posts, params.sample, params.seed)
    write_table(table, paths.sample, SAMPLE)
    written = read_table(paths.sample, SAMPLE, ["post_id"]).num_rows
    gone = summary.repeated + summary.capped + summary.not_drawn
    if written + gone != summary.posts:
        raise CountsError(
            f"sample: {summary.posts} posts in, {written} written and {gone} left out",
            do="report this: it is a fault of postbias",
        )
    write_json(paths.reports / "sample.json", summary.report())
    logger.info("%d of %d posts sampled", summary.sampled, summary.posts)
    return summary


def sample_posts(folder: Path, params: SampleParams, seed: int) -> tuple[pa.Table, SampleSummary]:
    """Choose the posts to label.

    Args:
        folder: A folder of post shards.
        params: How many, and how.
        seed: Seed of the choice.

    Returns:
        The chosen posts as `SAMPLE`, sorted by id, and the counts.

    Raises:
        CorpusError: If there is no post, a post id occurs twice, or a stratifying column is empty.
        ParamsError: If there are more strata than posts to choose, or no stratifying column.
        SchemaError: If a shard is damaged.
    """
    frame = read_frame(folder, params, seed)
    chosen, sizes = _represent(frame.group, frame.luck[:, 0])
    probability, groups, largest = 1 / sizes, len(sizes), int(sizes.max())
    kept, chance = _cap(_codes(frame.author)[chosen], frame.luck[chosen, 1], params.max_per_author)
    chosen, sizes, probability = chosen[kept], sizes[kept], (probability * chance)[kept]
    eligible = len(chosen)
    drawn, chance, strata = _draw(frame, chosen, params)
    chosen, sizes, probability = chosen[drawn], sizes[drawn], (probability * chance)[drawn]
    summary = SampleSummary(
        posts=len(frame.post_id),
        authors=len(frame.author.dictionary),
        repeated=len(frame.post_id) - groups,
        capped=groups - eligible,
        not_drawn=eligible - len(chosen),
        sampled=len(chosen),
        largest_group=largest,
        weight_sum=float((1 / probability).sum()),
        effective_n=float((1 / probability).sum() ** 2 / (1 / probability**2).sum()),
        strata=strata,
    )
    return _table(frame, chosen, sizes, probability), summary


def allocate(available: np.ndarray, n: int) -> np.ndarray:
    """Share out `n` posts evenly over strata; what a small stratum cannot give, larger ones do.

    Args:
        available: Posts per stratum, all above 0, (H,).
        n: Posts to share out, at least H.

    Returns:
        Posts to draw per stratum, (H,): at least 1 each, `min(n, available.sum())` together.
    """
    take = np.zeros_like(available)
    left = n
    for done, stratum in enumerate(np.argsort(available, kind="stable")):
        take[stratum] = min(available[stratum], left // (len(available) - done))
        left -= int(take[stratum])
    return take


def _represent(group: np.ndarray, luck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose the luckiest post of each group, (G,), and count each group's posts, (G,)."""
    order, starts, sizes = _runs(group, luck)
    return order[starts], sizes


def _cap(author: np.ndarray, luck: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Keep each author's `most` luckiest posts: a mask and every post's chance, (G,) each."""
    if most is None:
        return np.ones(len(author), dtype=bool), np.ones(len(author))
    kept = _ranks(author, luck) < most
    return kept, np.minimum(1, most / np.bincount(author)[author])


def _draw(
    frame: Frame, eligible: np.ndarray, params: SampleParams
) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[int, int]]]:
    """Draw the luckiest posts of each stratum: a mask, chances, and the counts per stratum."""
    n, total = params.n, len(eligible)
    if n is not None and n > total:
        logger.warning("sample.n is %d but only %d posts can be drawn: all of them are", n, total)
    names, stratum = np.unique(
        frame.stratum.dictionary.to_numpy(zero_copy_only=False)[_codes(frame.stratum)[eligible]],
        return_inverse=True,
    )
    available = np.bincount(stratum)
    want = total if n is None else min(n, total)
    if want < len(names):
        raise ParamsError(
            f"sample.n gives less than one post to each of {len(names)} strata",
            seen=n,
            allowed=f"at least {len(names)}",
            do="raise sample.n or stratify by fewer columns",
        )
    take = allocate(available, want)
    drawn = _ranks(stratum, frame.luck[eligible, 2]) < take[stratum]
    counts = zip(map(str, names), available.tolist(), take.tolist(), strict=True)
    return drawn, (take / available)[stratum], {name: (a, t) for name, a, t in counts}


def _ranks(group: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """Rank each entry within its group by luck, from 0; all arrays are (N,)."""
    order, starts, sizes = _runs(group, luck)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks


def _runs(group: np.ndarray, luck: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort by group, then luck: the order, (N,), and where groups start and their sizes, (G,)."""
    order = np.lexsort((luck, group))
    grouped = group[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    return order, starts, np.diff(np.r_[starts, len(order)])


def _table(
    frame: Frame, chosen: np.ndarray, sizes: np.ndarray, probability: np.ndarray
) -> pa.Table:
    rows = pa.array(chosen)
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
