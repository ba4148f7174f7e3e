"""`postbias.load`: one post, a table, a stream."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.post_shards import jpeg
from tests.tiny_artifact import write_tiny_artifact

import postbias
from postbias.errors import ArtifactError, ChampionError, InputError
from postbias.loading import as_post, find_student

IMAGE = jpeg(np.random.default_rng(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "artifact"
    write_tiny_artifact(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[postbias.Model]:
    with postbias.load(folder, threads=2) as loaded:
        yield loaded


def test_the_public_names_are_imported_on_first_use() -> None:
    assert all(hasattr(postbias, name) for name in postbias.__all__)
    assert set(postbias.__all__) <= set(dir(postbias))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = postbias.nothing
    code = "import postbias, sys; assert not {'numpy', 'onnxruntime', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "post",
    [
        "hello",
        {"caption": "hello"},
        {"caption": "hello", "image": None, "images": []},
        {"caption": "hello", "image": float("nan"), "images": pd.NA},
        postbias.PostInput("hello"),
    ],
)
def test_one_post_in_any_form_gives_one_result(model: postbias.Model, post: Any) -> None:
    result = model.score(post)
    assert (result.status, result.modalities) == ("ok", "text")
    assert result == model.score("hello")


def test_images_are_bytes_paths_or_rows_of_shards(model: postbias.Model, tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(IMAGE)
    wanted = model.score(postbias.PostInput("", (IMAGE,)))
    assert wanted.n_images == 1
    for image in (IMAGE, bytearray(IMAGE), path, str(path), {"bytes": IMAGE, "path": "x"}):
        assert model.score({"image": image}) == wanted
        assert model.score({"images": [image, None]}) == wanted
    two = model.score({"image": path, "images": np.array([path], object)})
    assert two.n_images == 2


def test_a_table_gives_a_table_of_the_same_index(model: postbias.Model) -> None:
    frame = pd.DataFrame(
        {"caption": ["hello", None, "girls"], "image": [None, IMAGE, b"broken"], "likes": 1},
        index=["a", "b", "c"],
    )
    scores = model.score(frame)
    assert list(scores.index) == ["a", "b", "c"]
    assert list(scores["modalities"]) == ["text", "image", "text"]
    assert list(scores["status"]) == ["ok"] * 3
    assert scores["bias"]["a"] == model.score("hello").scores["bias"].value
    empty = model.score(frame[:0])
    assert list(empty.columns) == list(scores.columns)
    with pytest.raises(InputError, match="no caption or image column"):
        model.score(pd.DataFrame({"text": ["hello"]}))


def test_a_stream_is_read_lazily(model: postbias.Model) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield f"post {number}"

    results = model.score(endless())
    first = list(itertools.islice(results, 100))
    assert taken < 1000
    assert first == [model.score(f"post {number}") for number in range(100)]
    assert len(list(model.score(["a", {"caption": "b"}]))) == 2
    assert list(model.score([])) == []


def test_the_model_describes_itself(model: postbias.Model) -> None:
    assert [axis.name for axis in model.manifest.axes] == ["bias", "orientation"]
    assert len(model.digest) == 64


@pytest.mark.parametrize(
    ("post", "fault"),
    [
        (3, "not a valid post; saw 'int'"),
        ({"caption": 3}, "a caption is not text; saw 'int'"),
        ({"image": 3}, "neither bytes nor a path; saw 'int'"),
        ({"image": "no/such/file.jpg"}, "cannot read the image file no/such/file.jpg"),
        ([3], "not a valid post"),
    ],
)
def test_an_invalid_post_is_an_error_that_states_the_reason(
    model: postbias.Model, post: Any, fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        list(model.score(post))


def test_a_missing_student_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="no student in nowhere"):
        postbias.load("nowhere")
    with pytest.raises(ChampionError, match="no student was named"):
        find_student(None)


def test_the_pipelines_champion_is_found_from_inside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    write_tiny_artifact(tmp_path / "build" / "champion")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert find_student(None) == tmp_path / "build" / "champion"


def test_an_empty_mapping_is_a_post_without_content() -> None:
    assert as_post({}) == postbias.PostInput("")
