"""What the demo corpus records of its cues is where the cues are."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postbias.demo.build import build_demo_data
from postbias.demo.caption_writer import CaptionCues, caption_cues_of
from postbias.demo.ground_truth import NEUTRAL, Cues, read_cues
from postbias.demo.planted_objects import (
    PERSON,
    SYMBOL,
    TAG,
    PlantedObject,
    objects_column,
    read_planted_objects,
)
from postbias.demo.planted_words import find_claim_words
from postbias.posts.images import decode_square

N_POSTS = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    build_demo_data(folder, n_posts=N_POSTS, seed=6)
    return folder


@pytest.fixture(scope="module")
def posts(data: Path) -> pd.DataFrame:
    return pq.read_table(data / "posts").to_pandas()


@pytest.fixture(scope="module")
def cues(data: Path, posts: pd.DataFrame) -> Cues:
    cues = read_cues(data / "truth.parquet", posts.post_id.tolist())
    assert cues is not None
    return cues


def test_every_claim_is_found_in_its_caption_and_none_elsewhere(
    posts: pd.DataFrame, cues: Cues
) -> None:
    n_found = 0
    for row, caption in enumerate(posts.caption):
        spans = find_claim_words(caption, caption_cues_of(cues, row))
        has_claim = bool(cues.has_caption[row]) and cues.claim[row] != NEUTRAL
        assert bool(spans) == has_claim
        assert all(0 <= start < end <= len(caption) for start, end in spans)
        n_found += has_claim
    assert n_found > N_POSTS / 2


def test_the_words_of_a_claim_are_those_of_its_template() -> None:
    cues = CaptionCues("en", "cooking", 4, 1, address=False, brand=None, sponsored=False)
    caption = "A quiet week. LADIES belong in the kitchen, full stop. #ad"
    found = [caption[start:end] for start, end in find_claim_words(caption, cues)]
    assert found == [" belong in ", ", ", "full stop"]
    assert find_claim_words("Men belong in the kitchen, full stop.", cues) == []


def test_symbols_lie_in_the_white_bubble(data: Path, posts: pd.DataFrame) -> None:
    objects = read_planted_objects(data / "truth.parquet", posts.post_id.tolist())
    assert objects is not None
    in_box, in_mirrored = [], []
    for images, found in zip(posts.images, objects, strict=True):
        for image, planted in found:
            if planted.name == SYMBOL:
                pixels = decode_square(images[image]["bytes"], 100)
                in_box.append(_white_share(pixels, planted))
                in_mirrored.append(_white_share(pixels, planted.mirrored()))
    assert len(in_box) > N_POSTS / 2
    assert min(in_box) > 0.25
    assert np.mean(np.array(in_box) > np.array(in_mirrored)) > 0.95


def _white_share(pixels: np.ndarray, planted: PlantedObject) -> float:
    left, top, right, bottom = (round(100 * side) for side in planted[1:])
    return float((pixels[top:bottom, left:right].min(axis=2) > 215).mean())


def test_posts_have_the_objects_of_their_cues(data: Path, posts: pd.DataFrame, cues: Cues) -> None:
    objects = read_planted_objects(data / "truth.parquet", posts.post_id.tolist())
    assert objects is not None
    for row, found in enumerate(objects):
        n_images = len({image for image, _ in found})
        names = [planted.name for _, planted in found]
        assert (n_images > 0) == bool(cues.has_picture[row])
        assert names.count(SYMBOL) == n_images
        assert names.count(TAG) == n_images * bool(cues.sticker[row])
        assert names.count(PERSON) == n_images * bool(cues.figure[row])
        for _, planted in found:
            assert 0 <= planted.left < planted.right <= 1
            assert 0 <= planted.top < planted.bottom <= 1


def test_a_corpus_that_records_no_objects_has_none(tmp_path: Path, data: Path) -> None:
    truth = pq.read_table(data / "truth.parquet")
    pq.write_table(truth.drop(["objects"]), tmp_path / "old.parquet")
    ids = truth["post_id"].to_pylist()
    assert read_planted_objects(tmp_path / "old.parquet", ids) is None
    assert read_planted_objects(data / "truth.parquet", [*ids, "another"]) is None
    assert {field.name for field in fields(Cues)} < set(truth.column_names)


def test_objects_survive_the_table(tmp_path: Path) -> None:
    first = PlantedObject(SYMBOL, 0.25, 0.5, 0.75, 1.0)
    table = pa.table({"post_id": ["b", "a"], "objects": objects_column([[(first,), ()], []])})
    pq.write_table(table, tmp_path / "truth.parquet")
    assert read_planted_objects(tmp_path / "truth.parquet", ["a", "b"]) == [[], [(0, first)]]
    assert first.mirrored() == first
