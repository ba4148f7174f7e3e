"""A small corpus with images, its sample, and params for the test server."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import POSTS, SAMPLE, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.teacher import rate_limits, request_sender
from tests.post_shards import sample_all_posts
from tests.teacher_model import MODEL
from tests.teacher_server import TeacherServer

ROOT = Path(__file__).resolve().parents[1]
AXES = ("bias", "orientation")

#: Short limits; nested keys replace those of params.yaml.
TEST_PARAMS: dict[str, Any] = {
    "teacher": "openai",
    "labels": None,
    "endpoint": {
        "model": MODEL,
        "mode": "live",
        "images": {"max_images": 2, "max_side_px": 112, "jpeg_quality": 80},
        "repeats": 1,
        "repeat_share": 0.0,
        "limits": {"concurrency": 8, "timeout_s": 5.0, "tries": 8, "outage_s": 20.0},
    },
}


def noise_image(seed: int, size: tuple[int, int] = (96, 64), format: str = "JPEG") -> bytes:  # noqa: A002 - Pillow's name
    """Encode noise, which makes distinct files of realistic size."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def post(i: int, **changes: Any) -> dict[str, Any]:
    """Return a post; every third has no image, every fifth has two."""
    n_images = 0 if i % 3 == 2 else 2 if i % 5 == 1 else 1
    images = [{"bytes": noise_image(10 * i + k), "path": f"{i}-{k}.jpg"} for k in range(n_images)]
    return {
        "post_id": f"p{i:05}",
        "author": f"secret_author_{i % 7}",
        "caption": f"caption number {i} by @secret_author_{i % 7}",
        "images": images,
        "platform": "test",
        "source": "test",
        **changes,
    }


def make_corpus(root: Path, posts: list[dict[str, Any]]) -> Paths:
    """Write a repository whose sample is all posts."""
    (root / "rubrics").symlink_to(ROOT / "rubrics")
    paths = Paths(root, root)
    table = pa.Table.from_pylist(posts, schema=POSTS)
    half = (len(posts) + 1) // 2
    for i in range(2):
        write_table(table.slice(i * half, half), paths.posts / f"{i}.parquet", POSTS)
    sample_all_posts(paths)
    set_sample(paths, [post["post_id"] for post in posts])
    return paths


def set_sample(paths: Paths, post_ids: list[str]) -> None:
    """Write the sample of posts to label."""
    n = len(post_ids)
    columns = {"post_id": post_ids, "author": ["a"] * n, "stratum": ["all"] * n}
    columns |= {"group_size": [1] * n, "round": [1] * n}
    table = pa.table({**columns, "probability": [1.0] * n, "weight": [1.0] * n}, schema=SAMPLE)
    write_table(table, paths.sample, SAMPLE)


def make_params(**changes: Any) -> Params:
    """Return test params with changes to `annotate.endpoint`."""
    return Params.model_validate_json(json.dumps(_with_changes(changes)))


def write_params(root: Path, **changes: Any) -> None:
    """Write test params with changes to `annotate.endpoint` to params.yaml."""
    (root / "params.yaml").write_text(json.dumps(_with_changes(changes)))


def _with_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    base = load_params(ROOT / "params.yaml").model_dump(mode="json")
    return {
        **base,
        "annotate": _merged(_merged(base["annotate"], TEST_PARAMS), {"endpoint": changes}),
    }


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **base,
        **{
            key: _merged(base[key], value) if isinstance(value, Mapping) else value
            for key, value in changes.items()
        },
    }


def label_in_process(root: Path, url: str) -> None:
    """Label the whole sample; the target of a process that will be killed."""
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-test"}
    from postbias.teacher.annotate import fill_reply_store

    fill_reply_store(Paths(root, root), load_params(root / "params.yaml"))


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable proxies and shorten pauses to a fraction of the real ones."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(request_sender, "_FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(request_sender, "_MAX_BACKOFF_S", 0.2)
    monkeypatch.setattr(rate_limits, "_MAX_PAUSE_S", 0.2)


def point_at(monkeypatch: pytest.MonkeyPatch, server: TeacherServer, key: str = "sk-test") -> None:
    """Set the environment variables, as a user does."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", key)


def label_rows(paths: Paths) -> list[dict[str, Any]]:
    """Read the labels that the stage wrote."""
    rows: list[dict[str, Any]] = read_table(paths.labels, labels_schema(AXES)).to_pylist()
    return rows
