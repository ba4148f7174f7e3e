"""Classification of posts for the slices of the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.post_shards import sample_all_posts

from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.slices import classify_posts
from postbias.paths import Paths
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table


def _classify(root: Path, paths_of_images: list[list[str | None]]) -> dict[str, list[str]]:
    ids = tuple(f"p{number}" for number in range(len(paths_of_images)))
    rows = [
        {
            "post_id": post_id,
            "author": "a",
            "caption": "c",
            "images": [{"bytes": b"x", "path": path} for path in paths],
            "platform": "test",
            "source": "test",
        }
        for post_id, paths in zip(ids, paths_of_images, strict=True)
    ]
    paths = Paths(root, root)
    write_table(pa.Table.from_pylist(rows, schema=POSTS), paths.posts / "0.parquet", POSTS)
    sample_all_posts(paths)
    fold = LabelledFold(ids, ("a",) * len(ids), ("c",) * len(ids), np.zeros((len(ids), 1)))
    return classify_posts(paths, fold, ["en"] * len(ids))


def test_posts_with_frames_are_a_slice(tmp_path: Path) -> None:
    images = [["a.jpg"], ["b.jpg", "c.mp4#t=1.500", "c.mp4#t=4.500"], [], ["d.mp4#t=0.000"]]
    classified = _classify(tmp_path, [list[str | None](paths) for paths in images])
    assert classified["video"] == ["no", "yes", "no", "yes"]
    assert classified["n_images"] == ["1", "2-4", "none", "1"]


@pytest.mark.parametrize("paths", [["a.jpg", None], [], ["a.mp4", "#t=1.000", "b%23t=1.000"]])
def test_without_frames_there_is_no_such_slice(tmp_path: Path, paths: list[str | None]) -> None:
    assert "video" not in _classify(tmp_path, [paths])
