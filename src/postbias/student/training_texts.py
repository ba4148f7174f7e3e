"""Read what the text encoder sees of the posts it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postbias.posts.image_text import append_image_text
from postbias.posts.image_text_table import read_image_texts
from postbias.posts.shards import read_selected_posts

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths


def read_training_texts(paths: Paths, params: Params, ids: Sequence[str]) -> list[str]:
    """Read captions and, with `images.ocr`, the text inside images, as `collect_texts` does.

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
    captions = read_selected_posts(paths.posts, ids, ["caption"])["caption"].to_pylist()
    if not params.images.ocr:
        return list(captions)
    texts = read_image_texts(
        paths.posts,
        ids,
        paths.image_texts,
        max_images=params.train.max_images,
        threads=params.threads,
    )
    return [append_image_text(text, [texts[i]]) for i, text in zip(ids, captions, strict=True)]
