"""The split stage: groups stay whole, given folds are kept, nothing leaks."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from tests.post_shards import sample_all_posts

from postbias.errors import CorpusError, InputError, PostbiasError
from postbias.params import FoldShares, Params, load_params
from postbias.paths import Paths
from postbias.posts.authorship import describe_authors
from postbias.posts.captions import make_shingles
from postbias.posts.duplicates import PostFeatures
from postbias.posts.fold_assignment import (
    assign_folds,
    find_oversized_groups,
    keep_given_folds,
    read_given_folds,
)
from postbias.posts.leakage import check_leakage
from postbias.posts.schema import FOLDS, POSTS, SPLIT, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.posts.split import split, split_posts

ROOT = Path(__file__).resolve().parents[2]
EDOS = ROOT.parent / "shared" / "real" / "edos.csv"
SHARES = FoldShares(train=0.6, valid=0.1, calib=0.1, test=0.2)


@pytest.fixture(scope="module")
def params() -> Params:
    settings = load_params(ROOT / "params.yaml")
    changed = settings.split.model_copy(update={"shares": SHARES, "folds": None})
    return settings.model_copy(update={"seed": 1, "split": changed})


def with_folds(params: Params, path: str, column: str = "fold") -> Params:
    changed = params.split.model_copy(update={"folds": path, "folds_column": column})
    return params.model_copy(update={"split": changed})


def features_of(authors: Sequence[str], captions: Sequence[str]) -> PostFeatures:
    return PostFeatures(
        authors=tuple(authors),
        captions=tuple(map(make_shingles, captions)),
        image_post=np.array([], dtype=np.int64),
        hashes=np.array([], dtype=np.uint64),
        colours=np.zeros((0, 48), dtype=np.float32),
        shapes=np.zeros((0, 256), dtype=np.float32),
        unreadable=0,
    )


def dissimilar(n: int) -> list[str]:
    """Make captions of which no two are similar."""
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz "), 40)) for _ in range(n)]


def write_corpus(
    root: Path, authors: Sequence[str], captions: Sequence[str] | None = None, rejected: int = 0
) -> Paths:
    """Write posts and labels p000, p001, ...; the last `rejected` posts have no valid label."""
    paths = Paths(root, root)
    texts = captions or dissimilar(len(authors))
    fixed = {"images": [], "platform": "t", "source": "t"}
    posts = [
        dict.fromkeys(POSTS.names)
        | fixed
        | {"post_id": f"p{i:03d}", "author": author, "caption": text}
        for i, (author, text) in enumerate(zip(authors, texts, strict=True))
    ]
    write_table(pa.Table.from_pylist(posts, schema=POSTS), paths.posts / "x.parquet", POSTS)
    sample_all_posts(paths)
    schema = labels_schema(("bias", "orientation"))
    labels = [
        dict.fromkeys(schema.names, "x")
        | {"post_id": f"p{i:03d}", "bias": i % 11.0, "bias_sd": None, "n_replies": 1}
        | {"orientation": 5.0, "orientation_sd": None, "status": "ok"}
        for i in reversed(range(len(authors)))
    ]
    for label in labels[:rejected]:
        label |= {"status": "out_of_range", "bias": None}
    write_table(pa.Table.from_pylist(labels, schema=schema), paths.labels, schema)
    return paths


def folds_of(paths: Paths) -> dict[str, str]:
    return {row["post_id"]: row["fold"] for row in read_table(paths.split, SPLIT).to_pylist()}


def test_the_stage_assigns_each_valid_label_to_one_fold_and_reports_it(
    tmp_path: Path, params: Params
) -> None:
    paths = write_corpus(tmp_path, [f"a{i // 2}" for i in range(400)], rejected=7)
    summary = split(paths, params)
    folds = folds_of(paths)
    assert list(folds) == [f"p{i:03d}" for i in range(393)]
    report = json.loads((paths.reports / "split.json").read_text())
    assert {fold: report["folds"][fold]["posts"] for fold in FOLDS} == Counter(folds.values())
    assert report["posts"] == 393
    assert report["authors"] == report["groups"] == 197
    assert report["audit"]["leakage"] == 0
    assert report["audit"]["captions_compared"] > 10_000
    assert summary.metrics()["n_test"] == report["folds"]["test"]["posts"]
    assert summary.metrics()["leakage"] == 0


def test_an_author_is_never_in_two_folds(params: Params) -> None:
    authors = [f"a{i % 90}" for i in range(400)]
    result = split_posts(
        [f"p{i}" for i in range(400)], features_of(authors, dissimilar(400)), params
    )
    assert len(set(zip(authors, result.folds, strict=True))) == 90


def test_near_duplicates_of_different_authors_are_never_in_two_folds(params: Params) -> None:
    texts = dissimilar(200)
    texts += [text + "!" for text in texts]
    features = features_of([f"a{i}" for i in range(400)], texts)
    result = split_posts([f"p{i}" for i in range(400)], features, params)
    assert (result.folds[:200] == result.folds[200:]).all()
    assert (result.clusters[:200] == result.clusters[200:]).all()
    assert len(set(result.clusters)) == 200


def test_fold_sizes_and_mean_scores_are_balanced() -> None:
    # 4,000 authors: a share of 0.2 has a standard error of 0.006, a fold's mean one of 0.035 sd.
    names = [f"a{i}" for i in range(4000)]
    scores = np.random.default_rng(0).normal(size=4000)
    folds = assign_folds(np.arange(4000), names, SHARES, seed=3)
    for fold in FOLDS:
        rows_in = folds == fold
        assert rows_in.mean() == pytest.approx(getattr(SHARES, fold), abs=0.025)
        assert abs(scores[rows_in].mean()) < 4 / np.sqrt(rows_in.sum())


def test_an_author_larger_than_a_fold_is_in_train() -> None:
    names = [f"a{i}" for i in range(301)]
    groups = np.r_[np.zeros(300, dtype=int), np.arange(1, 301)]
    for seed in range(20):
        folds = assign_folds(groups, names, SHARES, seed)
        assert set(folds[:300]) == {"train"}
        assert set(folds[300:]) == set(FOLDS)


def test_a_group_larger_than_a_held_out_fold_is_oversized() -> None:
    groups = np.r_[np.zeros(15, dtype=int), np.ones(9, dtype=int), np.arange(2, 78)]  # 100 posts
    shares = {"train": 0.6, "valid": 0.1, "calib": 0.1, "test": 0.2}
    assert np.flatnonzero(find_oversized_groups(groups, shares)).tolist() == [0]
    assert np.flatnonzero(find_oversized_groups(groups, shares | {"calib": 0})).tolist() == []


def test_an_author_larger_than_a_fold_is_named_in_a_warning(
    tmp_path: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_corpus(tmp_path, ["prolific"] * 60 + [f"a{i}" for i in range(240)])
    with caplog.at_level(logging.WARNING):
        split(paths, params)
    assert "the posts of author 'prolific'" in caplog.text
    assert "20% of the labelled posts" in caplog.text


def test_another_seed_assigns_other_folds() -> None:
    names = [f"a{i}" for i in range(100)]
    first, second = (assign_folds(np.arange(100), names, SHARES, seed) for seed in (1, 2))
    assert (first != second).any()


def test_given_test_posts_are_kept_and_posts_that_would_leak_are_excluded() -> None:
    given = np.array(["train", "test", "valid", "valid", "train", "calib", "train", "valid"])
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    folds = keep_given_folds(given, groups, ["a", "b", "c", "d"], SHARES, seed=1)
    assert folds.tolist() == [
        "excluded", "test", "excluded", "valid", "excluded", "calib", "excluded", "valid",
    ]  # fmt: skip


def test_folds_that_are_not_given_are_drawn_from_those_that_are() -> None:
    names = [f"a{i}" for i in range(2000)]
    given = np.array(["train"] * 1000 + ["valid"] * 500 + ["test"] * 500)
    folds = keep_given_folds(given, np.arange(2000), names, SHARES, seed=1)
    assert Counter(folds[:1000]) == {"train": 1000}
    assert Counter(folds[1500:]) == {"test": 500}
    assert Counter(folds[1000:1500])["calib"] == pytest.approx(250, abs=45)
    folds = keep_given_folds(
        np.where(given == "valid", "train", given), np.arange(2000), names, SHARES, seed=1
    )
    assert Counter(folds[:1500])["train"] == pytest.approx(1125, abs=70)
    assert Counter(folds[1500:]) == {"test": 500}


def test_given_valid_posts_are_divided_by_group() -> None:
    given = np.array(["valid"] * 400)
    groups = np.arange(400) // 4
    folds = keep_given_folds(given, groups, [f"a{i}" for i in range(100)], SHARES, seed=1)
    assert len(set(zip(groups.tolist(), folds, strict=True))) == 100
    assert set(folds) == {"valid", "calib"}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_given_folds_are_read_from_a_column(tmp_path: Path, params: Params, suffix: str) -> None:
    paths = write_corpus(tmp_path, [f"a{i}" for i in range(80)])
    names = ["train", "Dev", "TEST", "calib"]
    table = pa.table(
        {"set": [names[i % 4] for i in range(90)], "post_id": [f"p{i:03d}" for i in range(90)]}
    )
    if suffix == "csv":
        pa.csv.write_csv(table, tmp_path / "folds.csv")
    else:
        pa.parquet.write_table(table, tmp_path / "folds.parquet")
    split(paths, with_folds(params, f"folds.{suffix}", "set"))
    expected = ["train", "valid", "test", "calib"]
    assert folds_of(paths) == {f"p{i:03d}": expected[i % 4] for i in range(80)}


def test_with_given_folds_a_single_author_is_ignored(
    tmp_path: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_corpus(tmp_path, ["unknown"] * 80)
    lines = [f"p{i:03d},{['train', 'valid', 'test', 'train'][i % 4]}" for i in range(80)]
    (tmp_path / "folds.csv").write_text("\n".join(["post_id,fold", *lines]))
    with caplog.at_level(logging.WARNING):
        split(paths, with_folds(params, "folds.csv"))
    assert "one author" in caplog.text
    assert "excluded" not in folds_of(paths).values()
    assert len(set(read_table(paths.split, SPLIT)["author"].to_pylist())) == 80
    report = json.loads((paths.reports / "split.json").read_text(encoding="utf-8"))
    assert describe_authors(report) == "80 posts (each its own author)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("post_id,set\np000,train\n", "cannot be read.*columns post_id and fold"),
        ("post_id,fold\np000,train\n", "1 of 2 labelled posts are not in"),
        ("post_id,fold\np000,train\np001,holdout\n", "'holdout'.*allowed: train"),
        ("post_id,fold\np000,train\np001,test\np001,train\n", "lists a post more than once"),
        ("post_id,fold\np000,train\np001,\n", "unknown fold.*''"),
    ],
)
def test_an_unusable_file_of_folds_raises_a_clear_error(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "folds.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_given_folds(path, "fold", ["p000", "p001"])


@pytest.mark.parametrize(
    ("authors", "rejected", "message"),
    [
        ([f"a{i}" for i in range(49)], 0, "too few labelled posts.*saw 49.*at least 50"),
        ([f"a{i}" for i in range(60)], 11, "too few labelled posts.*saw 49"),
        (["only"] * 60, 0, "one author.*'only'.*split.folds"),
        (["a", "b"] * 30, 0, "no posts for .*more authors"),
    ],
)
def test_an_impossible_split_raises_a_clear_error_and_writes_nothing(
    tmp_path: Path, params: Params, authors: list[str], rejected: int, message: str
) -> None:
    paths = write_corpus(tmp_path, authors, rejected=rejected)
    with pytest.raises(PostbiasError, match=message):
        split(paths, params)
    assert not paths.split.exists()
    assert not paths.reports.exists()


def test_a_fold_whose_mean_label_deviates_is_reported_in_a_warning(
    tmp_path: Path, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_corpus(tmp_path, [f"a{i}" for i in range(60)])
    with caplog.at_level(logging.WARNING):
        for seed in range(5):  # folds of six posts: some deviate by chance
            split(paths, params.model_copy(update={"seed": seed}))
    assert "another seed draws other folds" in caplog.text


def test_the_leakage_check_finds_every_leak(params: Params) -> None:
    texts = dissimilar(6)
    texts[3] = texts[0] + "!"
    features = features_of(["a", "b", "c", "d", "e", "b"], texts)
    features = replace(
        features,
        image_post=np.array([2, 4]),
        hashes=np.array([0b1011, 0], dtype=np.uint64),
        colours=np.zeros((2, 48), dtype=np.float32),
        shapes=np.ones((2, 256), dtype=np.float32),
    )
    folds = np.array(["train", "train", "train", "valid", "test", "calib"], dtype=object)
    with pytest.raises(CorpusError) as caught:
        check_leakage(features, folds, params.split)
    for count in ("'shared_authors': 1", "'caption_pairs': 1", "'image_pairs': 1", "'leakage': 3"):
        assert count in str(caught.value)
    folds[[0, 2, 5]] = "excluded"
    check = check_leakage(features, folds, params.split)
    assert check.leakage == 0
    assert check.captions_compared == 3


@pytest.mark.skipif(not EDOS.exists(), reason="needs the real data in ../shared/real")
def test_the_official_test_fold_of_edos_is_kept_whole(params: Params) -> None:
    with EDOS.open(encoding="utf-8", newline="") as file:
        table = [row for i, row in enumerate(csv.DictReader(file)) if i % 4 == 0]
    copy = next(row for row in table if row["fold"] == "test" and len(row["caption"]) > 80)
    train = next(row for row in table if row["fold"] == "train")
    train["caption"] = copy["caption"] + "."
    ids = [row["post_id"] for row in table]
    given = read_given_folds(EDOS, "fold", ids)
    features = features_of([f"post:{i}" for i in ids], [row["caption"] for row in table])
    result = split_posts(ids, features, params, given)
    official = np.array([row["fold"] == "test" for row in table])
    assert (result.folds[official] == "test").all()
    assert (result.folds[~official] != "test").all()
    assert result.folds[ids.index(train["post_id"])] == "excluded"
    assert 1 <= (result.folds == "excluded").sum() <= 5
    assert result.leakage_check.leakage == 0
