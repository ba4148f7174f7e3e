"""Split the labelled posts into folds that share no author and no near-duplicate.

Posts of the same author and near-duplicate posts are linked; each connected component is one group
and goes to one fold as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from postbias.errors import CorpusError, CountsError
from postbias.json_files import write_json
from postbias.params import Params, SplitParams
from postbias.paths import Paths
from postbias.posts.authorship import count_authors, make_own_author
from postbias.posts.duplicates import PostFeatures, find_near_duplicates, read_features
from postbias.posts.fold_assignment import (
    assign_folds,
    find_oversized_groups,
    keep_given_folds,
    label_components,
    read_given_folds,
)
from postbias.posts.labelled_posts import read_main_axis_labels, read_rounds_of_posts
from postbias.posts.leakage import LeakageCheck, check_leakage
from postbias.posts.schema import EXCLUDED, FOLDS, SPLIT
from postbias.posts.shards import read_table, write_table

logger = logging.getLogger(__name__)

#: Warn if the mean label of a fold differs from that of all posts by more than this many standard
#: deviations.
MAX_GAP_SD = 0.25

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Split:
    """The folds of N posts; all arrays are (N,).

    Attributes:
        clusters: Near-duplicate cluster of each post, numbered from 0.
        groups: Group of each post, numbered from 0.
        folds: `train`, `valid`, `calib`, `test` or `excluded`.
        leakage_check: Result of the exhaustive comparison across folds.
    """

    clusters: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    leakage_check: LeakageCheck


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Result of the stage.

    Attributes:
        content: The content of `reports/split.json`.
    """

    content: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log, by name: counts, posts per fold, and leakage."""
        flat = {k: float(v) for k, v in self.content.items() if isinstance(v, int | float)}
        flat |= {f"n_{name}": float(fold["posts"]) for name, fold in self.content["folds"].items()}
        return flat | {"leakage": float(self.content["audit"]["leakage"])}


def split(paths: Paths, params: Params) -> SplitSummary:
    """Run the stage: read labels and posts, write `build/split.parquet` and `reports/split.json`.

    Args:
        params: The groups `seed` and `split` are used.

    Returns:
        The content of the report.

    Raises:
        CorpusError: If there are too few labels or authors, a fold is empty, or the folds leak.
        InputError: If the given folds cannot be used.
        SchemaError: If labels, sample or posts are damaged.
        CountsError: If not every labelled post has a fold.
    """
    post_ids, labels = read_main_axis_labels(paths.labels)
    rounds = read_rounds_of_posts(paths.sample, post_ids)
    features = read_features(paths.sampled_posts, post_ids)
    given = None
    if params.split.folds is not None:
        path = paths.sampled_file(params.split.folds)
        given = read_given_folds(path, params.split.folds_column, post_ids)
    features = _check_authors(features, post_ids, has_given_folds=given is not None)
    result = split_posts(post_ids, features, params, given)
    _check_no_empty_fold(result.folds, params.split)
    write_table(_split_table(post_ids, features, result, rounds), paths.split, SPLIT)
    written = read_table(paths.split, SPLIT, ["post_id"]).num_rows
    if written != len(post_ids):
        raise CountsError(
            f"split: {len(post_ids)} labelled posts in, but {written} rows written",
            do="report this bug in postbias",
        )
    report = _report(features, post_ids, labels, result, params.split)
    for fold, described in report["folds"].items():
        if abs(described["score"].get("gap_sd", 0)) > MAX_GAP_SD:
            logger.warning(
                "the mean label of fold %s is %.2f standard deviations from that of all posts;"
                " another seed draws other folds",
                fold,
                described["score"]["gap_sd"],
            )
    if given is None:
        _warn_of_oversized_groups(features, result, params.split)
    write_json(paths.reports / "split.json", report)
    return SplitSummary(report)


def split_posts(
    post_ids: Sequence[str], features: PostFeatures, params: Params, given: np.ndarray | None = None
) -> Split:
    """Group posts by author and near-duplicates, and assign each group to a fold.

    Args:
        post_ids: Ids of the N posts.
        features: Features of the posts.
        params: The groups `seed` and `split` are used.
        given: Given fold of each post, (N,); None assigns all folds by hash.

    Returns:
        The split, checked for leakage.

    Raises:
        CorpusError: If the folds leak.
    """
    n = len(post_ids)
    duplicates = find_near_duplicates(features, params.split)
    names, first, authors = np.unique(
        np.array(features.authors, dtype=object), return_index=True, return_inverse=True
    )
    same_author = np.column_stack([np.arange(n), first[authors]])
    groups = label_components(np.concatenate([duplicates, same_author]), n)
    # A group is named after its first author, not its posts, so more posts of it change nothing.
    first_author: dict[int, str] = {}
    for group, name in zip(groups[first].tolist(), names.tolist(), strict=True):
        first_author.setdefault(group, name)
    group_names = [first_author[group] for group in range(len(first_author))]
    shares = params.split.shares
    if given is None:
        folds = assign_folds(groups, group_names, shares, params.seed)
    else:
        folds = keep_given_folds(given, groups, group_names, shares, params.seed)
    check = check_leakage(features, folds, params.split)
    return Split(label_components(duplicates, n), groups, folds, check)


def _check_authors(
    features: PostFeatures, post_ids: Sequence[str], *, has_given_folds: bool
) -> PostFeatures:
    """Check that posts have different authors; with given folds, treat each post as its own."""
    if len(set(features.authors)) > 1:
        return features
    if not has_given_folds:
        raise CorpusError(
            "all labelled posts have one author, so it cannot be kept out of any fold",
            seen=features.authors[0],
            do="import the posts with their authors (without an author column each post is its own"
            " author), or name a file of given folds in split.folds",
        )
    logger.warning("all posts have one author; the given folds are kept and authors are ignored")
    return replace(features, authors=tuple(make_own_author(post_id) for post_id in post_ids))


def _check_no_empty_fold(folds: np.ndarray, params: SplitParams) -> None:
    required = [fold for fold in FOLDS if getattr(params.shares, fold)]
    if empty := [fold for fold in required if fold not in folds]:
        excluded = int((folds == EXCLUDED).sum())
        raise CorpusError(
            f"no posts for {' and '.join(empty)}",
            seen=f"{len(folds)} labelled posts, {excluded} excluded because of the given folds",
            do="label posts of more authors or try another seed"
            if params.folds is None
            else "give folds in which test shares no author or near-duplicate with other folds",
        )


def _warn_of_oversized_groups(features: PostFeatures, result: Split, params: SplitParams) -> None:
    shares = {fold: getattr(params.shares, fold) for fold in FOLDS}
    authors = np.array(features.authors, dtype=object)
    for group in np.flatnonzero(find_oversized_groups(result.groups, shares)):
        rows = result.groups == group
        logger.warning(
            "%s and near-duplicates of those posts are %.0f%% of the labelled posts, more than a"
            " whole fold for calibration or test: all of them are in %s, so metrics and intervals"
            " say little about them",
            f"the posts of author {authors[rows][0]!r}"
            if len(set(authors[rows])) == 1
            else f"the posts of {len(set(authors[rows]))} linked authors",
            100 * rows.mean(),
            result.folds[rows][0],
        )


def _split_table(
    post_ids: Sequence[str], features: PostFeatures, result: Split, rounds: pa.Array
) -> pa.Table:
    """Build the `SPLIT` table; a cluster is named after its first post."""
    _, first = np.unique(result.clusters, return_index=True)
    names = [post_ids[first[cluster]] for cluster in result.clusters]
    columns = [list(post_ids), list(features.authors), names, result.folds.tolist()]
    strings = [pa.array(column, pa.string()) for column in columns]
    return pa.table([*strings, rounds], schema=SPLIT)


def _report(
    features: PostFeatures,
    post_ids: Sequence[str],
    labels: np.ndarray,
    result: Split,
    params: SplitParams,
) -> dict[str, Any]:
    """Build the content of `reports/split.json`."""
    clusters, groups = np.bincount(result.clusters), np.bincount(result.groups)
    authors = np.array(features.authors, dtype=object)
    ids = np.array(post_ids, dtype=object)
    folds = {}
    for fold in FOLDS:
        rows = result.folds == fold
        folds[fold] = {
            "posts": int(rows.sum()),
            "share": float(rows.mean()),
            "wanted": getattr(params.shares, fold),
            **count_authors(authors[rows].tolist(), ids[rows].tolist()).as_dict(),
            "groups": len(set(result.groups[rows].tolist())),
            "score": _describe(labels[rows], labels),
        }
    return {
        "posts": len(labels),
        "excluded": int((result.folds == EXCLUDED).sum()),
        **count_authors(features.authors, post_ids).as_dict(),
        "groups": len(groups),
        "largest_group": int(groups.max()),
        "clusters": int((clusters > 1).sum()),
        "posts_in_clusters": int(clusters[clusters > 1].sum()),
        "largest_cluster": int(clusters.max()),
        "images": len(features.hashes),
        "unreadable_images": features.unreadable,
        "score": _describe(labels, labels),
        "folds": folds,
        "audit": result.leakage_check.report(),
    }


def _describe(labels: np.ndarray, all_labels: np.ndarray) -> dict[str, float]:
    """Summarise the labels of a fold; `gap_sd` compares their mean with that of all labels."""
    if not len(labels):
        return {}
    sd = float(all_labels.std())
    gap = float(labels.mean() - all_labels.mean()) / sd if sd else 0.0
    quantiles = np.quantile(labels, _QUANTILES)
    summary = {
        f"q{round(100 * q):02d}": float(v) for q, v in zip(_QUANTILES, quantiles, strict=True)
    }
    return {"mean": float(labels.mean()), "sd": float(labels.std()), "gap_sd": gap} | summary
