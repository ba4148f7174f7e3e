"""Captions that are read from shards again are those of the column in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.post_shards import write_shard

from postbias.posts import caption_chunks
from postbias.posts.caption_chunks import StoredCaptions, iterate_captions, iterate_chunks
from postbias.posts.shards import list_shards, read_posts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, n_posts in enumerate((40, 1, 33, 0, 26)):
        posts = [(f"caption {number}.{row} é", ()) for row in range(n_posts)]
        write_shard(tmp_path / f"{number:05d}.parquet", posts)
    return tmp_path


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("chunk", [7, 1 << 16])
def test_stored_captions_are_those_of_the_kept_posts_in_order(
    folder: Path, share: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_chunks, "_CHUNK_POSTS", chunk)
    column = read_posts(folder, ["caption"])["caption"]
    is_kept = np.random.default_rng(0).random(len(column)) < share
    stored = StoredCaptions(tuple(list_shards(folder)), is_kept)
    wanted = column.filter(pa.array(is_kept))
    assert len(stored) == len(wanted)
    for captions in (stored, wanted):
        assert list(iterate_captions(captions)) == wanted.to_pylist()
        chunks = list(iterate_chunks(captions))
        assert all(chunk <= len(part) < 2 * chunk for part in chunks[:-1])
    assert list(iterate_captions(stored)) == list(iterate_captions(stored))  # read again
