"""Example posts of the report: image, caption, label and score side by side.

Posts of the test fold are shown, and posts on which people disagree. Captions are cut to a maximum
length, and images are decoded and encoded again, so that only their pixels reach the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import UnreadableImageError
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.images import decode_upright
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_selected_posts, read_table
from postbias.stats.metrics import band_indices

Json = dict[str, Any]

_MAX_SIDE_PX = 320
_JPEG_QUALITY = 72
_MAX_CAPTION_CHARACTERS = 420


@dataclass(frozen=True, slots=True)
class ExamplePost:
    """A post as the report shows it.

    Attributes:
        post_id: Its id.
        caption: Its caption, cut to the maximum length; may be empty.
        image: Its first readable image as a `data:` URL, if there is one.
        n_images: Number of images.
        label: The teacher's label on the main axis.
        reason: The teacher's reason; may be empty.
        score: The student's score.
        lo: Lower limit of the score's interval; None if the student has no intervals.
        hi: Upper limit of the score's interval.
    """

    post_id: str
    caption: str
    image: str | None
    n_images: int
    label: float
    reason: str
    score: float
    lo: float | None
    hi: float | None

    @property
    def error(self) -> float:
        """Score minus label."""
        return self.score - self.label

    @property
    def is_covered(self) -> bool:
        """Whether the interval of the score contains the label; true without an interval."""
        if self.lo is None or self.hi is None:
            return True
        return self.lo - 1e-6 <= self.label <= self.hi + 1e-6


@dataclass(frozen=True, slots=True)
class DisputedPost:
    """A rated post on which people disagree with each other or with the teacher.

    Attributes:
        post_id: Its id.
        caption: Its caption, cut to the maximum length; may be empty.
        image: Its first readable image as a `data:` URL, if there is one.
        n_images: Number of images.
        ratings: Rating of the main axis by rater.
        label: The teacher's label; None if there is none.
        reason: The teacher's reason; may be empty.
        score: The score of a student that has not seen the label.
    """

    post_id: str
    caption: str
    image: str | None
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
    known = {post.post_id: post for post in _read_contents(corpus, paths, at.to_numpy())}
    return {
        kind: [
            DisputedPost(
                post_id=post.post_id,
                caption=post.caption,
                image=post.image,
                n_images=post.n_images,
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


def choose_examples(
    corpus: ScoredCorpus, paths: Paths, max_posts: int
) -> tuple[list[ExamplePost], list[ExamplePost]]:
    """Choose example posts of the test fold.

    Args:
        corpus: All scored posts.
        paths: The repository, for folds, images and the teacher's reasons.
        max_posts: Maximum number of posts of each kind.

    Returns:
        The posts with the largest errors, in decreasing order; and typical posts, two from each
        band of the label.
    """
    test = _labelled_test_rows(corpus, paths)
    main = corpus.axes[0]
    labels, scores = corpus.labels[main.name], corpus.scores[main.name]
    error = np.abs(scores - labels)
    worst = _smallest(test, -error[test], max_posts)
    typical: list[int] = []
    rest = test[~np.isin(test, worst)]
    if len(rest):
        band = band_indices(labels[rest], main)
        median_error = np.median(error[rest])
        for index in range(3):
            rows = rest[band == index]
            # Typical: an error near the median, and a label in the middle of its band.
            distance = np.abs(error[rows] - median_error)
            distance += 0.3 * np.abs(labels[rows] - _median(labels[rows]))
            typical += _smallest(rows, distance, 2).tolist()
    return _show_posts(corpus, paths, worst), _show_posts(
        corpus, paths, np.array(typical[:max_posts], dtype=np.intp)
    )


def _labelled_test_rows(corpus: ScoredCorpus, paths: Paths) -> npt.NDArray[np.intp]:
    split = read_table(paths.split, SPLIT, ["post_id", "fold"])
    ids = split.filter(pc.equal(split["fold"], "test"))["post_id"]
    is_test = pc.is_in(corpus.table["post_id"], value_set=ids.combine_chunks()).to_numpy()
    is_labelled = ~np.isnan(corpus.labels[corpus.axes[0].name])
    return np.flatnonzero(is_test & is_labelled)


def _smallest(
    rows: npt.NDArray[np.intp], values: npt.NDArray[np.float64], max_rows: int
) -> npt.NDArray[np.intp]:
    return rows[np.argsort(values, kind="stable")[:max_rows]]


def _median(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _show_posts(
    corpus: ScoredCorpus, paths: Paths, rows: npt.NDArray[np.intp]
) -> list[ExamplePost]:
    main = corpus.axes[0].name
    table = corpus.table.take(pa.array(rows))
    return [
        ExamplePost(
            post_id=post.post_id,
            caption=post.caption,
            image=post.image,
            n_images=post.n_images,
            label=float(corpus.labels[main][row]),
            reason=post.reason,
            score=float(corpus.scores[main][row]),
            lo=table[f"{main}_lo"][i].as_py(),
            hi=table[f"{main}_hi"][i].as_py(),
        )
        for i, (row, post) in enumerate(zip(rows, _read_contents(corpus, paths, rows), strict=True))
    ]


def _read_contents(
    corpus: ScoredCorpus, paths: Paths, rows: npt.NDArray[np.intp]
) -> list[_PostContent]:
    """Read what the report shows of posts, in the order of the rows."""
    if not len(rows):
        return []
    table = corpus.table.select(["post_id", "caption"]).take(pa.array(rows))
    ids = table["post_id"].to_pylist()
    images = read_selected_posts(paths.posts, ids, ["images"])["images"].to_pylist()
    labels = read_table(paths.labels, columns=["post_id", "reason"])
    reasons = dict(zip(labels["post_id"].to_pylist(), labels["reason"].to_pylist(), strict=True))
    captions = table["caption"].to_pylist()
    return [
        _PostContent(
            post_id, _shorten(caption), _data_url(own), len(own), reasons.get(post_id) or ""
        )
        for post_id, caption, own in zip(ids, captions, images, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _PostContent:
    post_id: str
    caption: str
    image: str | None
    n_images: int
    reason: str


def _shorten(caption: str) -> str:
    text = caption.strip()
    return (
        text if len(text) <= _MAX_CAPTION_CHARACTERS else text[: _MAX_CAPTION_CHARACTERS - 1] + "…"
    )


def _data_url(images: list[dict[str, bytes | str | None]]) -> str | None:
    """Encode the first readable image as a `data:` URL."""
    for image in images:
        data = image["bytes"]
        try:
            decoded = decode_upright(
                bytes(data) if isinstance(data, bytes) else b"", max_side_px=_MAX_SIDE_PX
            )
        except UnreadableImageError:
            continue
        file = io.BytesIO()
        decoded.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return None
