"""The planted truth: which cues a synthetic post carries and what they are worth.

Cues are drawn for many posts at once, without writing a caption or drawing a picture, so that what
the best model answers can be simulated in seconds. Caption and picture each add to `bias` and
multiply each other when both point at the same gender; `orientation` adds up who is addressed and
who is shown. Author, brand, sponsoring and time change only how often the cues occur: what a post
is worth is a function of the cues that it shows, so a perfect reader of caption and picture knows
the truth.
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

#: What a caption claims, in the order of `Cues.claim`, and what each claim is worth.
CLAIMS = ("counter", "neutral", "mild", "moderate", "strong")
CLAIM_VALUE = np.array([-0.20, 0.0, 0.35, 0.68, 1.0])
NEUTRAL = CLAIMS.index("neutral")
_CLAIM_CUTS = np.array([-1.25, -0.10, 0.28, 0.80])

#: Strength of the role symbol in a picture, 0 (an everyday thing) to 3.
PROP_VALUE = np.array([0.0, 0.26, 0.52, 0.78])
STICKER_VALUE = 0.22
_PROP_CUTS = np.array([-0.25, 0.20, 0.70])

#: No language is so rare that a few authors are all there is of it: a student cannot learn to read
#: those, and results hang on the fold that they fall into.
LANGUAGES = ("en", "es", "fr")
_LANGUAGE_SHARE = (0.86, 0.08, 0.06)

#: Topics and how strongly each leans to feminine (+) or masculine (-) words.
TOPICS = ("cooking", "office", "gym", "children", "science", "money", "beauty", "music")
_TOPIC_LEAN = np.array([0.30, -0.20, -0.25, 0.35, -0.20, -0.30, 0.40, 0.0])

#: Brand names, how often they are mentioned, and how much more their posts stereotype.
BRANDS = (
    "auralane", "nordpfad", "casalume", "velvetoak", "kitefield", "bramblejoy",
    "toroforge", "mirabelle.co", "pixelhaven", "sunnyquill", "orbiteer", "tandemly",
)  # fmt: skip
_BRAND_SHARE = np.array([22, 17, 14, 11, 9, 7, 5, 4, 4, 3, 2, 2]) / 100
_BRAND_PUSH = np.array([0.6, -0.5, 0.3, -0.1, -0.7, 0.1, 0.8, 0.5, -0.3, 0.0, -0.5, -0.9])

POSTS_PER_AUTHOR = 8.0
NOISE_SD = {"bias": 0.90, "orientation": 0.90}
_HEAPS = {
    "bias": np.array([0.0, 2.0, 3.5, 5.0, 6.5, 7.5, 8.5]),
    "orientation": np.array([1.0, 3.0, 5.0, 7.0, 9.0]),
}

#: What each modality shows: the cues that decide, those that only make others likelier, and whether
#: a post has any.
_SEEN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "text": (("claim", "gender", "address"), ("topic", "brand", "sponsored"), "has_caption"),
    "image": (("figure", "prop", "sticker"), ("topic",), "has_picture"),
}
#: How many posts of a cell the mean of the wider cell counts as: rare cells have noisy means.
_PRIOR = 100.0


@dataclass(frozen=True, slots=True)
class Cues:
    """What each of n posts shows; every field is an array of shape (n,).

    Attributes:
        author: Number of the author.
        moment: When it was posted, 0 (oldest) to 1.
        sponsored: Whether somebody paid for it; the caption says so.
        brand: Index into `BRANDS`, or -1.
        language: Index into `LANGUAGES`; one per author.
        topic: Index into `TOPICS`; also the scene of the picture.
        has_caption: Whether there is a caption.
        claim: Index into `CLAIMS`.
        gender: Whom the caption speaks of: 1 feminine, -1 masculine, 0 neither.
        address: Whether it also calls on them.
        has_picture: Whether at least one image can be read.
        figure: Who is shown: 1 a woman, -1 a man, 0 both or nobody.
        prop: Strength of the role symbol, 0 to 3.
        sticker: Whether a price tag is stuck on the picture.
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
        """Return the cues of some posts.

        Args:
            rows: Their positions, (m,).

        Returns:
            The cues of these m posts, in that order.
        """
        return Cues(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_cues(n: int, rng: np.random.Generator) -> Cues:
    """Draw the cues of n posts.

    Args:
        n: How many posts.
        rng: Source of randomness.

    Returns:
        Their cues.
    """
    n_authors = max(1, round(n / POSTS_PER_AUTHOR))
    author = _authors(n, n_authors, rng)
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
    silent = ((claim == NEUTRAL) & (rng.random(n) < 0.55)) | ~has_caption
    gender[silent] = 0
    address = (rng.random(n) < 0.5) & (gender != 0)
    figure = np.where(0.4 * focus + rng.logistic(0, 0.6, n) > 0, 1, -1)
    figure = np.where((gender != 0) & (rng.random(n) < 0.30), gender, figure)
    figure[(rng.random(n) < 0.22) | ~has_picture] = 0
    return Cues(
        author, moment, sponsored, brand, language, topic, has_caption, claim, gender, address,
        has_picture, figure, prop, sticker,
    )  # fmt: skip


def _authors(n: int, n_authors: int, rng: np.random.Generator) -> Ints:
    """Return the author of each post, (n,): everyone has one, few have many."""
    weight = np.minimum(rng.lognormal(0, 0.9, n_authors), 5.0)
    rest = rng.choice(n_authors, n - n_authors, p=weight / weight.sum())
    return rng.permutation(np.concatenate([np.arange(n_authors), rest]))


def planted_truth(cues: Cues) -> dict[str, Floats]:
    """Return what each post is worth, without noise.

    Args:
        cues: The cues of n posts.

    Returns:
        Per axis the truth, (n,), 0 to 10.
    """
    caption = CLAIM_VALUE[cues.claim]
    picture = PROP_VALUE[cues.prop] + STICKER_VALUE * cues.sticker
    agree = (cues.gender == cues.figure) & (cues.gender != 0)
    bias = 0.8 + 2.3 * caption + 3.2 * picture + np.where(agree, 5.5, 1.5) * caption * picture
    said = cues.gender * np.where(cues.address, 1.0, 0.55)
    orientation = 5 + 1.9 * said + 1.5 * cues.figure + 1.0 * cues.figure * agree
    return {"bias": np.clip(bias, 0, 10), "orientation": np.clip(orientation, 0, 10)}


def teacher_answers(truth: dict[str, Floats], rng: np.random.Generator) -> dict[str, Floats]:
    """Return what a noisy teacher answers: scattered, cut to 0-10, and heaped on a few values.

    Args:
        truth: Per axis the truth, (n,).
        rng: Source of randomness.

    Returns:
        Per axis the recorded answer, (n,): multiples of 0.5, a few of 0.1.
    """
    answers = {}
    for axis in AXES:
        n = len(truth[axis])
        raw = np.clip(truth[axis] + rng.normal(0, NOISE_SD[axis], n), 0, 10)
        heaps = _HEAPS[axis]
        heaped = heaps[np.searchsorted((heaps[1:] + heaps[:-1]) / 2, raw)]
        habit = rng.random(n)
        answer = np.where(habit < 0.35, heaped, np.round(raw * 2) / 2)
        answers[axis] = np.where(habit > 0.97, np.round(raw, 1), answer)
    return answers


def read_cues(path: Path, post_ids: Sequence[str]) -> Cues | None:
    """Read what some posts of a demo corpus show.

    Args:
        path: Its `truth.parquet`.
        post_ids: The posts, (m,).

    Returns:
        The cues of these m posts, in that order; None if one of them is of another corpus.

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


def best_answers(cues: Cues, n: int, seed: int) -> dict[str, dict[str, Floats]]:
    """Answer as the best model of each modality: with the mean answer given all that it can see.

    The means are those of simulated posts. Where few of them show the same as a post, the mean of
    those that share what matters most counts too.

    Args:
        cues: What the posts to answer for show, (m,).
        n: Posts to simulate; a million leave means that are as good as exact.
        seed: Seed of the simulation.

    Returns:
        `{modality: {axis: (m,)}}` for `fusion`, `text` and `image`; NaN for a post that has nothing
        of that modality.
    """
    rng = np.random.default_rng(seed)
    simulated = draw_cues(n, rng)
    truth, planted = planted_truth(simulated), planted_truth(cues)
    answers = teacher_answers(truth, rng)
    found: dict[str, dict[str, Floats]] = {"fusion": {}, "text": {}, "image": {}}
    for axis in AXES:
        # Both together show the truth, and the answer depends on nothing else.
        both = _cells(np.round(np.concatenate([truth[axis], planted[axis]]), 6))
        found["fusion"][axis] = _means(answers[axis], both, both)
    for modality, (core, more, has) in _SEEN.items():
        core_columns, more_columns = (
            [np.concatenate([getattr(x, name) for x in (simulated, cues)]) for name in names]
            for names in ((*core, has), more)
        )
        coarse = _cells(*core_columns)
        fine = _cells(coarse, *more_columns)
        for axis in AXES:
            means = _means(answers[axis], coarse, fine)
            found[modality][axis] = np.where(getattr(cues, has), means, np.nan)
    return found


def _means(y: Floats, coarse: Ints, fine: Ints) -> Floats:
    """Return the mean of y in the cell of each row beyond the first len(y), (m,).

    The mean of a fine cell is drawn towards that of the coarse cell it lies in.
    """
    n, means = len(y), np.full(len(coarse), y.mean())
    for cells in (coarse, fine):
        size = int(cells.max()) + 1
        count = np.bincount(cells[:n], minlength=size)
        total = np.bincount(cells[:n], y, minlength=size)
        means = (total[cells] + _PRIOR * means) / (count[cells] + _PRIOR)
    return means[n:]


def _cells(*columns: NDArray[np.generic]) -> Ints:
    """Number the distinct combinations of columns, (n,)."""
    cells = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, code = np.unique(column, return_inverse=True)
        cells = cells * len(values) + code
    return np.unique(cells, return_inverse=True)[1]
