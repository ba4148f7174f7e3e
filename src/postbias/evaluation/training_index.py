"""Write the index of the champion's labelled training posts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from postbias.evaluation.labelled_folds import LabelledFold, iter_inputs
from postbias.explanation.nearest_posts import LabelledPosts, write_index
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.shards import read_table
from postbias.scoring.reference_profile import sample_ids
from postbias.scoring.scorer import Scorer

#: Maximum number of posts in the index; bounds time and memory.
MAX_INDEXED_POSTS = 10_000


def write_training_index(paths: Paths, params: Params, train: LabelledFold) -> None:
    """Embed the posts of the train fold with `build/champion` and write `nearest_posts.parquet`.

    Args:
        train: The train fold.
    """
    with Scorer.open(
        paths.champion,
        precision=params.infer.precision,
        threads=params.threads,
        device=params.infer.device,
        image_texts=paths.image_texts,
    ) as scorer:
        chosen = sample_ids(train.post_ids, MAX_INDEXED_POSTS)
        embedded: dict[str, Mapping[str, np.ndarray]] = {}
        reads_images = scorer.manifest.reads_images
        for posts in iter_inputs(paths, set(chosen), has_image=reads_images):
            _, embeddings = scorer.score_and_embed(list(posts.values()))
            for row, post_id in enumerate(posts):
                embedded[post_id] = {name: rows[row] for name, rows in embeddings.items()}
        encoders = sorted({name for rows in embedded.values() for name in rows})
        row_of = {post_id: row for row, post_id in enumerate(train.post_ids)}
        labels = train.labels[[row_of[post_id] for post_id in chosen]]
        table = read_table(paths.labels, columns=["post_id", "reason"])
        reasons = dict(zip(table["post_id"].to_pylist(), table["reason"].to_pylist(), strict=True))
        write_index(
            paths.nearest_posts,
            scorer.artifact.digest,
            LabelledPosts(
                chosen,
                {axis: labels[:, column] for column, axis in enumerate(scorer.axes)},
                [reasons.get(post_id) or "" for post_id in chosen],
            ),
            {name: np.stack([embedded[i][name] for i in chosen]) for name in encoders},
        )
