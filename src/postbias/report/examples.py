"""Which posts the report shows, and how: picture, caption, label and score side by side.

Only posts of the test fold are shown, whose labels the student has never seen. Captions are passed
on as text, cut to a length, and pictures are decoded and encoded again, so that nothing of a
file but its pixels reaches the page.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import UnreadableImageError
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.images import decode_upright
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table, read_selected_posts
from postbias.stats.metrics import bands

_SIDE_PX = 320
_QUALITY = 72
_CAPTION_CHARACTERS = 420


@dataclass(frozen=True, slots=True)
class ExamplePost:
    """One post as the report shows it.

    Attributes:
        post_id: Its id.
        caption: Its caption, cut; may be empty.
        picture: A `data:` address of its first readable picture, if it has one.
        pictures: How many pictures it has.
        label: What the teacher said on the main axis.
        reason: Why, in the teacher's words; may be empty.
        score: What the student said.
        lo: Lower end of the score's interval.
        hi: Upper end.
    """

    post_id: str
    caption: str
    picture: str | None
    pictures: int
    label: float
    reason: str
    score: float
    lo: float
    hi: float

    @property
    def error(self) -> float:
        """Score minus label."""
        return self.score - self.label

    @property
    def is_covered(self) -> bool:
        """Whether the label lies within the score's interval."""
        return self.lo - 1e-6 <= self.label <= self.hi + 1e-6


def choose_examples(
    population: ScoredCorpus, paths: Paths, most: int
) -> tuple[list[ExamplePost], list[ExamplePost]]:
    """Choose the posts to show.

    Args:
        population: All posts.
        paths: The repository; reads folds, posts and the teacher's reasons.
        most: How many of each kind at most.

    Returns:
        The worst errors, the worst first, and typical posts: two of each band of the label whose
        errors are the most ordinary, by ascending label.
    """
    test = _test_rows(population, paths)
    main = population.axes[0]
    labels, scores = population.labels[main.name], population.scores[main.name]
    error = np.abs(scores - labels)
    worst = _first(test, -error[test], most)
    typical: list[int] = []
    rest = test[~np.isin(test, worst)]
    if len(rest):
        band = bands(labels[rest], main)
        usual = np.median(error[rest])
        for one in range(3):
            rows = rest[band == one]
            # Ordinary: an error like most, and a label in the middle of its band.
            odd = np.abs(error[rows] - usual) + 0.3 * np.abs(labels[rows] - _median(labels[rows]))
            typical += _first(rows, odd, 2).tolist()
    return _show(population, paths, worst), _show(
        population, paths, np.array(typical[:most], dtype=np.intp)
    )


def _test_rows(population: ScoredCorpus, paths: Paths) -> npt.NDArray[np.intp]:
    split = read_table(paths.split, SPLIT, ["post_id", "fold"])
    ids = split.filter(pc.equal(split["fold"], "test"))["post_id"]
    is_test = pc.is_in(population.table["post_id"], value_set=ids.combine_chunks()).to_numpy()
    labelled = ~np.isnan(population.labels[population.axes[0].name])
    return np.flatnonzero(is_test & labelled)


def _first(
    rows: npt.NDArray[np.intp], by: npt.NDArray[np.float64], most: int
) -> npt.NDArray[np.intp]:
    return rows[np.argsort(by, kind="stable")[:most]]


def _median(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _show(population: ScoredCorpus, paths: Paths, rows: npt.NDArray[np.intp]) -> list[ExamplePost]:
    if not len(rows):
        return []
    main = population.axes[0].name
    table = population.table.take(pa.array(rows))
    ids = table["post_id"].to_pylist()
    posts = read_selected_posts(paths.posts, ids, ["images"])["images"].to_pylist()
    labels = read_table(paths.labels, columns=["post_id", "reason"])
    reasons = dict(zip(labels["post_id"].to_pylist(), labels["reason"].to_pylist(), strict=True))
    return [
        ExamplePost(
            post_id=ids[i],
            caption=_cut(table["caption"][i].as_py()),
            picture=_picture(posts[i]),
            pictures=len(posts[i]),
            label=float(population.labels[main][row]),
            reason=reasons.get(ids[i], ""),
            score=float(population.scores[main][row]),
            lo=table[f"{main}_lo"][i].as_py(),
            hi=table[f"{main}_hi"][i].as_py(),
        )
        for i, row in enumerate(rows)
    ]


def _cut(caption: str) -> str:
    text = caption.strip()
    return text if len(text) <= _CAPTION_CHARACTERS else text[: _CAPTION_CHARACTERS - 1] + "…"


def _picture(images: list[dict[str, bytes | str | None]]) -> str | None:
    for image in images:
        data = image["bytes"]
        try:
            picture = decode_upright(
                bytes(data) if isinstance(data, bytes) else b"", max_side_px=_SIDE_PX
            )
        except UnreadableImageError:
            continue
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return None
