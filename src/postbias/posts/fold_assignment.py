"""Assign groups of posts to folds, by hash or as given in a file.

A group holds the posts that must stay together. Its fold depends on a keyed hash of its name and
on nothing else, because only then do added posts never move old ones. So fold sizes and mean scores
are balanced by the uniformity of the hash, not by counting; `postbias.posts.split` measures and
reports how well. The one exception is a group larger than its fold's share of all posts: it goes
to train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from postbias.errors import InputError
from postbias.params import FoldShares
from postbias.posts.schema import EXCLUDED, FOLDS

#: Values allowed in a file of given folds, and the fold that each stands for.
FOLD_ALIASES = {name: name for name in FOLDS} | {"dev": "valid", "validation": "valid"}

# Order in which the folds divide the range of the hash. Train is last, so that its share can change
# without moving posts between the others.
_HASH_ORDER = ("test", "calib", "valid", "train")


def label_components(pairs: np.ndarray, n: int) -> npt.NDArray[np.int32]:
    """Number the connected components of a graph.

    Args:
        pairs: The edges, (P, 2).
        n: Number of nodes.

    Returns:
        Component of each node, numbered from 0, (n,).
    """
    ones = np.ones(len(pairs), dtype=bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def find_oversized_groups(groups: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    """Find the groups that are too large for one of the held-out folds, calib and test.

    `assign_folds` does not put them there, so they are held out less often than other groups, or
    never.

    Args:
        groups: Group of each labelled post, numbered from 0, (N,).
        shares: Share of each fold.

    Returns:
        Whether each group is too large, bool, (G,).
    """
    limits = [shares[fold] for fold in ("calib", "test") if shares[fold]]
    return np.bincount(groups) > min(limits, default=0.0) * len(groups)


def assign_folds(
    groups: np.ndarray, names: Sequence[str], shares: FoldShares, seed: int
) -> np.ndarray:
    """Assign a fold to each group by hash.

    Args:
        groups: Group of each post, numbered from 0, (N,).
        names: Name of each group, the same in every corpus that has the group, (G,).
        shares: Share of each fold.
        seed: Key of the hash.

    Returns:
        Fold of each post, (N,).
    """
    weights = {fold: getattr(shares, fold) for fold in _HASH_ORDER}
    folds = _hash_to_folds(names, weights, seed)  # (G,)
    capacity = np.array([weights[fold] for fold in folds]) * len(groups)
    folds[np.bincount(groups, minlength=len(names)) > capacity] = "train"
    return folds.take(groups)  # (N,)


def keep_given_folds(
    given: np.ndarray, groups: np.ndarray, names: Sequence[str], shares: FoldShares, seed: int
) -> np.ndarray:
    """Add the folds that were not given, and exclude posts that would leak between folds.

    Folds that the file does not name are drawn by hash, group by group: calib from valid, or both
    from train. If a group has posts in several folds, those in the first of test, calib, valid,
    train stay and the others are excluded. So no test post is ever lost or moved.

    Args:
        given: Given fold of each post, (N,).
        groups: Group of each post, numbered from 0, (N,).
        names: Name of each group, (G,).
        shares: Share of each fold, for the folds to draw.
        seed: Key of the hash.

    Returns:
        Fold of each post, possibly `excluded`, (N,).
    """
    folds = given.astype(object)
    present = set(given.tolist())
    missing = [fold for fold in ("calib", "valid") if fold not in present]
    if missing:
        source = "train" if "valid" in missing else "valid"
        weights = {fold: getattr(shares, fold) for fold in (*missing, source)}
        drawn = _hash_to_folds(names, weights, seed)[groups]
        folds = np.where(folds == source, drawn, folds)
    rank = np.array([_HASH_ORDER.index(fold) for fold in folds])
    first = np.full(len(names), len(_HASH_ORDER))
    np.minimum.at(first, groups, rank)
    return np.where(rank == first[groups], folds, EXCLUDED)


def read_given_folds(path: Path, column: str, post_ids: Sequence[str]) -> np.ndarray:
    """Read the folds of some posts from a file.

    Args:
        path: A CSV or Parquet file with a column `post_id`.
        column: The column of folds: train, valid (or dev), calib, test.
        post_ids: The posts to look up.

    Returns:
        Fold of each post, (N,).

    Raises:
        InputError: If the file cannot be read, holds an unknown fold, lists a post twice, or lacks
            one of the posts.
    """
    fold_of = _read_fold_file(path, column)
    missing = [post_id for post_id in post_ids if post_id not in fold_of]
    if missing:
        raise InputError(
            f"split.folds: {len(missing)} of {len(post_ids)} labelled posts are not in {path.name}",
            seen=missing[0],
            do="add a fold for every labelled post, or set split.folds to null",
        )
    raw = [fold_of[post_id] for post_id in post_ids]
    folds = [_parse_fold(value) for value in raw]
    if "" in folds:
        raise InputError(
            f"split.folds: unknown fold in column {column!r} of {path.name}",
            seen=raw[folds.index("")],
            allowed=", ".join(FOLD_ALIASES),
        )
    return np.array(folds, dtype=object)


def read_given_test_posts(path: Path, column: str) -> pa.Array:
    """Read which posts a file assigns to the test fold.

    Args:
        path: A CSV or Parquet file with a column `post_id`.
        column: The column of folds.

    Returns:
        Distinct post ids.

    Raises:
        InputError: If the file cannot be read or lists a post twice.
    """
    fold_of = _read_fold_file(path, column)
    return pa.array([i for i, fold in fold_of.items() if _parse_fold(fold) == "test"], pa.string())


def _parse_fold(value: str | None) -> str:
    """Return the fold that a value stands for; empty for an unknown value."""
    return FOLD_ALIASES.get(str(value).strip().lower(), "")


def _read_fold_file(path: Path, column: str) -> dict[str, str | None]:
    """Read the value of each post in a file of given folds."""
    table = _read_columns(path, column)
    fold_of = dict(zip(table["post_id"].to_pylist(), table[column].to_pylist(), strict=True))
    if len(fold_of) != table.num_rows:
        raise InputError(
            f"split.folds: {path.name} lists a post more than once", do="keep one row per post"
        )
    return fold_of


def _read_columns(path: Path, column: str) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, columns=["post_id", column])
        else:
            table = pyarrow.csv.read_csv(
                path,
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=["post_id", column],
                    column_types={"post_id": pa.string(), column: pa.string()},
                ),
            )
        strings = pa.schema([("post_id", pa.string()), (column, pa.string())])
        return table.select(["post_id", column]).cast(strings)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"split.folds cannot be read: {' '.join(str(error).split())[:200]}",
            seen=str(path),
            allowed=f"a CSV or Parquet file with columns post_id and {column}",
            do="correct split.folds and split.folds_column, or set split.folds to null",
        ) from error


def _hash_to_folds(names: Sequence[str], weights: dict[str, float], seed: int) -> np.ndarray:
    """Pick a fold for each name, with probabilities in proportion to the weights, (G,)."""
    key = f"fold:{seed}".encode()
    digests = b"".join(blake2b(n.encode(), digest_size=8, key=key).digest() for n in names)
    uniform = np.frombuffer(digests, dtype="<u8") / 2.0**64
    order = [fold for fold in _HASH_ORDER if weights.get(fold)]
    edges = np.cumsum([weights[fold] for fold in order]) / sum(weights[fold] for fold in order)
    index = np.searchsorted(edges[:-1], uniform, side="right")
    return np.array(order, dtype=object)[index]
