"""A corpus small enough for every test run, in which caption and image both carry signal.

The label is 1, plus 3 for loud words, plus 3 for a red image, plus 2 for both, plus noise: a
student that ignores both cannot beat a constant.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table

_QUIET = ["walk", "river", "coffee", "morning", "bread", "garden", "window", "music", "lake"]
_LOUD = ["ladies", "boys", "never", "always", "kitchen", "boss", "pretty", "tough", "only"]


def write_small_corpus(data: Path, n_posts: int = 160, *, seed: int = 0) -> pd.DataFrame:
    """Write `posts/` and `labels.csv` into a folder, with four posts per author.

    Args:
        data: The folder.
        n_posts: Number of posts.
        seed: Seed of the corpus.

    Returns:
        The labels, indexed by post id.
    """
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for number in range(n_posts):
        is_loud, is_red = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        words = rng.choice(_QUIET, 6).tolist() + (rng.choice(_LOUD, 3).tolist() if is_loud else [])
        rng.shuffle(words)
        rows.append(_post(number, " ".join(words), _image(rng, is_red=is_red)))
        bias = 1 + 3 * is_loud + 3 * is_red + 2 * (is_loud and is_red) + rng.normal(0, 0.3)
        orientation = 5 + 2 * is_loud - 2 * is_red + rng.normal(0, 0.3)
        labels.append((f"p{number:04d}", bias, orientation))
    write_table(pa.Table.from_pylist(rows, POSTS), data / "posts" / "posts-00000.parquet", POSTS)
    frame = pd.DataFrame(labels, columns=["post_id", "bias", "orientation"])
    frame[["bias", "orientation"]] = frame[["bias", "orientation"]].clip(0, 10).round(2)
    frame.to_csv(data / "labels.csv", index=False)
    return frame.set_index("post_id")


def _post(number: int, caption: str, image: bytes) -> dict[str, object]:
    return {
        "post_id": f"p{number:04d}",
        "author": f"author{number // 4:03d}",
        "caption": caption,
        "images": [{"bytes": image, "path": None}],
        "sponsored": number % 7 == 0,
        "posted_at": None,
        "likes": number,
        "comments": None,
        "media_type": "image",
        "platform": "test",
        "source": "small_corpus",
    }


def _image(rng: np.random.Generator, *, is_red: bool) -> bytes:
    pixels = rng.integers(0, 60, (40, 40, 3), np.uint8)
    pixels[..., 0 if is_red else 2] += 160
    left, top = rng.integers(0, 24, 2)
    pixels[top : top + 16, left : left + 16] = rng.integers(0, 255, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
