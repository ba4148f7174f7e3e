"""Platforms: recorded in training, warned of in scoring, a dimension of drift and of slices."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from tests.post_shards import random_posts, sample_all_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.slices import classify_posts
from postbias.params import DriftParams
from postbias.paths import Paths
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.drift import compare_profiles
from postbias.scoring.reference_profile import describe_answers, describe_content
from postbias.scoring.scorer import Scorer
from postbias.student.interval_fitting import add_reference_profile

LIMITS = DriftParams(sample=300, max_distance=0.15, max_shift=0.3)


def _write_posts(folder: Path, platforms: list[str]) -> list[str]:
    posts = random_posts(np.random.default_rng(0), len(platforms))
    path = write_shard(folder / "0.parquet", posts)
    rows = read_table(path, POSTS)
    rows = rows.set_column(
        rows.schema.get_field_index("platform"), POSTS.field("platform"), [platforms]
    )
    write_table(rows, path, POSTS)
    return [str(post_id) for post_id in rows["post_id"].to_pylist()]


@pytest.fixture
def student(tmp_path: Path) -> Artifact:
    """A student with a profile of posts of two platforms."""
    paths = Paths(tmp_path, tmp_path)
    ids = _write_posts(paths.posts, ["instagram"] * 30 + ["bluesky"] * 30)
    sample_all_posts(paths)
    artifact = write_tiny_artifact(tmp_path / "student")
    return add_reference_profile(artifact.folder, paths, ids, ids, threads=1)


def _warnings(artifact: Artifact, posts: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    outputs = ScoreOutputs(posts / "scores", posts / "rejects.parquet", posts / "store")
    caplog.clear()
    with Scorer(artifact) as scorer, caplog.at_level(logging.WARNING):
        score_shards([posts / "0.parquet"], scorer, outputs, batch_size=16)
    return [record.message for record in caplog.records if "platform" in record.message]


def test_posts_of_a_platform_that_was_not_seen_in_training_raise_a_warning(
    student: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert student.manifest.reference["platforms"] == ["bluesky", "instagram"]
    _write_posts(tmp_path / "new", ["instagram"] * 5 + ["tiktok"] * 3 + ["reddit", "table"])
    (reddit, tiktok) = _warnings(student, tmp_path / "new", caplog)
    assert reddit.startswith("1 posts are of the platform 'reddit'")
    assert tiktok.startswith("3 posts are of the platform 'tiktok'")
    assert "(bluesky, instagram)" in tiktok
    _write_posts(tmp_path / "known", ["instagram", "bluesky", "table"])
    assert _warnings(student, tmp_path / "known", caplog) == []


@pytest.mark.parametrize("platforms", [None, ["table"]])
def test_a_student_that_records_no_platform_does_not_warn(
    student: Artifact,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    platforms: list[str] | None,
) -> None:
    reference = {**student.manifest.reference, "platforms": platforms}
    if platforms is None:
        del reference["platforms"]
    manifest = dataclasses.replace(student.manifest, reference=reference)
    old = write_artifact(student.folder, manifest)
    _write_posts(tmp_path / "new", ["tiktok"] * 3)
    assert _warnings(old, tmp_path / "new", caplog) == []


def test_platform_is_a_feature_of_drift(student: Artifact, tmp_path: Path) -> None:
    def measure(platforms: list[str]) -> dict[str, float] | None:
        ids = _write_posts(tmp_path / "new", platforms)
        with Scorer(student) as scorer:
            seen = {
                "content": describe_content(tmp_path / "new", ids),
                "answers": describe_answers(scorer, tmp_path / "new", ids),
            }
        result = compare_profiles(student.manifest.reference, seen, LIMITS)
        assert ("platform" in result["differs"]) == (platforms[0] == "tiktok")
        feature: dict[str, float] | None = result["features"].get("platform")
        return feature

    same, other = measure(["instagram", "bluesky"] * 30), measure(["tiktok"] * 60)
    assert same is not None
    assert other is not None
    assert (same["distance"], other["distance"]) == (0, 1)
    assert measure(["instagram", "table"] * 30) is None  # unknown platforms are not compared


def test_platform_is_a_slice_if_there_are_several(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    for platforms in (["instagram"] * 4, ["instagram", "tiktok", "reddit", "tiktok"]):
        ids = _write_posts(paths.posts, platforms)
        sample_all_posts(paths)
        fold = LabelledFold(tuple(ids), tuple(ids), ("caption",) * 4, np.zeros((4, 2)))
        slices = classify_posts(paths, fold, ["en"] * 4)
        if len(set(platforms)) == 1:
            assert "platform" not in slices
        else:
            assert slices["platform"] == platforms
