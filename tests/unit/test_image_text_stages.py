"""Text inside images in training, bulk scoring, the command line and evaluation."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import ROOT
from tests.post_shards import sample_all_posts, write_shard
from tests.text_images import draw_nothing, draw_sentence
from tests.tiny_artifact import write_tiny_artifact

from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.posts_with_text import classify_image_text
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.image_text import MARKER, ImageTextReader, ocr_engine_name
from postbias.posts.shards import write_table
from postbias.scoring.post_scores import PostInput
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import score_shard
from postbias.scoring.text_inputs import collect_texts

needs_ocr = pytest.mark.skipif(find_spec("rapidocr") is None, reason="the extra ocr")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A corpus with text in the first, second and last post only."""
    rng = np.random.default_rng(3)
    tiles = [
        draw_sentence(text, rng, side=320, angle=0)
        for text in ("Boys do not cry, ever", "Science is not for ladies")
    ]
    posts = [
        ("Monday again ", [tiles[0]]),
        ("", [tiles[1]]),
        ("no text here", [draw_nothing(rng, side=160)]),
        ("no image", []),
        ("broken", [b"<html>"]),
        ("two", [tiles[0], b"", tiles[1]]),
    ]
    root = tmp_path_factory.mktemp("repo")
    (root / "dvc.yaml").write_text("stages: {}\n")
    write_shard(root / "data" / "posts" / "p.parquet", posts)
    paths = Paths(root, root)
    sample_all_posts(paths)
    return paths


def _params(*, ocr: bool) -> Params:
    params = load_params(ROOT / "params.yaml").model_dump(mode="json")
    params["images"]["ocr"] = ocr
    return Params.model_validate_json(json.dumps(params))


def _inputs(paths: Paths) -> list[PostInput]:
    from postbias.posts.shards import read_table

    rows = read_table(paths.posts / "p.parquet").to_pylist()
    return [PostInput(r["caption"], tuple(i["bytes"] for i in r["images"])) for r in rows]


@needs_ocr
def test_training_and_scoring_see_the_same_texts(paths: Paths) -> None:
    from postbias.posts.image_text_table import read_seen_texts

    params, ids = _params(ocr=True), [f"p-{i}" for i in (5, 0, 1, 2, 3, 4)]
    trained = dict(zip(ids, read_seen_texts(paths, params, ids), strict=True))
    with ThreadPoolExecutor(2) as pool:
        scored = collect_texts(_inputs(paths), ImageTextReader(), params.train.max_images, pool)
    assert [trained[f"p-{i}"].strip() for i in range(6)] == scored.texts
    assert [MARKER in text for text in scored.texts] == [True, True, False, False, False, True]
    assert scored.texts[0].startswith(f"Monday again\n{MARKER} ")
    assert list(scored.faults) == [4, 5]


def test_training_without_ocr_sees_captions_only(paths: Paths) -> None:
    from postbias.posts.image_text_table import read_seen_texts

    ids = ["p-1", "p-0"]
    assert read_seen_texts(paths, _params(ocr=False), ids) == ["", "Monday again "]


@needs_ocr
@pytest.mark.parametrize("modality", ["text", "fusion"])
def test_bulk_scoring_reads_the_text_like_the_scorer(
    paths: Paths, tmp_path: Path, modality: str
) -> None:
    artifact = write_tiny_artifact(tmp_path, modality, ocr=ocr_engine_name())  # type: ignore[arg-type]
    shard = paths.posts / "p.parquet"
    with Scorer(artifact, threads=2, image_texts=tmp_path / "texts.sqlite") as scorer:
        expected = scorer.score(_inputs(paths))
        table = score_shard(shard, scorer, "x", batch_size=2, on_progress=lambda _: None).scores
    assert table["status"].to_pylist() == [result.status for result in expected]
    assert table["modalities"].to_pylist() == [result.modalities for result in expected]
    values = [r.scores["bias"].value if r.scores else None for r in expected]
    assert table["bias"].to_pylist() == pytest.approx(values)
    assert expected[1].modalities == ("text" if modality == "text" else "image+text")


def _fold(n: int = 6) -> LabelledFold:
    ids = tuple(f"p-{i}" for i in range(n))
    return LabelledFold(ids, ("a",) * n, ("",) * n, np.zeros((n, 2)))


def test_without_ocr_and_truth_there_is_no_slice(paths: Paths) -> None:
    assert classify_image_text(paths, _params(ocr=False), _fold()) == {}


@needs_ocr
def test_with_ocr_the_slice_follows_the_text_that_was_read(paths: Paths) -> None:
    found = classify_image_text(paths, _params(ocr=True), _fold())
    assert found == {"image_text": ["yes", "yes", "no", "no", "no", "yes"]}


def test_the_truth_of_a_demo_corpus_decides(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    table = pa.table({"post_id": [f"p-{i}" for i in range(6)], "quoted": [True] + [False] * 5})
    write_table(table, paths.sampled_file("data/truth.parquet"), table.schema)
    expected = {"image_text": ["yes", *["no"] * 5]}
    assert classify_image_text(paths, _params(ocr=False), _fold()) == expected


def test_the_truth_of_another_corpus_is_not_used(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    table = pa.table({"post_id": ["other"], "quoted": [True]})
    write_table(table, paths.sampled_file("data/truth.parquet"), table.schema)
    assert classify_image_text(paths, _params(ocr=False), _fold()) == {}
