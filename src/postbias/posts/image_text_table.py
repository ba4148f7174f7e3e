"""Read what the text encoder sees of selected posts of a corpus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from postbias.posts.image_text import ImageTextReader, append_image_text
from postbias.posts.shards import (
    ROW_GROUP_POSTS,
    iter_posts,
    list_shards,
    read_selected_posts,
)

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


def read_image_texts(
    posts: Path, ids: Collection[str], store: Path, *, max_images: int, threads: int
) -> dict[str, str]:
    """Read the text inside the images of some posts.

    Args:
        posts: Folder of post shards.
        ids: Ids of the posts.
        store: SQLite file of the texts that are known already; new ones are added.
        max_images: Maximum number of images per post, the first ones.
        threads: Number of threads.

    Returns:
        The text by post id; empty for a post without text in its images.

    Raises:
        MissingExtraError: If the extra `ocr` is not installed.
        SchemaError: If a shard is damaged.
        StorageError: If the store cannot be used.
    """
    reader = ImageTextReader(store)
    wanted, texts = frozenset(ids), {}
    try:
        with (
            ThreadPoolExecutor(threads) as pool,
            tqdm(total=len(wanted), desc="reading text", unit="post", disable=None) as progress,
        ):
            for batch in iter_posts(list_shards(posts), ["post_id", "images"], ROW_GROUP_POSTS):
                rows = [row for row in batch.to_pylist() if row["post_id"] in wanted]
                files = [
                    [image["bytes"] or b"" for image in row["images"][:max_images]] for row in rows
                ]
                for row, text in zip(rows, pool.map(reader.read_all, files), strict=True):
                    texts[row["post_id"]] = text
                    progress.update()
    finally:
        reader.close()
    return texts


def read_seen_texts(paths: Paths, params: Params, ids: Sequence[str]) -> list[str]:
    """Read captions and, with `images.ocr`, the text inside images, as scoring does.

    Args:
        paths: The repository.
        params: All parameters.
        ids: Ids of the posts.

    Returns:
        The text of each post.

    Raises:
        CorpusError: If a post is missing from the corpus.
        MissingExtraError: If the extra `ocr` is needed and not installed.
        StorageError: If the database of texts cannot be used.
    """
    captions = read_selected_posts(paths.sampled_posts, ids, ["caption"])["caption"].to_pylist()
    if not params.images.ocr:
        return list(captions)
    texts = read_image_texts(
        paths.sampled_posts,
        ids,
        paths.image_texts,
        max_images=params.train.max_images,
        threads=params.threads,
    )
    return [append_image_text(text, [texts[i]]) for i, text in zip(ids, captions, strict=True)]
