"""A small repository for evaluation: posts, labels, split and three tiny students.

Labels are the fusion student's scores plus noise, so that it is better than the others.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from tests.conftest import ROOT
from tests.post_shards import sample_all_posts
from tests.tiny_artifact import write_tiny_artifact

from postbias.json_files import write_json
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import POSTS, SPLIT, labels_schema
from postbias.posts.shards import write_table
from postbias.scoring.scorer import PostInput, Scorer

N_AUTHORS, PER_AUTHOR = 120, 3
N = N_AUTHORS * PER_AUTHOR
AXES = ("bias", "orientation")
#: Posts without a caption, without an image, and with a broken image beside their caption.
NO_CAPTION, NO_IMAGE, BROKEN = range(0, N, 17), range(1, N, 19), range(2, N, 23)


def write_corpus(root: Path, seed: int = 0, *, noise: float = 0.05) -> Paths:
    rng = np.random.default_rng(seed)
    (root / "dvc.yaml").write_text("stages: {}\n")
    shutil.copytree(ROOT / "rubrics", root / "rubrics")
    paths = Paths(root, root)
    for i, modality in enumerate(("fusion", "text", "image")):
        write_tiny_artifact(paths.students / modality, modality, seed=i)
    posts = [_post(i, rng) for i in range(N)]
    _write_posts(paths, posts)
    with Scorer.open(paths.students / "fusion") as scorer:
        results = scorer.score([PostInput(caption, images) for caption, images in posts])
    scores = np.array([[result.scores[axis].value for axis in AXES] for result in results])
    write_labels(paths, np.clip(scores + rng.normal(0, noise, scores.shape), 0, 10))
    write_split(paths)
    write_json(paths.reports / "split.json", {"audit": {"leakage": 0}})
    return paths


def demo_params(**changes: object) -> Params:
    params = load_params(ROOT / "params.yaml")
    evaluate = params.evaluate.model_copy(update={"bootstrap": 200, **changes})
    return params.model_copy(update={"evaluate": evaluate})


def write_labels(paths: Paths, labels: np.ndarray) -> None:
    columns: dict[str, object] = {"post_id": [post_id(i) for i in range(N)]}
    for column, axis in enumerate(AXES):
        columns |= {axis: labels[:, column], f"{axis}_sd": [None] * N}
    columns |= {"n_replies": [1] * N, "reason": [""] * N, "teacher": ["t"] * N}
    columns |= {"rubric": ["r@1"] * N, "status": ["ok"] * N}
    schema = labels_schema(AXES)
    write_table(pa.table(columns, schema=schema), paths.labels, schema)


def write_split(paths: Paths, shares: tuple[int, ...] = (50, 20, 0, 50)) -> None:
    folds = [
        f
        for f, n in zip(("train", "valid", "calib", "test"), shares, strict=True)
        for _ in range(n)
    ]
    rows = {
        "post_id": [post_id(i) for i in range(N)],
        "author": [_author(i) for i in range(N)],
        "cluster": [_author(i) for i in range(N)],
        "fold": [folds[i // PER_AUTHOR] for i in range(N)],
        "round": [1] * N,
    }
    write_table(pa.table(rows, schema=SPLIT), paths.split, SPLIT)


def post_id(i: int) -> str:
    return f"p{i:04d}"


def _author(i: int) -> str:
    return f"a{i // PER_AUTHOR:03d}"


def _post(i: int, rng: np.random.Generator) -> tuple[str, tuple[bytes, ...]]:
    words = ["".join(rng.choice(list("abcdefgh"), 3)) for _ in range(rng.integers(1, 5))]
    caption = "" if i in NO_CAPTION else " ".join(words)
    if i in BROKEN and caption:
        return caption, (b"\xff\xd8 not an image",)
    if i in NO_IMAGE and caption:
        return caption, ()
    out = io.BytesIO()
    Image.new("RGB", (32, 32), tuple(int(x) for x in rng.integers(0, 256, 3))).save(out, "PNG")
    return caption, (out.getvalue(),)


def _write_posts(paths: Paths, posts: list[tuple[str, tuple[bytes, ...]]]) -> None:
    rows = [
        {
            "post_id": post_id(i),
            "author": _author(i),
            "caption": caption,
            "images": [{"bytes": data, "path": None} for data in images],
            "platform": "test",
            "source": "test",
        }
        for i, (caption, images) in enumerate(posts)
    ]
    half = N // 2
    for name, part in (("part-0.parquet", rows[:half]), ("part-1.parquet", rows[half:])):
        write_table(pa.Table.from_pylist(part, schema=POSTS), paths.posts / name, POSTS)
    sample_all_posts(paths)
