"""Estimates of a scored corpus whose bands or authors are unbalanced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.scored_repo import write_scored_repo

from postbias.axes import Axis
from postbias.errors import SchemaError
from postbias.paths import Paths
from postbias.population.corpus_estimates import (
    BAND_NAMES,
    build_estimands,
    estimate_population,
    estimate_rows,
)
from postbias.population.groups import group_posts
from postbias.population.scored_corpus import ScoredCorpus, _never_held_out, load_scored_corpus
from postbias.posts.schema import FRAME, POSTS, SPLIT
from postbias.posts.shards import read_table, write_table
from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, LEARNED, UNLABELLED, LabelDesign


def _corpus(labels: Array, scores: Array, authors: Array) -> ScoredCorpus:
    """Make a corpus of one axis; half of the posts are labelled, a third of these held out."""
    rng = np.random.default_rng(1)
    n = len(labels)
    is_held_out = (rng.random(authors.max() + 1) < 1 / 3)[authors]
    roles = np.where(is_held_out, HELD_OUT, LEARNED)
    roles = np.where(rng.random(n) < 0.5, roles, UNLABELLED).astype(np.int8)
    table = pa.table({"post_id": [str(i) for i in range(n)], "author": [str(a) for a in authors]})
    return ScoredCorpus(
        table=table,
        captions=pa.chunked_array([[""] * n]),
        axes=(Axis("bias", 0.0, 10.0),),
        design=LabelDesign.of_corpus(authors, roles, np.where(roles, 2.0, 0.0)),
        labels={"bias": np.where(roles, labels, np.nan)},
        scores={"bias": scores},
        n_posts=n,
        n_lost_labels=0,
        later=table.slice(0, 0),
        n_later=0,
        rounds=(roles != UNLABELLED).astype(np.intp),
    )


@pytest.mark.parametrize("empty", BAND_NAMES)
def test_with_an_empty_band_shares_add_up_and_have_intervals(empty: str) -> None:
    rng = np.random.default_rng(2)
    authors = np.arange(600) // 4
    spread = {"low": (4.0, 10.0), "moderate": (0.0, 3.0), "high": (0.0, 6.0)}[empty]
    labels = rng.uniform(*spread, 600)
    if empty == "moderate":
        labels[::3] = 8.0
    corpus = _corpus(labels, np.clip(labels + rng.normal(0, 0.1, 600), *spread), authors)
    estimates = estimate_rows(corpus, build_estimands(corpus), np.ones(600, dtype=bool))
    shares = [estimates[f"share_{band}"] for band in BAND_NAMES]
    assert sum(share["value"] for share in shares) == pytest.approx(1)
    for share in shares:
        assert share["hi"] - share["lo"] > 0.005
    assert estimates[f"share_{empty}"]["lo"] == 0


def test_equal_labels_and_one_author_with_almost_all_posts_give_no_error() -> None:
    authors = np.r_[np.zeros(560, dtype=int), 1 + np.arange(40) // 4]
    for labels in (np.full(600, 2.0), np.where(authors == 0, 8.0, 2.0)):
        corpus = _corpus(labels, labels.copy(), authors)
        estimates = estimate_rows(corpus, build_estimands(corpus), np.ones(600, dtype=bool))
        bias = estimates["bias"]
        assert bias["lo"] <= labels.mean() <= bias["hi"]
        assert bias["value"] == pytest.approx(labels.mean())


def test_authors_linked_to_more_posts_than_a_held_out_fold_are_never_held_out(
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path, tmp_path)
    linked = [
        ("a", "d1"),
        ("b", "d1"),
        ("b", "x"),
        ("c", "x"),
        *[("c", f"c{i}") for i in range(20)],
    ]
    others = [(f"o{i}", f"p{i}") for i in range(76)]
    folds = ["train"] * 60 + ["calib"] * 20 + ["test"] * 20
    rows = [
        {"post_id": str(i), "author": author, "cluster": cluster, "fold": fold, "round": 1}
        for i, ((author, cluster), fold) in enumerate(zip([*linked, *others], folds, strict=True))
    ]
    write_table(pa.Table.from_pylist(rows, SPLIT), paths.split, SPLIT)
    assert set(_never_held_out(paths).to_pylist()) == {"a", "b", "c"}


def test_posts_that_could_not_be_sampled_change_no_estimate(tmp_path: Path) -> None:
    paths = write_scored_repo(tmp_path, n_posts=480)
    posts, scores = (read_table(folder / "00000.parquet") for folder in (paths.posts, paths.scores))
    write_table(posts.slice(0, 432).select(["post_id"]), paths.sample_frame, FRAME)
    covered = _estimate(paths)
    later = covered.pop("later_imports")
    unscored = pc.sum(pc.not_equal(scores.slice(432)["status"], "ok")).as_py()
    assert (later["posts"], later["scored"]) == (48, 48 - unscored)
    values = scores.slice(432).filter(pc.equal(scores.slice(432)["status"], "ok"))["bias"]
    assert later["uncorrected"]["bias"] == pytest.approx(np.mean(values.to_numpy()))
    assert sum(later["uncorrected"][f"share_{band}"] for band in BAND_NAMES) == pytest.approx(1)
    write_table(posts.slice(0, 432), paths.posts / "00000.parquet", POSTS)
    write_table(scores.slice(0, 432), paths.scores / "00000.parquet", scores.schema)
    assert _estimate(paths) == covered
    write_table(posts.select(["post_id"]), paths.sample_frame, FRAME)
    with pytest.raises(SchemaError, match=r"frame\.parquet are not those"):
        load_scored_corpus(paths)


def _estimate(paths: Paths) -> dict[str, Any]:
    corpus = load_scored_corpus(paths)
    return estimate_population(
        corpus, build_estimands(corpus), group_posts(corpus.table, corpus.captions, 30)
    )
