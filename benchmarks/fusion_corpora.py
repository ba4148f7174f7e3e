"""Synthetic posts whose caption and image carry a known share of the label.

The signal of a caption is the sum of the weights of its words, that of an image the colour of a
shape on a noisy background. Labels are distributed as the scores of a real teacher: 21 distinct
values, of which one makes up 37%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postbias.stats.bootstrap import Array

SIDE_PX = 32

_N_NEUTRAL, _N_WEIGHTED = 20, 20
_WORDS_PER_CAPTION = 10

#: Share of the most frequent scores of Qwen2.5-VL on 14,976 Instagram posts; other multiples of
#: 0.5 share the rest equally.
_HEAPS = {8.5: 0.37, 6.5: 0.23, 7.5: 0.15, 0.0: 0.06}
_VALUES = np.arange(0, 10.25, 0.5)


@dataclass(frozen=True, slots=True)
class Corpus:
    """How the label depends on the two signals, each with mean 0 and standard deviation 1.

    Attributes:
        text: Weight of the caption's signal.
        image: Weight of the image's signal.
        product: Weight of the product of the two.
        is_redundant: Whether the image's signal is the caption's.
        noise: Standard deviation of the label's noise.
    """

    text: float
    image: float
    product: float = 0.0
    is_redundant: bool = False
    noise: float = 0.5

    @property
    def is_joint(self) -> bool:
        """Whether both modalities together tell clearly more than either alone."""
        return min(self.text, self.image) >= 0.5 and not self.is_redundant


CORPORA = {
    "image useless": Corpus(text=1.0, image=0.0),
    "caption useless": Corpus(text=0.0, image=1.0),
    "image weak": Corpus(text=1.0, image=0.2),
    "caption weak": Corpus(text=0.2, image=1.0),
    "redundant": Corpus(text=1.0, image=0.0, is_redundant=True),
    "both": Corpus(text=0.7, image=0.7, product=0.3),
}


@dataclass(frozen=True, slots=True)
class Posts:
    """Posts with one image each.

    Attributes:
        captions: Captions. (n,)
        pixels: Images, uint8. (n, S, S, 3)
        labels: Labels from 0 to 10. (n,)
    """

    captions: tuple[str, ...]
    pixels: NDArray[np.uint8]
    labels: Array


def draw_posts(corpus: Corpus, n: int, rng: np.random.Generator) -> Posts:
    """Draw posts; the weights of the words are drawn too, so that no two draws share them."""
    weights = np.concatenate([np.zeros(_N_NEUTRAL), rng.choice([-1.0, 1.0], _N_WEIGHTED)])
    words = rng.integers(len(weights), size=(n, _WORDS_PER_CAPTION))
    text = _standardise(weights[words].sum(axis=1))
    image = text if corpus.is_redundant else rng.normal(size=n)
    label = corpus.text * text + corpus.image * image + corpus.product * text * image
    label += rng.normal(0, corpus.noise, n)
    captions = tuple(" ".join(f"word{word}" for word in row) for row in words)
    return Posts(captions, _draw_images(image, rng), heap(label))


def heap(values: Array) -> Array:
    """Map values to scores with the frequencies of a real teacher, keeping their order. (n,)."""
    rest = (1 - sum(_HEAPS.values())) / (len(_VALUES) - len(_HEAPS))
    shares = np.array([_HEAPS.get(value, rest) for value in _VALUES.tolist()])
    ranks = (values.argsort().argsort() + 0.5) / len(values)
    heaped: Array = _VALUES[np.searchsorted(shares.cumsum()[:-1], ranks)]
    return heaped


def _standardise(values: Array) -> Array:
    standardised: Array = (values - values.mean()) / values.std()
    return standardised


def _draw_images(signal: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a square or a disc, bluer or redder by the signal, on noise of a random colour."""
    n, side = len(signal), SIDE_PX
    background = rng.integers(0, 90, (n, side, side, 3)) + rng.integers(0, 80, (n, 1, 1, 3))
    y, x = np.mgrid[:side, :side]
    centre = rng.uniform(side / 4, 3 * side / 4, (2, n, 1, 1))
    dx, dy = np.abs(x - centre[0]), np.abs(y - centre[1])  # (n, S, S)
    radius = rng.uniform(side / 5, side / 3.5, (n, 1, 1))
    is_square = rng.random((n, 1, 1)) < 0.5
    is_shape = np.where(is_square, np.maximum(dx, dy) < radius, np.hypot(dx, dy) < radius)
    redness = 1 / (1 + np.exp(-1.2 * signal))
    colour = np.stack([60 + 190 * redness, np.full(n, 70), 250 - 190 * redness], axis=1)
    colour += rng.normal(0, 10, (n, 3))
    pixels = np.where(is_shape[..., None], colour[:, None, None], background)
    return np.clip(pixels, 0, 255).astype(np.uint8)
