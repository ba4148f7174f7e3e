"""Divide the labelled posts into the groups of cross-fitting, which share no author.

As for folds, posts of one author and near-duplicates stay together. Unlike folds, the groups are
balanced by size: they are used within one training run, so they may change with new posts.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.errors import CorpusError
from postbias.params import Params
from postbias.posts.fold_assignment import label_components
from postbias.posts.schema import CROSS_FITTED_FOLDS

#: Unlabelled posts that all students score. With 4,000, their sampling error adds little to that of
#: estimates from a few thousand labels.
SAMPLED_POSTS = 4_000


@dataclass(frozen=True, slots=True)
class UnlabelledPosts:
    """Ids of posts without a label.

    Attributes:
        sampled: Posts that all students score, to estimate their mean score of all posts.
        transfer: Posts that the student that ships is trained on.
    """

    sampled: tuple[str, ...]
    transfer: tuple[str, ...]


def link_split_posts(split: pa.Table) -> npt.NDArray[np.int32]:
    """Number the sets of posts that are linked by author or near-duplicate, as the split is.

    Args:
        split: Columns `author` and `cluster` of `SPLIT`. (N,)

    Returns:
        Number of each post's set, from 0. (N,)
    """
    n = split.num_rows
    links = [np.zeros((0, 2), np.intp)]
    for column in ("author", "cluster"):
        codes = split[column].combine_chunks().dictionary_encode().indices.to_numpy()
        _, first = np.unique(codes, return_index=True)
        links.append(np.column_stack([np.arange(n), first[codes]]))
    return label_components(np.concatenate(links), n)


def assign_cross_fitting_groups(split: pa.Table, n_groups: int, seed: int) -> dict[str, int]:
    """Assign the posts of the folds train, valid and calib to groups of about equal size.

    Linked posts are assigned together, the largest sets first, each to the smallest group so far;
    sets of one size are in the order of a keyed hash.

    Args:
        split: All columns of `SPLIT`.
        n_groups: Number of groups.
        seed: Key of the hash.

    Returns:
        Group, from 1, by post id.

    Raises:
        CorpusError: If there are fewer sets of linked posts than groups.
    """
    sets = link_split_posts(split).tolist()
    rows = zip(
        split["post_id"].to_pylist(),
        split["author"].to_pylist(),
        split["fold"].to_pylist(),
        sets,
        strict=True,
    )
    members: dict[int, list[str]] = {}
    name_of: dict[int, str] = {}
    for post_id, author, fold, number in rows:
        if fold in CROSS_FITTED_FOLDS:
            members.setdefault(number, []).append(post_id)
            name_of[number] = min(name_of.get(number, author), author)
    if len(members) < n_groups:
        raise CorpusError(
            "too few authors for cross-fitting",
            seen=f"{len(members)} sets of posts that share no author and no near-duplicate",
            allowed=f"at least {n_groups}, the value of train.cross_fit",
            do="decrease train.cross_fit, or label posts of more authors",
        )
    ordered = sorted(
        members, key=lambda number: (-len(members[number]), keyed_hash(name_of[number], seed))
    )
    sizes = [(0, group) for group in range(1, n_groups + 1)]
    group_of: dict[str, int] = {}
    for number in ordered:
        size, group = heapq.heappop(sizes)
        group_of |= dict.fromkeys(members[number], group)
        heapq.heappush(sizes, (size + len(members[number]), group))
    return group_of


def draw_unlabelled(post_ids: Sequence[str], params: Params) -> UnlabelledPosts:
    """Draw the posts without a label that cross-fitted students or a full student score.

    Both samples are simple random ones and independent of each other. A post that is in a sample of
    all posts is in the sample of any part of them that contains it.

    Args:
        post_ids: Distinct ids of posts without a label.
        params: `seed`, `train.cross_fit` and `train.transfer` are used.

    Returns:
        The posts; `sampled` is empty without cross-fitting.
    """
    n_sampled = 0 if params.train.cross_fit is None else SAMPLED_POSTS
    return UnlabelledPosts(
        tuple(draw_sample(post_ids, n_sampled, f"sample:{params.seed}")),
        tuple(draw_sample(post_ids, params.train.transfer or 0, f"transfer:{params.seed}")),
    )


def draw_sample(post_ids: Iterable[str], n: int, key: str) -> list[str]:
    """Draw a simple random sample, which the key determines.

    Args:
        post_ids: Distinct ids; at most `n` of them are in memory at a time.
        n: Size of the sample.
        key: Samples with different keys are independent.

    Returns:
        At most `n` ids, sorted.
    """
    return sorted(heapq.nsmallest(n, post_ids, key=lambda post_id: keyed_hash(post_id, key)))


def keyed_hash(name: str, key: int | str) -> bytes:
    """Compute a hash of 8 bytes that is independent for different keys."""
    return blake2b(name.encode(), digest_size=8, key=f"cross_fit:{key}".encode()[:64]).digest()
