"""Later rounds of an active sample: a file in the repository that the stage `sample` reads.

The posts of a round follow the scores of an earlier champion. `postbias next-posts` chooses them
and appends them to the file, so that no stage depends on a stage that comes after it. The file also
keeps their probabilities: they cannot be computed again once the champion has changed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import InputError, ParamsError
from postbias.params import Params, SampleParams
from postbias.posts.schema import FIRST_ROUND
from postbias.posts.shards import atomic_write
from postbias.stats.active_sampling import Round, inclusion_weights

#: Columns of the file; the last three are the same for all posts of a round.
COLUMNS = ("post_id", "round", "probability", "worth", "champion", "first_sample")


@dataclass(frozen=True, slots=True)
class PlannedRound:
    """A later round.

    Attributes:
        number: 2 for the first of them.
        probabilities: Probability of being drawn in this round, by id of the drawn posts.
        worth: Number of posts drawn with equal probability that would be as informative, as
            predicted before the round.
        champion: Digest of the student whose scores it followed.
        first_sample: The params that the first sample was drawn with.
    """

    number: int
    probabilities: Mapping[str, float]
    worth: float
    champion: str
    first_sample: str


@dataclass(frozen=True, slots=True)
class CombinedRounds:
    """All rounds of M eligible posts.

    Attributes:
        rounds: Round of each post; 0 if it is not sampled. (M,)
        probabilities: Its probability in that round, among the eligible posts. (M,)
        weights: Its weight among the eligible posts. (M,)
    """

    rounds: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray


def describe_first_sample(params: SampleParams, seed: int) -> str:
    """Describe the params that determine the first sample, which later rounds must not change."""
    values = {
        "seed": seed,
        "n": params.n,
        "max_per_author": params.max_per_author,
        "imports": params.imports,
    }
    return " ".join(f"{k}={'null' if v is None else v}" for k, v in values.items())


def read_rounds(path: Path) -> tuple[PlannedRound, ...]:
    """Read the later rounds.

    Args:
        path: The file; without one there are no later rounds.

    Returns:
        The rounds in order, from the second.

    Raises:
        InputError: If the file is damaged, or lists a post twice.
    """
    if not path.is_file():
        return ()
    posts: dict[int, dict[str, float]] = {}
    others: dict[int, tuple[float, str, str]] = {}
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                number, probability = int(row["round"]), float(row["probability"])
                shared = float(row["worth"]), row["champion"], row["first_sample"]
                if not (number > FIRST_ROUND and 0 < probability <= 1 and shared[0] > 0):
                    raise ValueError(f"impossible values for post {row['post_id']}")
                if row["post_id"] in seen or others.setdefault(number, shared) != shared:
                    raise ValueError(f"contradictory values for post {row['post_id']}")
                seen.add(row["post_id"])
                posts.setdefault(number, {})[row["post_id"]] = probability
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path.name} cannot be read: {error}",
            seen=str(path),
            allowed=f"the columns {', '.join(COLUMNS)}, and each post once",
            do=f"restore it: git checkout {path.parent.name}/{path.name}",
        ) from error
    return tuple(PlannedRound(n, posts[n], *others[n]) for n in sorted(posts))


def append_round(path: Path, added: PlannedRound) -> None:
    """Append a round to the file, or make the file.

    Raises:
        InputError: If the file is damaged.
        StorageError: If it cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for planned in (*read_rounds(path), added):
            shared = repr(planned.worth), planned.champion, planned.first_sample
            for post_id, probability in sorted(planned.probabilities.items()):
                writer.writerow([post_id, planned.number, repr(probability), *shared])


def check_rounds(rounds: Sequence[PlannedRound], params: Params) -> None:
    """Check that the rounds continue the first sample of these params.

    Raises:
        ParamsError: If they continue another one, or folds are given.
    """
    if params.split.folds is not None:
        raise ParamsError(
            "sample.method: active needs folds that are assigned by author",
            seen=f"split.folds: {params.split.folds}",
            do="set split.folds to null, or sample.method to simple",
        )
    wanted = describe_first_sample(params.sample, params.seed)
    for planned in rounds:
        if planned.first_sample != wanted:
            raise ParamsError(
                f"round {planned.number} continues a first sample that was drawn with other params",
                seen=wanted,
                allowed=planned.first_sample,
                do="restore these params (seed and the group sample), or, to begin again, delete "
                "all rows of samples/rounds.csv",
            )


def combine_rounds(
    post_ids: pa.Array, first: Round, planned: Sequence[PlannedRound]
) -> CombinedRounds:
    """Combine the first sample with later rounds.

    Args:
        post_ids: Ids of the eligible posts. (M,)
        first: The first sample.
        planned: The later rounds.

    Returns:
        Round, probability and weight of each post.

    Raises:
        InputError: If a post of a later round is not eligible.
    """
    number = np.where(first.is_sampled, FIRST_ROUND, 0)
    probabilities = np.where(first.is_sampled, first.probabilities, 0.0)
    rounds = [first]
    for current in planned:
        ids = pa.array(list(current.probabilities), pa.string())
        at = pc.index_in(ids, value_set=post_ids)
        if at.null_count:
            raise InputError(
                f"{at.null_count} posts of round {current.number} in samples/rounds.csv cannot be "
                "sampled from these posts",
                seen=ids.filter(at.is_null())[0].as_py(),
                do="restore the posts and sample.imports, or, to begin again, delete all rows of "
                "the file",
            )
        rows, own = at.to_numpy(zero_copy_only=False), np.zeros(len(post_ids))
        own[rows] = list(current.probabilities.values())
        # If a post of the first sample is forgotten, another one takes its place, perhaps of these.
        is_new = (own > 0) & (number == 0)
        number[is_new], probabilities[is_new] = current.number, own[is_new]
        rounds.append(Round(own, is_new))
    sizes = [max(float(first.is_sampled.sum()), 1.0), *(current.worth for current in planned)]
    return CombinedRounds(number, probabilities, inclusion_weights(rounds, sizes))
