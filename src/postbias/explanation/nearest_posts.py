"""An index of the labelled training posts, to find those that resemble a post for the student.

Posts resemble each other if the student's encoders embed them similarly. The index holds ids,
embeddings, labels and reasons, but neither captions nor images; it is an output of the pipeline
and not part of the student, because reasons and embeddings are personal data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from postbias.errors import InputError
from postbias.explanation.explain import explain_post
from postbias.explanation.explanation_records import Explanation, NearestPost
from postbias.explanation.faithfulness_verdicts import read_verdicts
from postbias.paths import Paths
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.graphs import Floats
from postbias.scoring.post_scores import PostInput
from postbias.scoring.scorer import Scorer

#: Number of posts shown with an explanation.
NEAREST = 3

_EMBEDDING, _LABEL, _DIGEST = "embedding_", "label_", b"champion"


@dataclass(frozen=True, slots=True)
class LabelledPosts:
    """Labels of posts.

    Attributes:
        post_ids: Their ids. (n,)
        labels: Labels by axis. (n,)
        reasons: The teacher's reasons. (n,)
    """

    post_ids: Sequence[str]
    labels: Mapping[str, NDArray[np.float64]]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class NearestPostIndex:
    """Labelled posts with their embeddings.

    Attributes:
        digest: Digest of the student that embedded them.
        posts: The posts.
        means: Mean embedding by encoder; subtracted before embeddings are compared. (D,)
        directions: Centred embeddings of length 1 by encoder, 0 for a post without the modality.
            (n, D)
    """

    digest: str
    posts: LabelledPosts
    means: Mapping[str, Floats]
    directions: Mapping[str, Floats]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an index.

        Raises:
            SchemaError: If the file is damaged.
        """
        table = read_table(path)
        digest = (table.schema.metadata or {}).get(_DIGEST, b"").decode()
        names = table.column_names
        labels = {
            name.removeprefix(_LABEL): table[name].to_numpy()
            for name in names
            if name.startswith(_LABEL)
        }
        means, directions = {}, {}
        for name in (name for name in names if name.startswith(_EMBEDDING)):
            column = table[name].combine_chunks()
            rows = column.flatten().to_numpy().reshape(len(table), -1).astype(np.float32)
            has = ~np.isnan(rows).all(axis=1)
            encoder = name.removeprefix(_EMBEDDING)
            means[encoder] = rows[has].mean(axis=0) if has.any() else np.zeros(rows.shape[1])
            directions[encoder] = _to_directions(rows, means[encoder])
        reasons = table["reason"].to_pylist()
        posts = LabelledPosts(table["post_id"].to_pylist(), labels, reasons)
        return cls(digest, posts, means, directions)

    def find(self, scorer: Scorer, post: PostInput, n: int = NEAREST) -> tuple[NearestPost, ...]:
        """Find the posts that resemble a post most.

        Args:
            scorer: The student that the index belongs to.
            n: Maximum number of posts.

        Returns:
            The nearest first; none for a post that the student cannot read. A post that lacks a
            modality of this post resembles it less.
        """
        _, embeddings = scorer.score_and_embed([post])
        similarities = []
        for encoder, rows in embeddings.items():
            if np.isfinite(rows).all():
                direction = _to_directions(rows, self.means[encoder])[0]
                similarities.append(self.directions[encoder] @ direction)
        if not similarities:
            return ()
        similarity = np.mean(similarities, axis=0)
        order = np.argsort(-similarity, kind="stable")[:n]
        return tuple(
            NearestPost(
                post_id=self.posts.post_ids[row],
                similarity=float(similarity[row]),
                labels={axis: float(values[row]) for axis, values in self.posts.labels.items()},
                reason=self.posts.reasons[row],
            )
            for row in order.tolist()
        )


def explain_with_nearest(scorer: Scorer, post: PostInput, axis: str | None = None) -> Explanation:
    """Explain the score of one post, and find the labelled posts that resemble it.

    Obeys the tests of the student's explanations, if there are any.

    Args:
        scorer: The student.
        axis: The axis to explain; the main axis by default.

    Returns:
        The explanation; without nearest posts if there is no index of this student.

    Raises:
        InputError: If the student has no such axis.
    """
    verdicts = read_verdicts(scorer.artifact)
    explanation = explain_post(scorer, post, axis, verdicts=verdicts)
    index = find_index(scorer.artifact) if explanation.is_scored else None
    nearest = () if index is None else index.find(scorer, post)
    return replace(explanation, nearest=nearest)


def write_index(
    path: Path, digest: str, posts: LabelledPosts, embeddings: Mapping[str, Floats]
) -> None:
    """Write an index.

    Args:
        digest: Digest of the student.
        embeddings: Embeddings by encoder, NaN for a post without the modality. (n, D)
    """
    columns = {"post_id": pa.array(posts.post_ids, pa.string())}
    columns |= {f"{_LABEL}{axis}": pa.array(values) for axis, values in posts.labels.items()}
    columns["reason"] = pa.array(posts.reasons, pa.string())
    for encoder, rows in sorted(embeddings.items()):
        flat = pa.array(rows.astype(np.float16).reshape(-1))
        name = f"{_EMBEDDING}{encoder}"
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    table = pa.table(columns).replace_schema_metadata({_DIGEST: digest.encode()})
    write_table(table, path, table.schema)


def find_index(artifact: Artifact) -> NearestPostIndex | None:
    """Find the index of a student in the repository that contains it.

    Returns:
        The index; None if there is none, or if it belongs to another student.
    """
    try:
        path = Paths.find(artifact.folder).nearest_posts
    except InputError:
        return None
    if not path.is_file():
        return None
    index = _read_once(path, path.stat().st_mtime_ns)
    return index if index.digest == artifact.digest else None


@cache
def _read_once(path: Path, _modified_ns: int) -> NearestPostIndex:
    return NearestPostIndex.read(path)


def _to_directions(rows: Floats, mean: Floats) -> Floats:
    """Centre embeddings and scale them to length 1; NaN becomes 0."""
    centred = np.nan_to_num(rows - mean, nan=0.0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    directions: Floats = np.zeros_like(centred)
    np.divide(centred, length, out=directions, where=length > 0)
    return directions
