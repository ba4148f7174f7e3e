"""A fusion and a text student, trained in seconds on synthetic posts that are easy to learn."""

from __future__ import annotations

import io
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tests.conftest import ROOT
from tests.post_shards import sample_all_posts

from postbias.json_files import write_json
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import POSTS, SPLIT, labels_schema
from postbias.posts.shards import write_table

N_AUTHORS, PER_AUTHOR = 200, 4
N = N_AUTHORS * PER_AUTHOR
_QUIET = ("walk", "river", "coffee", "morning", "bread", "garden", "window", "music", "train")
_CLAIMS = ["must", "always", "belong", "in", "the", "kitchen", "obey"]
_GENDERED = (("man", "men", "boys", "he"), ("woman", "women", "girls", "she"))
_SMALL: dict[str, Any] = {
    "modalities": ["fusion", "text"],
    "text_scratch": {"vocab_size": 320, "hidden": 32, "layers": 1, "heads": 2},
    "image_encoder": "shufflenet_v2_x0_5",  # learns to tell red from blue in seconds
    "image_size": 32,
    "max_tokens": 48,
    "head_hidden": 32,
    "epochs": 16,
    "batch_size": 32,
    "lr_text": 3e-3,
    "modality_dropout": 0.2,
    "precision": "fp32",
}


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, Params]:
    """A repository with labelled posts and no student, and its params."""
    root = tmp_path_factory.mktemp("behaviour")
    shutil.copytree(ROOT / "rubrics", root / "rubrics")
    (root / "dvc.yaml").write_text("stages: {}\n")
    paths = Paths(root, root)
    _write(paths)
    return paths, _params(root)


@pytest.fixture(scope="session")
def trained(untrained: tuple[Paths, Params]) -> tuple[Paths, Params]:
    """A repository with two trained students, and its params."""
    from postbias.student.distillation import distil_student

    paths, params = untrained
    for modality in params.train.modalities:
        distil_student(paths, params, modality, lambda _: nullcontext(lambda *_: None))
    return paths, params


def _params(root: Path) -> Params:
    params = load_params(ROOT / "params.yaml").model_dump(mode="json")
    params["train"] |= _SMALL
    params["threads"] = 1
    params["evaluate"]["bootstrap"] = 500
    # Less strict than the default: so small a student has seen few examples of each word.
    params["evaluate"]["gate"] |= {"max_swap_change": 0.15, "max_repeat_change": 0.2}
    from ruamel.yaml import YAML

    YAML().dump(params, root / "params.yaml")
    return load_params(root / "params.yaml")


def _write(paths: Paths) -> None:
    """Write posts, labels and split.

    Ground truth of bias: 1, plus 3 for a claim, 2 for a red image and 2 for both. Of orientation:
    5, plus or minus 2.5 for gendered words in the caption.
    """
    rng = np.random.default_rng(0)
    posts, labels, split = [], [], []
    for i in range(N):
        gender, claims, is_red = rng.integers(3), rng.random() < 0.5, rng.random() < 0.5
        words = rng.choice(_QUIET, 4).tolist()
        words += rng.choice(_CLAIMS, 2).tolist() if claims else []
        words += rng.choice(_GENDERED[gender], 2).tolist() if gender < 2 else []
        author = f"a{i // PER_AUTHOR:03d}"
        # Enough of a sentence for language detection.
        caption = " ".join(["this is what we said about the", *rng.permutation(words)])
        posts.append(_post(i, author, caption, _image(rng, is_red)))
        bias = 1 + 3 * claims + 2 * is_red + 2 * (claims and is_red) + rng.normal(0, 0.3)
        orientation = 5 + (-2.5, 2.5, 0.0)[gender] + rng.normal(0, 0.3)
        labels.append((f"p{i:04d}", *np.clip([bias, orientation], 0, 10).tolist()))
        fold = np.repeat(["train", "valid", "calib", "test"], [4, 1, 2, 3])[i // PER_AUTHOR % 10]
        row = {"post_id": f"p{i:04d}", "author": author, "cluster": author}
        split.append({**row, "fold": fold, "round": 1})
    write_table(pa.Table.from_pylist(posts, POSTS), paths.posts / "posts-0.parquet", POSTS)
    sample_all_posts(paths)
    schema = labels_schema(("bias", "orientation"))
    rows = [
        dict.fromkeys(schema.names)
        | {"post_id": post_id, "bias": bias, "orientation": orientation, "n_replies": 1}
        | {"reason": "", "teacher": "t", "rubric": "r@1", "status": "ok"}
        for post_id, bias, orientation in labels
    ]
    write_table(pa.Table.from_pylist(rows, schema), paths.labels, schema)
    write_table(pa.Table.from_pylist(split, SPLIT), paths.split, SPLIT)
    write_json(paths.reports / "split.json", {"audit": {"leakage": 0}})


def _post(i: int, author: str, caption: str, image: bytes) -> dict[str, object]:
    # As in real data, a few captions and images are missing.
    return {
        "post_id": f"p{i:04d}",
        "author": author,
        "caption": "" if i % 29 == 0 else caption,
        "images": [] if i % 31 == 1 else [{"bytes": image, "path": None}],
        "sponsored": i % 7 == 0,
        "media_type": "image",
        "platform": "test",
        "source": "behaviour",
    }


def _image(rng: np.random.Generator, is_red: bool) -> bytes:
    pixels = rng.integers(0, 60, (32, 32, 3), np.uint8)
    pixels[..., 0 if is_red else 2] += 160
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
