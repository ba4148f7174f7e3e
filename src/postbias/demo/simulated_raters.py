"""Simulated people who rate posts of the demo corpus.

They see what the ground truth says, but judge it in another way than the teacher: they are milder
on the whole, and stricter with sponsored posts. So a teacher that is right about the ground truth
is wrong about these people, and by how much depends on the group of posts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.demo.ground_truth import AXES, Bools, Floats

_MILDNESS = 0.8
_SPONSORED = 1.2


@dataclass(frozen=True, slots=True)
class SimulatedRater:
    """A rater's habits.

    Attributes:
        name: Pseudonym.
        shift: How much higher than others the rater rates bias.
        noise_sd: Standard deviation of the rater's error.
        cannot_tell: Share of posts about which the rater cannot tell.
    """

    name: str
    shift: float
    noise_sd: float
    cannot_tell: float


RATERS = (
    SimulatedRater("rater-1", 0.0, 0.9, 0.01),
    SimulatedRater("rater-2", 0.6, 1.1, 0.03),
    SimulatedRater("rater-3", -0.4, 1.3, 0.0),
)


def expected_ratings(truth: Mapping[str, Floats], sponsored: Bools) -> dict[str, Floats]:
    """Compute what these people say on average, without the shifts of single raters.

    Args:
        truth: True scores per axis, (n,).
        sponsored: Whether each post is sponsored. (n,)

    Returns:
        Expected ratings per axis, (n,).
    """
    bias = _MILDNESS * truth["bias"] + _SPONSORED * sponsored
    return {"bias": np.clip(bias, 0, 10), "orientation": truth["orientation"]}


def simulate_ratings(
    rater: SimulatedRater, expected: Mapping[str, Floats], rng: np.random.Generator
) -> dict[str, Floats]:
    """Simulate one rating of each post.

    Args:
        rater: The rater.
        expected: Expected ratings per axis, (n,).

    Returns:
        Ratings per axis, (n,): integers from 0 to 10; NaN if the rater cannot tell.
    """
    n = len(expected["bias"])
    is_unsure = rng.random(n) < rater.cannot_tell
    ratings = {}
    for axis in AXES:
        shift = rater.shift if axis == "bias" else 0.0
        rating = np.round(expected[axis] + shift + rng.normal(0, rater.noise_sd, n))
        ratings[axis] = np.where(is_unsure, np.nan, np.clip(rating, 0, 10))
    return ratings
