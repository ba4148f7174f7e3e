"""Write small post shards for tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from postbias.paths import Paths
from postbias.posts.schema import FRAME, POSTS, SAMPLE
from postbias.posts.shards import read_posts, write_table


def jpeg(rng: np.random.Generator, width: int = 64, height: int = 48) -> bytes:
    """Encode noise over a random colour as a JPEG file."""
    colour = rng.integers(0, 200, 3)
    pixels = (rng.integers(0, 55, (height, width, 3)) + colour).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_shard(path: Path, posts: Sequence[tuple[str, Sequence[bytes]]]) -> Path:
    """Write a shard of (caption, images); post ids combine the shard's name and the row."""
    rows = [
        {
            "post_id": f"{path.stem}-{row}",
            "author": f"author{row % 7}",
            "caption": caption,
            "images": [{"bytes": data, "path": f"{row}.jpg"} for data in images],
            "sponsored": [True, False, None][row % 3],
            "posted_at": datetime(2024, 1, 1 + row % 28, tzinfo=UTC) if row % 2 else None,
            "likes": row,
            "comments": None,
            "media_type": "image",
            "platform": "instagram",
            "source": "test",
        }
        for row, (caption, images) in enumerate(posts)
    ]
    write_table(pa.Table.from_pylist(rows, POSTS), path, POSTS)
    return path


def random_posts(rng: np.random.Generator, count: int) -> list[tuple[str, list[bytes]]]:
    """Make posts of every kind: carousels, broken images, without caption, without anything."""
    words = ["girl", "boy", "strong", "kitchen", "boss", "", "she", "he", "!", "Ünïcode", "妈妈"]
    posts = []
    for row in range(count):
        caption = " ".join(rng.choice(words, rng.integers(0, 30)))
        images = [jpeg(rng) for _ in range(rng.integers(0, 4))]
        if row % 5 == 0:
            images.insert(0, b"not an image")
        posts.append((caption, images))
    return posts


def sample_all_posts(paths: Paths) -> None:
    """Stand in for the stage `sample`: the sampled posts are those of the corpus, now and later."""
    paths.sampled_corpus.parent.mkdir(parents=True, exist_ok=True)
    paths.sampled_corpus.unlink(missing_ok=True)
    paths.sampled_corpus.symlink_to(paths.data.resolve())
    posts = read_posts(paths.posts, ["post_id", "author"])
    write_table(posts.select(["post_id"]), paths.sample_frame, FRAME)
    rows = [
        {**row, "stratum": "all", "group_size": 1, "round": 1, "probability": 1.0, "weight": 1.0}
        for row in posts.to_pylist()
    ]
    write_table(pa.Table.from_pylist(rows, SAMPLE), paths.sample, SAMPLE)
