"""Example posts of the report: image, caption, label, score and explanation side by side.

Only posts of the test fold are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.explanation.explanation_records import ModalityShares
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table
from postbias.report.explained_examples import (
    CaptionPart,
    ExplainedExample,
    explain_examples,
    scale_box,
)
from postbias.report.post_contents import ShownImage, read_contents, shorten_caption
from postbias.scoring.scorer import PostInput
from postbias.stats.metrics import band_indices


@dataclass(frozen=True, slots=True)
class ExamplePost:
    """A post as the report shows it.

    Attributes:
        post_id: Its id.
        caption: Parts of its caption, or of the text that the student read, with marked words;
            cut to the maximum length, and empty without a caption.
        image: Its first readable image, if there is one.
        n_images: Number of images.
        label: The teacher's label on the main axis.
        reason: The teacher's reason; may be empty.
        score: The student's score.
        lo: Lower limit of the score's interval; None if the student has no intervals.
        hi: Upper limit of the score's interval.
        shares: Shares of caption and images in the score.
    """

    post_id: str
    caption: tuple[CaptionPart, ...]
    image: ShownImage | None
    n_images: int
    label: float
    reason: str
    score: float
    lo: float | None
    hi: float | None
    shares: ModalityShares | None

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


def choose_examples(
    corpus: ScoredCorpus, paths: Paths, params: Params
) -> tuple[list[ExamplePost], list[ExamplePost]]:
    """Choose example posts of the test fold.

    Args:
        corpus: All scored posts.
        paths: The repository, for folds, images, the teacher's reasons and the champion.
        params: `report.examples` is the maximum number of posts of each kind.

    Returns:
        The posts with the largest errors, in decreasing order; and typical posts, two from each
        band of the label.
    """
    test, max_posts = _labelled_test_rows(corpus, paths), params.report.examples
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
    chosen = np.concatenate([worst, np.array(typical[:max_posts], dtype=np.intp)])
    shown = _show_posts(corpus, paths, params, chosen)
    return shown[: len(worst)], shown[len(worst) :]


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
    corpus: ScoredCorpus, paths: Paths, params: Params, rows: npt.NDArray[np.intp]
) -> list[ExamplePost]:
    main = corpus.axes[0].name
    table = corpus.table.take(pa.array(rows))
    posts = read_contents(corpus, paths, rows)
    explained = explain_examples(
        paths,
        params,
        [
            (PostInput(post.caption, post.files), post.image.position if post.image else 0)
            for post in posts
        ],
    )
    return [
        ExamplePost(
            post_id=post.post_id,
            caption=shorten_caption(explained[i].caption or (CaptionPart(post.caption.strip()),)),
            image=_mark_image(post.image, explained[i]),
            n_images=len(post.files),
            label=float(corpus.labels[main][row]),
            reason=post.reason,
            score=float(corpus.scores[main][row]),
            lo=table[f"{main}_lo"][i].as_py(),
            hi=table[f"{main}_hi"][i].as_py(),
            shares=explained[i].shares,
        )
        for i, (row, post) in enumerate(zip(rows, posts, strict=True))
    ]


def _mark_image(image: ShownImage | None, explained: ExplainedExample) -> ShownImage | None:
    if image is None or explained.region is None:
        return image
    region = explained.region
    box = scale_box(region.box, image.size)
    return replace(image, box=box, contribution=region.contribution)
