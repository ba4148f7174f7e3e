"""Drift: none for the same posts, a warning for other posts, no false alarm by chance."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.post_shards import random_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.params import DriftParams
from postbias.paths import Paths
from postbias.posts.remote_files import content_digest
from postbias.posts.shards import list_shards, read_table
from postbias.scoring.artifact import write_artifact
from postbias.scoring.drift import Drift, compare_profiles, measure_drift
from postbias.scoring.post_scores import PostInput, PostScore
from postbias.scoring.profile_store import ProfileStore
from postbias.scoring.reference_profile import describe_answers, describe_content, sample_ids
from postbias.scoring.scorer import Scorer
from postbias.teacher.store_maintenance import delete_posts

LIMITS = DriftParams(sample=300, max_distance=0.15, max_shift=0.3)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Posts, and a student with their reference profile."""
    root = tmp_path_factory.mktemp("drift")
    posts = random_posts(np.random.default_rng(0), 200)
    write_shard(root / "posts" / "0.parquet", posts)
    write_shard(root / "long" / "0.parquet", [(f"{text} {'word ' * 90}", i) for text, i in posts])
    artifact = write_tiny_artifact(root / "student")
    with Scorer(artifact) as scorer:
        ids = sorted(f"0-{row}" for row in range(200))
        reference = {
            "content": describe_content(root / "posts", ids),
            "answers": describe_answers(scorer, root / "posts", ids),
        }
    write_artifact(artifact.folder, dataclasses.replace(artifact.manifest, reference=reference))
    return root


def _measure(posts: Path, scorer: Scorer, store: Path, limits: DriftParams = LIMITS) -> Drift:
    return measure_drift(list_shards(posts), _open_store(posts, scorer, store), limits)


def _open_store(posts: Path, scorer: Scorer, store: Path) -> ProfileStore:
    return ProfileStore(
        scorer, store, {shard: content_digest(shard) for shard in list_shards(posts)}
    )


def test_the_reference_posts_show_no_drift(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Scorer.open(home / "student") as scorer:
        found = _measure(home / "posts", scorer, tmp_path)
    report = found.report
    assert (report["posts"], report["reference"], report["differs"]) == (200, 200, [])
    assert set(report["features"]) >= {
        "caption_length", "images_per_post", "language", "score.bias", "embedding.text",
        "embedding.image",
    }  # fmt: skip
    assert all(one["distance"] < 1e-3 for one in report["features"].values())
    assert found.metrics()["drift.differs"] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_posts_of_another_kind_are_reported_with_a_warning(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Scorer.open(home / "student") as scorer, caplog.at_level(logging.WARNING):
        found = _measure(home / "long", scorer, tmp_path)
    assert "caption_length" in found.report["differs"]
    assert "embedding.text" in found.report["differs"]
    assert "images_per_post" not in found.report["differs"]
    assert any("THE POSTS DIFFER" in record.message for record in caplog.records)


def test_the_same_posts_give_the_same_report_in_any_order_and_on_any_threads(
    home: Path, tmp_path: Path
) -> None:
    ids = [f"p{n}" for n in range(1000)]
    assert sample_ids(ids, 50) == sample_ids(reversed(ids), 50)
    assert len(sample_ids(ids, 50)) == 50
    with (
        Scorer.open(home / "student", threads=1) as one,
        Scorer.open(home / "student", threads=3) as three,
    ):
        reports = [
            _measure(home / "posts", scorer, tmp_path / str(scorer.threads)).report
            for scorer in (one, three)
        ]
    assert reports[0] == reports[1]


class _CountingScorer(Scorer):
    """Counts the posts that it scores."""

    n_posts = 0

    def score_and_embed(
        self, posts: Sequence[PostInput]
    ) -> tuple[list[PostScore], dict[str, NDArray[np.float32]]]:
        self.n_posts += len(posts)
        return super().score_and_embed(posts)


def test_only_new_posts_are_profiled_and_the_report_is_that_of_a_new_store(
    home: Path, tmp_path: Path
) -> None:
    limits = LIMITS.model_copy(update={"sample": 90})
    posts = random_posts(np.random.default_rng(1), 340)
    folder, store = tmp_path / "posts", tmp_path / "store"
    write_shard(folder / "0.parquet", posts[:200])
    write_shard(folder / "1.parquet", posts[200:300])
    with _CountingScorer.open(home / "student") as scorer:
        assert isinstance(scorer, _CountingScorer)
        first = _measure(folder, scorer, store, limits).report
        assert scorer.n_posts == 90
        assert _measure(folder, scorer, store, limits).report == first
        assert scorer.n_posts == 90
        write_shard(folder / "2.parquet", posts[300:])
        chosen = _open_store(folder, scorer, store).choose(list_shards(folder), 90)
        n_new = len(chosen[folder / "2.parquet"])
        assert 0 < n_new < 40
        appended = _measure(folder, scorer, store, limits).report
        assert scorer.n_posts == 90 + n_new
        assert appended == _measure(folder, scorer, tmp_path / "new store", limits).report
        assert appended != first
        assert sorted(i for ids in chosen.values() for i in ids) == sample_ids(
            (f"{s}-{n}" for s, size in enumerate((200, 100, 40)) for n in range(size)), 90
        )
        # A changed shard has another digest, so its rows are computed again.
        longer = [(f"{text} word", images) for text, images in posts[:200]]
        write_shard(folder / "0.parquet", longer)
        before = scorer.n_posts
        _measure(folder, scorer, store, limits)
        assert scorer.n_posts == before + len(chosen[folder / "0.parquet"])


def test_forgotten_posts_are_in_no_file_of_the_store(home: Path, tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    store = paths.store / "scores"
    write_shard(paths.posts / "0.parquet", random_posts(np.random.default_rng(1), 20))
    write_shard(paths.posts / "1.parquet", random_posts(np.random.default_rng(2), 30))
    with Scorer.open(home / "student") as scorer:
        _measure(paths.posts, scorer, store)
    files = sorted(store.glob("**/*.parquet"))
    forgotten = {file for file in files if "0-3" in read_table(file)["post_id"].to_pylist()}
    # The hashes of the ids of a shard, and the profiles of its posts.
    assert len({file.parent for file in forgotten}) == 2
    delete_posts(paths, ["0-3"])
    assert {file for file in files if not file.exists()} == forgotten


def test_the_distance_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = """if True:
        from postbias.scoring.drift import _total_variation
        old, new = ({str(i): (i * k % 37 + 1) / 703 for i in range(36)} for k in (5, 11))
        print(repr(_total_variation((old, 400), (new, 900))))
    """
    answers = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    ]  # fmt: skip
    assert len(set(answers)) == 1


def test_total_variation_equals_its_definition_and_its_expectation_equals_a_simulation() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.15, 0.05])
    n, m = 400, 900

    def part(shares: np.ndarray, count: int) -> dict[str, object]:
        named = {str(i): float(x) for i, x in enumerate(shares)}
        return {"content": {"n": count, "features": {"f": named}},
                "answers": {"n": 0, "features": {}, "embeddings": {}}}  # fmt: skip

    found = compare_profiles(part(p, n), part(p[::-1], m), LIMITS)["features"]["f"]
    assert found["distance"] == pytest.approx(np.abs(p - p[::-1]).sum() / 2)
    draws = [
        np.abs(rng.multinomial(n, p) / n - rng.multinomial(m, p) / m).sum() / 2 for _ in range(4000)
    ]
    chance = compare_profiles(part(p, n), part(p, m), LIMITS)["features"]["f"]["chance"]
    assert chance == pytest.approx(np.mean(draws), rel=0.05)
