"""Generative model of the demo corpus: cues, true scores, simulated labels, optimal predictions.

Cues are drawn for many posts at once, without writing a caption or drawing an image, so that the
optimal predictions can be simulated in seconds. Caption and image each add to `bias`, and interact
if both point at the same gender; `orientation` is the sum of who is addressed and who is shown.
Author, brand, sponsorship and time only change how often the cues occur. The true score is a
function of the cues alone, so a perfect reader of caption and image knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from postbias.posts.shards import read_table

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

AXES = ("bias", "orientation")

#: Claims of captions, in the order of `Cues.claim`, and the contribution of each to `bias`.
CLAIMS = ("counter", "neutral", "mild", "moderate", "strong")
CLAIM_VALUE = np.array([-0.20, 0.0, 0.35, 0.68, 1.0])
NEUTRAL = CLAIMS.index("neutral")
_CLAIM_CUTS = np.array([-1.25, -0.10, 0.28, 0.80])

#: Contribution of the role symbol in an image, by its strength from 0 (everyday object) to 3.
PROP_VALUE = np.array([0.0, 0.26, 0.52, 0.78])
STICKER_VALUE = 0.22
_PROP_CUTS = np.array([-0.25, 0.20, 0.70])

#: No language is so rare that only a few authors use it: a student could not learn it, and results
#: would depend on the fold those authors are assigned to.
LANGUAGES = ("en", "es", "fr", "de", "pt", "zh", "ar", "hi")
_LANGUAGE_SHARE = (0.44, *[0.08] * 7)

#: Topics, and how strongly each leans towards feminine (+) or masculine (-) words.
TOPICS = ("cooking", "office", "gym", "children", "science", "money", "beauty", "music")
_TOPIC_LEAN = np.array([0.30, -0.20, -0.25, 0.35, -0.20, -0.30, 0.40, 0.0])

#: Brand names, their share of mentions, and how much more their posts stereotype.
BRANDS = (
    "auralane", "nordpfad", "casalume", "velvetoak", "kitefield", "bramblejoy",
    "toroforge", "mirabelle.co", "pixelhaven", "sunnyquill", "orbiteer", "tandemly",
)  # fmt: skip
_BRAND_SHARE = np.array([22, 17, 14, 11, 9, 7, 5, 4, 4, 3, 2, 2]) / 100
_BRAND_PUSH = np.array([0.6, -0.5, 0.3, -0.1, -0.7, 0.1, 0.8, 0.5, -0.3, 0.0, -0.5, -0.9])

POSTS_PER_AUTHOR = 5.0
NOISE_SD = {"bias": 0.90, "orientation": 0.90}
_HEAPS = {
    "bias": np.array([0.0, 2.0, 3.5, 5.0, 6.5, 7.5, 8.5]),
    "orientation": np.array([1.0, 3.0, 5.0, 7.0, 9.0]),
}

#: Cues that each modality shows: those that determine the score, those that are only correlated
#: with others, and the one that says whether the post has the modality.
_CUES_OF: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "text": (("claim", "gender", "address"), ("topic", "brand", "sponsored"), "has_caption"),
    "image": (("figure", "prop", "sticker"), ("topic",), "has_picture"),
}
#: Prior weight, in posts, of a coarse cell's mean when the mean of a fine cell is shrunk toward it.
_PRIOR = 100.0


@dataclass(frozen=True, slots=True)
class Cues:
    """Cues of n posts; every field is an array of shape (n,) and a column of `truth.parquet`.

    Attributes:
        author: Number of the author.
        moment: Time of posting, 0 (oldest) to 1.
        sponsored: Whether the post is sponsored; the caption says so.
        brand: Index into `BRANDS`, or -1.
        language: Index into `LANGUAGES`; one per author.
        topic: Index into `TOPICS`; also determines the backdrop of the image.
        has_caption: Whether there is a caption.
        claim: Index into `CLAIMS`.
        gender: Gender in the caption: 1 feminine, -1 masculine, 0 neither.
        address: Whether the caption also addresses that gender.
        has_picture: Whether at least one image can be decoded.
        figure: Who is shown: 1 a woman, -1 a man, 0 both or nobody.
        prop: Strength of the role symbol, 0 to 3.
        sticker: Whether the image shows a price tag.
    """

    author: Ints
    moment: Floats
    sponsored: Bools
    brand: Ints
    language: Ints
    topic: Ints
    has_caption: Bools
    claim: Ints
    gender: Ints
    address: Bools
    has_picture: Bools
    figure: Ints
    prop: Ints
    sticker: Bools

    def __len__(self) -> int:
        """Return the number of posts."""
        return len(self.author)

    def take(self, rows: Ints) -> Cues:
        """Select the cues of the posts at positions `rows`, (m,), in that order."""
        return Cues(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_cues(n: int, rng: np.random.Generator) -> Cues:
    """Draw the cues of n posts at random."""
    n_authors = max(1, round(n / POSTS_PER_AUTHOR))
    author = _draw_authors(n, n_authors, rng)
    push, focus = rng.normal(size=n_authors)[author], rng.normal(size=n_authors)[author]
    language = rng.choice(len(LANGUAGES), n_authors, p=_LANGUAGE_SHARE)[author]
    niche = rng.integers(len(TOPICS), size=n_authors)[author]
    topic = np.where(rng.random(n) < 0.55, niche, rng.integers(len(TOPICS), size=n))
    moment = rng.random(n)
    sponsored = rng.random(n) < 0.14
    branded = rng.random(n) < np.where(sponsored, 0.95, 0.30)
    brand = np.where(branded, rng.choice(len(BRANDS), n, p=_BRAND_SHARE), -1)

    push = 0.32 * push + np.where(branded, _BRAND_PUSH[brand], 0.0) * 0.45
    push += 0.25 * sponsored + 0.40 * (moment - 0.5)
    has_caption, has_picture = rng.random(n) >= 0.02, rng.random(n) >= 0.03
    has_picture |= ~has_caption
    claim = np.searchsorted(_CLAIM_CUTS, push + rng.normal(0, 0.95, n))
    claim[~has_caption] = NEUTRAL
    prop = np.searchsorted(_PROP_CUTS, push + rng.normal(0, 0.95, n))
    sticker = rng.random(n) < 0.30
    prop[~has_picture], sticker[~has_picture] = 0, False

    lean = 0.4 * focus + 0.8 * _TOPIC_LEAN[topic]
    gender = np.where(lean + rng.logistic(0, 0.6, n) > 0, 1, -1)
    is_genderless = ((claim == NEUTRAL) & (rng.random(n) < 0.55)) | ~has_caption
    gender[is_genderless] = 0
    address = (rng.random(n) < 0.5) & (gender != 0)
    figure = np.where(0.4 * focus + rng.logistic(0, 0.6, n) > 0, 1, -1)
    figure = np.where((gender != 0) & (rng.random(n) < 0.30), gender, figure)
    figure[(rng.random(n) < 0.22) | ~has_picture] = 0
    return Cues(
        author, moment, sponsored, brand, language, topic, has_caption, claim, gender, address,
        has_picture, figure, prop, sticker,
    )  # fmt: skip


def _draw_authors(n: int, n_authors: int, rng: np.random.Generator) -> Ints:
    """Draw the author of each post, (n,): every author has at least one post, few have many."""
    weight = np.minimum(rng.lognormal(0, 0.9, n_authors), 5.0)
    rest = rng.choice(n_authors, n - n_authors, p=weight / weight.sum())
    return rng.permutation(np.concatenate([np.arange(n_authors), rest]))


def true_scores(cues: Cues) -> dict[str, Floats]:
    """Compute the true score of n posts, without noise: per axis (n,), 0 to 10."""
    caption = CLAIM_VALUE[cues.claim]
    image = PROP_VALUE[cues.prop] + STICKER_VALUE * cues.sticker
    agree = (cues.gender == cues.figure) & (cues.gender != 0)
    bias = 0.8 + 2.3 * caption + 3.2 * image + np.where(agree, 5.5, 1.5) * caption * image
    addressed = cues.gender * np.where(cues.address, 1.0, 0.55)
    orientation = 5 + 1.9 * addressed + 1.5 * cues.figure + 1.0 * cues.figure * agree
    return {"bias": np.clip(bias, 0, 10), "orientation": np.clip(orientation, 0, 10)}


def simulate_teacher(truth: dict[str, Floats], rng: np.random.Generator) -> dict[str, Floats]:
    """Simulate a teacher's labels: true scores plus noise, clipped to 0-10, heaped on a few values.

    Args:
        truth: True scores per axis, (n,).
        rng: Source of randomness.

    Returns:
        Labels per axis, (n,): multiples of 0.5, a few of 0.1.
    """
    labels = {}
    for axis in AXES:
        n = len(truth[axis])
        raw = np.clip(truth[axis] + rng.normal(0, NOISE_SD[axis], n), 0, 10)
        heaps = _HEAPS[axis]
        heaped = heaps[np.searchsorted((heaps[1:] + heaps[:-1]) / 2, raw)]
        habit = rng.random(n)
        label = np.where(habit < 0.35, heaped, np.round(raw * 2) / 2)
        labels[axis] = np.where(habit > 0.97, np.round(raw, 1), label)
    return labels


def read_cues(path: Path, post_ids: Sequence[str]) -> Cues | None:
    """Read the cues of some posts of a demo corpus.

    Args:
        path: `truth.parquet` of the corpus.
        post_ids: Ids of m posts.

    Returns:
        The cues of these posts, in that order; None if a post is not in the corpus.

    Raises:
        SchemaError: If the file cannot be read.
    """
    names = [field.name for field in fields(Cues)]
    table = read_table(path, columns=["post_id", *names])
    ids = table["post_id"].combine_chunks()
    rows = pc.index_in(pa.array(post_ids, pa.string()), value_set=ids)
    if rows.null_count:
        return None
    return Cues(*(table[name].to_numpy() for name in names)).take(rows.to_numpy())


def optimal_predictions(cues: Cues, n: int, seed: int) -> dict[str, dict[str, Floats]]:
    """Predict the expected label given all cues that each modality shows.

    No model of that modality can have a lower expected squared error. The expectations are means
    over simulated posts with the same cues; if these are few, their mean is shrunk toward that of
    simulated posts which share the most important cues.

    Args:
        cues: Cues of m posts.
        n: Number of posts to simulate; with a million, the Monte Carlo error is negligible.
        seed: Seed of the simulation.

    Returns:
        `{modality: {axis: (m,)}}` for `fusion`, `text` and `image`; NaN for a post that lacks the
        modality.
    """
    rng = np.random.default_rng(seed)
    simulated = draw_cues(n, rng)
    simulated_truth, truth = true_scores(simulated), true_scores(cues)
    labels = simulate_teacher(simulated_truth, rng)
    predictions: dict[str, dict[str, Floats]] = {"fusion": {}, "text": {}, "image": {}}
    for axis in AXES:
        # Caption and image together determine the true score, and the label depends only on that.
        both = _number_cells(np.round(np.concatenate([simulated_truth[axis], truth[axis]]), 6))
        predictions["fusion"][axis] = _shrunken_means(labels[axis], both, both)
    for modality, (decisive, correlated, has) in _CUES_OF.items():
        decisive_columns, correlated_columns = (
            [np.concatenate([getattr(x, name) for x in (simulated, cues)]) for name in names]
            for names in ((*decisive, has), correlated)
        )
        coarse = _number_cells(*decisive_columns)
        fine = _number_cells(coarse, *correlated_columns)
        for axis in AXES:
            means = _shrunken_means(labels[axis], coarse, fine)
            predictions[modality][axis] = np.where(getattr(cues, has), means, np.nan)
    return predictions


def _shrunken_means(y: Floats, coarse: Ints, fine: Ints) -> Floats:
    """Compute the mean of y in the fine cell of each row beyond the first len(y), (m,).

    It is shrunk toward the mean of the coarse cell, and that toward the mean of all.
    """
    n, means = len(y), np.full(len(coarse), y.mean())
    for cells in (coarse, fine):
        size = int(cells.max()) + 1
        count = np.bincount(cells[:n], minlength=size)
        total = np.bincount(cells[:n], y, minlength=size)
        means = (total[cells] + _PRIOR * means) / (count[cells] + _PRIOR)
    return means[n:]


def _number_cells(*columns: NDArray[np.generic]) -> Ints:
    """Number the distinct combinations of columns, (n,)."""
    cells = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, code = np.unique(column, return_inverse=True)
        cells = cells * len(values) + code
    return np.unique(cells, return_inverse=True)[1]
