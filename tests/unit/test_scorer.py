"""The scorer: scores, intervals and reasons of posts."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.post_shards import jpeg, random_posts
from tests.tiny_artifact import AXES, write_tiny_artifact

from postbias.errors import ArtifactError
from postbias.posts.images import decode_square
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Interval
from postbias.scoring.scorer import AxisScore, PostInput, PostScore, Scorer

RNG = np.random.default_rng(0)
IMAGE = jpeg(RNG)


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    for modality in ("fusion", "text", "image"):
        write_tiny_artifact(folder / modality, modality)  # type: ignore[arg-type]
    return folder


def score(folder: Path, *posts: PostInput, **options: Any) -> list[PostScore]:
    with Scorer.open(folder, **options) as scorer:
        return scorer.score(posts)


@pytest.mark.parametrize(
    ("modality", "post", "status", "modalities", "n_images"),
    [
        ("fusion", PostInput("hello", (IMAGE,)), "ok", "image+text", 1),
        ("fusion", PostInput("hello"), "ok", "text", 0),
        ("fusion", PostInput("", (IMAGE, IMAGE)), "ok", "image", 2),
        ("fusion", PostInput("hello", (b"broken",)), "ok", "text", 0),
        ("fusion", PostInput("hello", (b"broken", IMAGE)), "ok", "image+text", 1),
        ("fusion", PostInput(" \n\u3000"), "no_content", None, 0),
        ("fusion", PostInput("", (b"broken", b"")), "unreadable", None, 0),
        ("text", PostInput("hello", (b"broken",)), "ok", "text", 0),
        ("text", PostInput("", (IMAGE,)), "no_content", None, 0),
        ("image", PostInput("hello", (IMAGE,)), "ok", "image", 1),
        ("image", PostInput("hello"), "no_content", None, 0),
        ("image", PostInput("hello", (b"broken",)), "unreadable", None, 0),
    ],
)
def test_a_post_is_scored_from_its_readable_parts_or_has_a_reason(
    students: Path, modality: str, post: PostInput, status: str, modalities: Any, n_images: int
) -> None:
    (result,) = score(students / modality, post)
    assert (result.status, result.modalities, result.n_images) == (status, modalities, n_images)
    if status == "ok":
        assert set(result.scores) == {axis.name for axis in AXES}
        assert result.band == AXES[0].band(result.scores["bias"].value)
    else:
        assert (dict(result.scores), result.band) == ({}, None)
        assert result.detail


def test_details_name_missing_and_unreadable_parts(students: Path) -> None:
    nothing, broken, partly = score(
        students / "fusion",
        PostInput(""),
        PostInput("", (b"", b"GIF8 but no more")),
        PostInput("hello", (IMAGE, b"not an image")),
    )
    assert nothing.detail == "no caption and no image"
    assert broken.detail.count(":") >= 2
    assert broken.detail.startswith("truncated: the file is empty; ")
    assert partly.detail.startswith("unknown_format: ")
    assert score(students / "text", PostInput("", (IMAGE,)))[0].detail == "no caption"
    assert score(students / "image", PostInput("text"))[0].detail == "no image"


def test_scores_are_those_of_the_graphs_computed_by_hand(students: Path) -> None:
    """Redo the tiny student in numpy: mean colours, mean token vectors, a linear head."""
    folder = students / "fusion"
    images = (IMAGE, jpeg(RNG))
    weights = {
        (graph, constant.name): numpy_helper.to_array(constant)
        for graph in ("text", "head")
        for constant in onnx.load(folder / "onnx" / f"{graph}.onnx").graph.initializer
    }
    ids = [2, 4 + 0, 40 + 1, 3]  # [CLS] a ##b [SEP]
    text = weights["text", "table"][ids].mean(0)
    image = np.mean([decode_square(p, 16).mean((0, 1)) / 255 for p in images], axis=0)
    raw = np.concatenate([text, [1], image, [1]]) @ weights["head", "weight"] + 5
    (result,) = score(folder, PostInput(" ab ", images), precision="fp32")
    for axis, value in zip(("bias", "orientation"), np.clip(raw, 0, 10), strict=True):
        assert result.scores[axis].value == pytest.approx(value, abs=1e-5)


def test_int8_and_fp32_are_different_graphs(students: Path) -> None:
    post = PostInput("hello", (IMAGE,))
    assert score(students / "fusion", post) != score(students / "fusion", post, precision="fp32")


def test_only_the_first_images_of_a_carousel_are_read(students: Path) -> None:
    images = tuple(jpeg(RNG) for _ in range(9))
    limit = Artifact.open(students / "image").manifest.max_images
    all_of_them, first = score(
        students / "image", PostInput("", images), PostInput("", images[:limit])
    )
    assert all_of_them == first
    assert first.n_images == limit


def test_scores_and_intervals_stay_within_the_axis(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path)
    wide = {
        axis.name: {group: Interval(-99, 99, 5) for group in ("text", "image", "image+text")}
        for axis in AXES
    }
    write_artifact(tmp_path, dataclasses.replace(artifact.manifest, intervals=wide))
    (result,) = score(tmp_path, PostInput("hello", (IMAGE,)))
    for value, lo, hi in result.scores.values():
        assert 0 <= value <= 10
        assert (lo, hi) == (0, 10)


def test_a_group_without_an_interval_does_not_get_that_of_another_group(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path)
    some = {axis.name: {"text": Interval(-1, 1, 5)} for axis in AXES}
    write_artifact(tmp_path, dataclasses.replace(artifact.manifest, intervals=some))
    with_text, with_image = score(tmp_path, PostInput("hello"), PostInput("", (IMAGE,)))
    assert with_text.scores["bias"].lo is not None
    assert with_image.scores["bias"] == AxisScore(with_image.scores["bias"].value, None, None)


def test_a_post_whose_score_is_not_a_number_is_rejected(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path)
    head = onnx.load(tmp_path / "onnx" / "head.onnx")
    weight = numpy_helper.to_array(head.graph.initializer[0]).copy()
    weight[:] = np.nan
    head.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    onnx.save(head, tmp_path / "onnx" / "head.onnx")
    write_artifact(tmp_path, artifact.manifest)
    (result,) = score(tmp_path, PostInput("hello"))
    assert (result.status, dict(result.scores)) == ("not_a_number", {})


def test_no_posts_give_no_results(students: Path) -> None:
    assert score(students / "fusion") == []


def test_any_text_is_a_valid_caption(students: Path) -> None:
    captions = ["\ud800", "a\x00b", "🤷‍♀️" * 500, "x" * 100_000, "\u202eabc", "[CLS]", "ﷺ"]
    results = score(students / "text", *map(PostInput, captions))
    assert {result.status for result in results} == {"ok"}


def test_one_scorer_can_be_used_by_many_threads(students: Path) -> None:
    posts = [PostInput(caption, tuple(images)) for caption, images in random_posts(RNG, 40)]
    with Scorer.open(students / "fusion", threads=2) as scorer:
        expected = scorer.score(posts)
        with ThreadPoolExecutor(8) as pool:
            for results in pool.map(scorer.score, [posts] * 24):
                assert results == expected


def test_a_graph_with_another_signature_is_refused(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path)
    text = tmp_path / "onnx" / "int8" / "text.onnx"
    text.write_bytes((tmp_path / "onnx" / "int8" / "image.onnx").read_bytes())
    write_artifact(tmp_path, artifact.manifest)
    with pytest.raises(ArtifactError, match="not the text graph of a student"):
        Scorer.open(tmp_path)


@pytest.mark.parametrize("name", ["onnx/head.onnx", "tokenizer.json"])
def test_a_file_that_cannot_be_loaded_is_one_clear_error(tmp_path: Path, name: str) -> None:
    artifact = write_tiny_artifact(tmp_path)
    (tmp_path / name).write_bytes(b"\x01garbage")
    write_artifact(tmp_path, artifact.manifest)
    with pytest.raises(ArtifactError, match=rf"{name} *(cannot be read)?"):
        Scorer.open(tmp_path)


def test_scoring_imports_nothing_heavy(students: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path; from postbias.scoring.scorer import Scorer, PostInput\n"
        f"scorer = Scorer.open(Path({str(students / 'fusion')!r}))\n"
        "assert scorer.score([PostInput('hello')])[0].status == 'ok'\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'pyarrow', 'pydantic', 'onnx', 'psutil'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
