"""The index of labelled training posts finds what resembles a post for the student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

import postbias
from postbias.explanation.nearest_posts import (
    LabelledPosts,
    NearestPostIndex,
    find_index,
    write_index,
)
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import PostInput, Scorer

RNG = np.random.default_rng(0)
POSTS = [
    PostInput("women cook"),
    PostInput("men lift", (jpeg(RNG),)),
    PostInput("", (jpeg(RNG), jpeg(RNG))),
    PostInput("a quiet day with tea", (jpeg(RNG),)),
    PostInput("zzz qqq xxx"),
]
IDS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a student and the index of its training posts."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    write_tiny_artifact(tmp_path / "build" / "champion")
    with Scorer.open(tmp_path / "build" / "champion") as scorer:
        _, embeddings = scorer.score_and_embed(POSTS)
        labels = {"bias": np.arange(5.0), "orientation": np.full(5, 5.0)}
        posts = LabelledPosts(IDS, labels, ["because", "", "", "", ""])
        path = tmp_path / "build" / "nearest_posts.parquet"
        write_index(path, scorer.artifact.digest, posts, embeddings)
    return tmp_path


def test_a_training_post_is_nearest_to_itself(repository: Path) -> None:
    with postbias.load(repository / "build" / "champion") as model:
        for row, post in enumerate(POSTS):
            nearest = model.explain(post).nearest
            assert nearest[0].post_id == IDS[row]
            assert nearest[0].similarity == pytest.approx(1, abs=2e-3)
            assert nearest[0].labels == {"bias": float(row), "orientation": 5.0}
            similarities = [one.similarity for one in nearest]
            assert similarities == sorted(similarities, reverse=True)
            assert len(nearest) == 3
        assert model.explain(POSTS[0]).nearest[0].reason == "because"


def test_the_similarity_is_the_mean_cosine_of_centred_embeddings(repository: Path) -> None:
    query = PostInput("men cook", (jpeg(RNG),))
    with Scorer.open(repository / "build" / "champion") as scorer:
        _, embedded = scorer.score_and_embed(POSTS)
        _, of_query = scorer.score_and_embed([query])
        index = find_index(scorer.artifact)
        assert index is not None
        found = {one.post_id: one.similarity for one in index.find(scorer, query, n=5)}
    for row, post_id in enumerate(IDS):
        cosines = []
        for encoder, rows in embedded.items():
            mean = np.nanmean(rows, axis=0)
            one, two = rows[row] - mean, of_query[encoder][0] - mean
            is_missing = np.isnan(one).any()
            cosines.append(
                0 if is_missing else one @ two / np.linalg.norm(one) / np.linalg.norm(two)
            )
        assert found[post_id] == pytest.approx(np.mean(cosines), abs=5e-3)


def test_there_is_no_index_outside_a_repository_or_of_another_student(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "student"
    assert find_index(write_tiny_artifact(elsewhere)) is None
    other = write_tiny_artifact(repository / "build" / "students" / "other", seed=1)
    assert find_index(other) is None
    assert find_index(Artifact.open(repository / "build" / "champion")) is not None
    with postbias.load(other.folder) as model:
        assert model.explain("hello").nearest == ()


def test_a_written_index_reads_back(repository: Path) -> None:
    index = NearestPostIndex.read(repository / "build" / "nearest_posts.parquet")
    assert index.posts.post_ids == IDS
    assert {encoder: rows.shape for encoder, rows in index.directions.items()} == {
        "image": (5, 3),
        "text": (5, 16),
    }
    assert not index.directions["image"][0].any()  # no image
