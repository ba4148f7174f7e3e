"""Which fold a group of posts belongs to: drawn by hash, or given from outside.

A group is all that must stay together. Its fold is drawn from a keyed hash of its name, and from
nothing else: whoever wants that no added post ever moves an old one cannot look at the other
groups, for a rule that gives the same fold in every corpus around a group depends on that group
alone. So shares and scores are balanced by the even spread of the hash, not by counting; `split`
measures how well and says so. The one exception: a group larger than its whole fold should be is
trained on. Knows no captions, pictures or scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from postbias.errors import InputError
from postbias.params import FoldShares
from postbias.posts.schema import EXCLUDED, FOLDS

#: What a file of given folds may say, and what it means.
GIVEN = {name: name for name in FOLDS} | {"dev": "valid", "validation": "valid"}

#: In which order the hash's range is dealt out: the share of train can change with the others'
#: posts staying where they are.
_DEALT = ("test", "calib", "valid", "train")


def draw_folds(
    groups: np.ndarray, names: Sequence[str], shares: FoldShares, seed: int
) -> np.ndarray:
    """Draw a fold for each group.

    Args:
        groups: Number of each post's group, from 0, (N,).
        names: Name of each group, the same in every corpus that has the group, (G,).
        shares: Share of each fold.
        seed: Key of the hash.

    Returns:
        The fold of each post, (N,).
    """
    wanted = {fold: getattr(shares, fold) for fold in _DEALT}
    folds = _deal(names, wanted, seed)  # (G,)
    room = np.array([wanted[fold] for fold in folds]) * len(groups)
    folds[np.bincount(groups, minlength=len(names)) > room] = "train"
    return folds.take(groups)  # (N,)


def keep_folds(
    given: np.ndarray, groups: np.ndarray, names: Sequence[str], shares: FoldShares, seed: int
) -> np.ndarray:
    """Complete given folds, and exclude what would leak between them.

    Folds that the file does not name are drawn, group by group: calib from valid; valid and calib
    from train. Where a group has posts in several folds, those of the first of test, calib, valid,
    train stay and the others are excluded; so no post of test is ever lost or moved.

    Args:
        given: The given fold of each post, (N,).
        groups: Number of each post's group, from 0, (N,).
        names: Name of each group, (G,).
        shares: Share of each fold, for those drawn.
        seed: Key of the hash.

    Returns:
        The fold of each post, `excluded` among them, (N,).
    """
    folds = given.astype(object)
    present = set(given.tolist())
    missing = [fold for fold in ("calib", "valid") if fold not in present]
    if missing:
        source = "train" if "valid" in missing else "valid"
        wanted = {fold: getattr(shares, fold) for fold in (*missing, source)}
        drawn = _deal(names, wanted, seed)[groups]
        folds = np.where(folds == source, drawn, folds)
    rank = np.array([_DEALT.index(fold) for fold in folds])
    first = np.full(len(names), len(_DEALT))
    np.minimum.at(first, groups, rank)
    return np.where(rank == first[groups], folds, EXCLUDED)


def read_folds(path: Path, column: str, post_ids: Sequence[str]) -> np.ndarray:
    """Read given folds.

    Args:
        path: A CSV or Parquet file with a column `post_id`.
        column: Its column of folds: train, valid (or dev), calib, test.
        post_ids: The posts whose folds are wanted.

    Returns:
        The fold of each of them, (N,).

    Raises:
        InputError: If the file cannot be read, has another value, names a post twice, or not all
            posts.
    """
    table = _read(path, column)
    ids, values = table["post_id"].combine_chunks(), table[column].combine_chunks()
    positions = pc.index_in(pa.array(post_ids, pa.string()), value_set=ids)
    if positions.null_count:
        raise InputError(
            f"split.folds: {positions.null_count} of {len(post_ids)} labelled posts are not in"
            f" {path.name}",
            seen=post_ids[positions.to_pylist().index(None)],
            do="give every labelled post a fold, or set split.folds to null",
        )
    if pc.count_distinct(ids).as_py() != len(ids):
        raise InputError(
            f"split.folds: {path.name} names a post twice", do="leave one row per post"
        )
    found = values.take(positions).to_pylist()
    folds = [GIVEN.get(str(value).strip().lower(), "") for value in found]
    if "" in folds:
        raise InputError(
            f"split.folds: {path.name} has another value in column {column!r}",
            seen=found[folds.index("")],
            allowed=", ".join(GIVEN),
        )
    return np.array(folds, dtype=object)


def _read(path: Path, column: str) -> pa.Table:
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


def _deal(names: Sequence[str], wanted: dict[str, float], seed: int) -> np.ndarray:
    """Draw one of the wanted folds for each name, in proportion to their shares, (G,)."""
    key = f"fold:{seed}".encode()
    digests = b"".join(blake2b(n.encode(), digest_size=8, key=key).digest() for n in names)
    uniform = np.frombuffer(digests, dtype="<u8") / 2.0**64
    order = [fold for fold in _DEALT if wanted.get(fold)]
    edges = np.cumsum([wanted[fold] for fold in order]) / sum(wanted[fold] for fold in order)
    place = np.searchsorted(edges[:-1], uniform, side="right")
    return np.array(order, dtype=object)[place]
