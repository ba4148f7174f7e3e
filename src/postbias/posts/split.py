"""Split the labelled posts into folds that share no author and no near-duplicate.

Posts of one author, and nearly equal posts, are linked; whatever is connected is one group, and
goes to one fold as a whole (see `folds` for how that is stable, `duplicates` for what is nearly
equal, `audit` for the proof). Writes `build/split.parquet` and `reports/split.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CorpusError, CountsError
from postbias.json_files import write_json
from postbias.params import Params, SplitParams
from postbias.paths import Paths
from postbias.posts.duplicates import Content, components, near_pairs, read_content
from postbias.posts.fold_assignment import draw_folds, keep_folds, read_folds
from postbias.posts.leakage import Audit, audit
from postbias.posts.schema import EXCLUDED, FOLDS, SPLIT, axes_of, check_table, labels_schema
from postbias.posts.shards import read_table, write_table

logger = logging.getLogger(__name__)

#: Below this many labels no fold is large enough to say anything.
MIN_LABELS = 50

#: A fold whose mean score is further from that of all posts than this many standard deviations
#: is worth a warning.
MAX_GAP_SD = 0.25

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Split:
    """The folds of some posts; all arrays are (N,).

    Attributes:
        clusters: Number of each post's set of near-duplicates, from 0.
        groups: Number of each post's group, from 0.
        folds: `train`, `valid`, `calib`, `test` or `excluded`.
        audit: The proof that nothing crosses.
    """

    clusters: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    audit: Audit


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What splitting did.

    Attributes:
        content: The content of `reports/split.json`.
    """

    content: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """Return the numbers to log.

        Returns:
            Name to value: the counts, posts per fold, and the leakage.
        """
        flat = {k: float(v) for k, v in self.content.items() if isinstance(v, int | float)}
        flat |= {f"n_{name}": float(fold["posts"]) for name, fold in self.content["folds"].items()}
        return flat | {"leakage": float(self.content["audit"]["leakage"])}


def split(paths: Paths, params: Params) -> SplitSummary:
    """Run the stage: read labels and posts, write the folds and their report.

    Args:
        paths: Where things lie.
        params: Its groups `seed` and `split` are used.

    Returns:
        The report.

    Raises:
        CorpusError: If there are too few labels or authors, a fold stays empty, or folds leak.
        InputError: If given folds cannot be used.
        SchemaError: If labels or posts are damaged.
        CountsError: If not every labelled post has a fold.
    """
    post_ids, scores = read_scores(paths.labels)
    content = read_content(paths.posts, post_ids)
    given = None
    if params.split.folds is not None:
        given = read_folds(paths.root / params.split.folds, params.split.folds_column, post_ids)
    content = _with_authors(content, post_ids, is_given=given is not None)
    result = split_posts(post_ids, content, params, given)
    _check_filled(result.folds, params.split)
    table = _table(post_ids, content, result)
    write_table(table, paths.split, SPLIT)
    if read_table(paths.split, SPLIT, ["post_id"]).num_rows != len(post_ids):
        raise CountsError(f"split: {len(post_ids)} labels in, {table.num_rows} rows out")
    report = _report(content, scores, result, params.split)
    for fold, seen in report["folds"].items():
        if abs(seen["score"].get("gap_sd", 0)) > MAX_GAP_SD:
            logger.warning(
                "the mean score of %s is %.2f sd from that of all: another seed draws other folds",
                fold,
                seen["score"]["gap_sd"],
            )
    write_json(paths.reports / "split.json", report)
    return SplitSummary(report)


def split_posts(
    post_ids: Sequence[str], content: Content, params: Params, given: np.ndarray | None = None
) -> Split:
    """Group posts by author and likeness, and give each group a fold.

    Args:
        post_ids: The posts.
        content: Their authors, captions and pictures.
        params: Its groups `seed` and `split` are used.
        given: Folds given from outside, (N,).

    Returns:
        The audited split.

    Raises:
        CorpusError: If the folds leak.
    """
    size = len(post_ids)
    alike = near_pairs(content, params.split)
    names, first, authors = np.unique(
        np.array(content.authors, dtype=object), return_index=True, return_inverse=True
    )
    groups = components(
        np.concatenate([alike, np.column_stack([np.arange(size), first[authors]])]), size
    )
    # A group is named after one of its authors, not its posts: more posts of theirs change nothing.
    owners: dict[int, str] = {}
    for group, name in zip(groups[first].tolist(), names.tolist(), strict=True):
        owners.setdefault(group, name)
    keys = [owners[group] for group in range(len(owners))]
    shares = params.split.shares
    if given is None:
        folds = draw_folds(groups, keys, shares, params.seed)
    else:
        folds = keep_folds(given, groups, keys, shares, params.seed)
    proof = audit(content, folds, params.split)
    return Split(components(alike, size), groups, folds, proof)


def read_scores(path: Path) -> tuple[list[str], np.ndarray]:
    """Read which posts have a label, and what it is on the main axis.

    Args:
        path: The labels.

    Returns:
        Post ids, sorted, and scores, (N,).

    Raises:
        CorpusError: If there are fewer than `MIN_LABELS`.
        SchemaError: If the file is damaged or of another schema.
    """
    table = read_table(path)
    axes = axes_of(table.schema, spread="_sd")
    table = check_table(table, labels_schema(axes), str(path))
    table = table.filter(pc.equal(table["status"], "ok")).sort_by("post_id")
    if table.num_rows < MIN_LABELS:
        raise CorpusError(
            "too few labelled posts to split",
            seen=table.num_rows,
            allowed=f"at least {MIN_LABELS}",
            do="raise sample.n, or look into reports/labels.json for why labels were rejected",
        )
    return table["post_id"].to_pylist(), table[axes[0]].to_numpy()


def _with_authors(content: Content, post_ids: Sequence[str], *, is_given: bool) -> Content:
    """Make sure that the authors say something."""
    if len(set(content.authors)) > 1:
        return content
    if not is_given:
        raise CorpusError(
            "all labelled posts have one author, so no two folds can be free of each other's",
            seen=content.authors[0],
            do="import them with their authors (without an author column each post is its own),"
            " or give folds by split.folds",
        )
    logger.warning("all posts have one author: folds are given, so authors are not looked at")
    return replace(content, authors=tuple(f"post:{post_id}" for post_id in post_ids))


def _check_filled(folds: np.ndarray, params: SplitParams) -> None:
    wanted = [fold for fold in FOLDS if getattr(params.shares, fold)]
    if empty := [fold for fold in wanted if fold not in folds]:
        excluded = int((folds == EXCLUDED).sum())
        raise CorpusError(
            f"no posts for {' and '.join(empty)}",
            seen=f"{len(folds)} labelled posts, {excluded} excluded by the given folds",
            do="label posts of more authors or try another seed"
            if params.folds is None
            else "give folds in which no author or near-duplicate of test is in the others",
        )


def _table(post_ids: Sequence[str], content: Content, result: Split) -> pa.Table:
    """Return the folds as `SPLIT`; a cluster is named after its first post."""
    _, first = np.unique(result.clusters, return_index=True)
    names = [post_ids[first[cluster]] for cluster in result.clusters]
    columns = [list(post_ids), list(content.authors), names, result.folds.tolist()]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=SPLIT)


def _report(
    content: Content, scores: np.ndarray, result: Split, params: SplitParams
) -> dict[str, Any]:
    """Return the content of `reports/split.json`."""
    clusters, groups = np.bincount(result.clusters), np.bincount(result.groups)
    authors = np.array(content.authors, dtype=object)
    folds = {}
    for fold in FOLDS:
        rows = result.folds == fold
        folds[fold] = {
            "posts": int(rows.sum()),
            "share": float(rows.mean()),
            "wanted": getattr(params.shares, fold),
            "authors": len(set(authors[rows])),
            "groups": len(set(result.groups[rows].tolist())),
            "score": _describe(scores[rows], scores),
        }
    return {
        "posts": len(scores),
        "excluded": int((result.folds == EXCLUDED).sum()),
        "authors": len(set(content.authors)),
        "groups": len(groups),
        "largest_group": int(groups.max()),
        "clusters": int((clusters > 1).sum()),
        "posts_in_clusters": int(clusters[clusters > 1].sum()),
        "largest_cluster": int(clusters.max()),
        "images": len(content.bits),
        "unreadable_images": content.unreadable,
        "score": _describe(scores, scores),
        "folds": folds,
        "audit": result.audit.report(),
    }


def _describe(scores: np.ndarray, among: np.ndarray) -> dict[str, float]:
    """Describe the scores of a fold among those of all posts."""
    if not len(scores):
        return {}
    spread = float(among.std())
    gap = float(scores.mean() - among.mean()) / spread if spread else 0.0
    quantiles = np.quantile(scores, _QUANTILES)
    described = {
        f"q{round(100 * q):02d}": float(v) for q, v in zip(_QUANTILES, quantiles, strict=True)
    }
    return {"mean": float(scores.mean()), "sd": float(scores.std()), "gap_sd": gap} | described
