"""Find the posts of a fold that have text inside their images."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.evaluation.labelled_folds import LabelledFold
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.image_text_table import read_image_texts
from postbias.posts.shards import read_table


def classify_image_text(paths: Paths, params: Params, fold: LabelledFold) -> dict[str, list[str]]:
    """Classify the posts of a fold by text inside their images.

    On a demo corpus with such posts, the ground truth says which they are; otherwise the text that
    was read does, with `images.ocr`.

    Args:
        paths: The repository.
        params: All params.
        fold: The posts.

    Returns:
        `image_text` with `yes` or `no` for each post; empty if it is not known.

    Raises:
        MissingExtraError: If the extra `ocr` is needed and not installed.
    """
    quoted = _read_truth(paths, fold)
    if quoted is None and params.images.ocr:
        texts = read_image_texts(
            paths.sampled_posts,
            fold.post_ids,
            paths.image_texts,
            max_images=params.train.max_images,
            threads=params.threads,
        )
        quoted = {post_id for post_id, text in texts.items() if text}
    if quoted is None:
        return {}
    return {"image_text": ["yes" if post_id in quoted else "no" for post_id in fold.post_ids]}


def _read_truth(paths: Paths, fold: LabelledFold) -> set[str] | None:
    """Read the ids of the posts whose claim is in the image; None if that is not known."""
    path = paths.sampled_file("data/truth.parquet")
    if not path.is_file() or "quoted" not in pq.read_schema(path).names:
        return None
    table = read_table(path, columns=["post_id", "quoted"])
    if not set(fold.post_ids) <= set(table["post_id"].to_pylist()):  # the truth of another corpus
        return None
    return set(table.filter(pc.field("quoted"))["post_id"].to_pylist())
