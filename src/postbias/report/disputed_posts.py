"""Posts of the report on which people disagree with each other or with the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.report.explained_examples import CaptionPart
from postbias.report.post_contents import ShownImage, read_contents, shorten_caption

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DisputedPost:
    """A rated post on which people disagree with each other or with the teacher.

    Attributes:
        post_id: Its id.
        caption: Its caption as one part, cut to the maximum length; empty without a caption.
        image: Its first readable image, if there is one.
        n_images: Number of images.
        ratings: Rating of the main axis by rater.
        label: The teacher's label; None if there is none.
        reason: The teacher's reason; may be empty.
        score: The score of a student that has not seen the label.
    """

    post_id: str
    caption: tuple[CaptionPart, ...]
    image: ShownImage | None
    n_images: int
    ratings: Mapping[str, float]
    label: float | None
    reason: str
    score: float


def show_disputed_posts(
    corpus: ScoredCorpus, paths: Paths, found: Sequence[Json], max_posts: int
) -> dict[str, list[DisputedPost]]:
    """Show the posts on which people disagree most.

    Args:
        corpus: All scored posts.
        paths: The repository, for images and the teacher's reasons.
        found: `disagreements` of `reports/people.json`, the largest first.
        max_posts: Maximum number of posts of each kind.

    Returns:
        Posts by kind: `people`, who disagree with each other, and `teacher`, who disagrees with
        their mean.
    """
    shown = {
        kind: [one for one in found if one["kind"] == kind][:max_posts]
        for kind in ("people", "teacher")
    }
    ids = sorted({one["post_id"] for several in shown.values() for one in several})
    at = pc.index_in(
        pa.array(ids, pa.string()), value_set=corpus.table["post_id"].combine_chunks()
    ).drop_null()
    known = {post.post_id: post for post in read_contents(corpus, paths, at.to_numpy())}
    return {
        kind: [
            DisputedPost(
                post_id=post.post_id,
                caption=shorten_caption([CaptionPart(post.caption.strip())]),
                image=post.image,
                n_images=len(post.files),
                ratings=one["ratings"],
                label=one["label"],
                reason=post.reason,
                score=one["score"],
            )
            for one in several
            if (post := known.get(one["post_id"]))
        ]
        for kind, several in shown.items()
    }
