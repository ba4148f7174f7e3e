"""Effect on scores of swapping the gender of the person in an image.

The images are scored without captions, as captions are for the word swap: beside a caption about
women, an image of a man may rightly change the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from postbias.evaluation.image_pairs import ImagePair
from postbias.evaluation.labelled_folds import to_predictions
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import PostInput, PostScore, Scorer
from postbias.stats.bootstrap import Array, Resamples, resample_authors
from postbias.stats.metrics import resampled_mean

#: The gate ignores image swaps with fewer pairs or units.
MIN_SWAPPED_PAIRS, MIN_SWAPPED_UNITS = 30, 10

#: Sources of pairs: drawn again by the demo's generator, or from a folder.
REDRAWN, PAIRED = "redrawn", "pairs"


@dataclass(frozen=True, slots=True)
class SceneSwapResult:
    """Change of the main axis in the pairs of one scene, as a share of its range.

    Attributes:
        n: Pairs that were scored.
        change: Replicates of the mean absolute change. (1 + R,)
        difference: Replicates of the mean score with a woman minus that with a man. (1 + R,)
    """

    n: int
    change: Array
    difference: Array


@dataclass(frozen=True, slots=True)
class ImageSwapResult:
    """Effect of the swapped gender of a person on the scores of one student.

    Attributes:
        unscored: Pairs with an image that cannot be scored.
        units: Independent units of the scored pairs: authors of redrawn posts, scenes of a folder.
        spread: Standard deviation of the main axis over the images of scored pairs, as a share of
            its range; a small change means little beside a small spread. `None` without such pairs.
        control: Replicates of the mean absolute difference of the main axis between two images with
            the same scene and gender, as a share of its range: what a swap would change if gender
            meant nothing. `None` without several pairs per scene. (1 + R,)
        overall: The main axis over all pairs.
        scenes: The main axis by scene.
        shift: Replicates of the mean change of the orientation axis from man to woman, in points;
            `None` if the student has no such axis. (1 + R,)
        right: Replicates of the share of pairs with a positive change; `None` likewise. (1 + R,)
    """

    unscored: int
    units: int
    spread: float | None
    control: Array | None
    overall: SceneSwapResult
    scenes: Mapping[str, SceneSwapResult]
    shift: Array | None
    right: Array | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough pairs and units for the gate."""
        return self.overall.n >= MIN_SWAPPED_PAIRS and self.units >= MIN_SWAPPED_UNITS


@dataclass(frozen=True, slots=True)
class ImageSwapSettings:
    """How image swaps are measured.

    Attributes:
        orientation: Name of the axis that must follow the figure, if any.
        replications: Number of bootstrap replications.
        seed: Seed of the resamples; all students share them.
        has_control: Whether two pairs of a scene differ in nothing that should change the score.
    """

    orientation: str | None
    replications: int
    seed: int
    has_control: bool = False


def measure_image_swaps(
    scorer: Scorer, pairs: Sequence[ImagePair], settings: ImageSwapSettings
) -> ImageSwapResult | None:
    """Score paired images with a student that reads images.

    Args:
        scorer: The student, as shipped.
        pairs: The images.
        settings: How to measure.

    Returns:
        The effect; `None` without pairs.
    """
    if not pairs:
        return None
    men = _score(scorer, [pair.man for pair in pairs])
    women = _score(scorer, [pair.woman for pair in pairs])
    main = scorer.manifest.axes[0]
    span = main.high - main.low
    difference = _subtract(women, men, main.name) / span
    is_scored = np.isfinite(difference)
    scores = np.stack([to_predictions(side, main.name).values for side in (women, men)])
    units = [pair.unit for pair in pairs]
    resamples = _resample(units, settings)
    shift = right = None
    if settings.orientation in {axis.name for axis in scorer.manifest.axes}:
        towards = _subtract(women, men, str(settings.orientation))
        shift = resampled_mean(towards, resamples)
        is_right = np.where(np.isfinite(towards), towards > 0, np.nan)
        right = resampled_mean(is_right, resamples)
    return ImageSwapResult(
        unscored=int((~is_scored).sum()),
        units=len({unit for unit, scored in zip(units, is_scored, strict=True) if scored}),
        spread=float(np.std(scores[:, is_scored])) / span if is_scored.any() else None,
        control=_measure_control(scores / span, pairs, settings) if settings.has_control else None,
        overall=_summarize_scene(difference, resamples),
        scenes={
            scene: _measure_scene(difference[rows], [units[row] for row in rows], settings)
            for scene, rows in _group_by_scene(pairs).items()
        },
        shift=shift,
        right=right,
    )


def _score(scorer: Scorer, images: Sequence[tuple[bytes, ...]]) -> list[PostScore]:
    posts = [PostInput("", files) for files in images]
    return [
        result
        for start in range(0, len(posts), BATCH_SIZE)
        for result in scorer.score(posts[start : start + BATCH_SIZE])
    ]


def _subtract(women: Sequence[PostScore], men: Sequence[PostScore], axis: str) -> Array:
    """Return the score with a woman minus that with a man; NaN if either is missing: (n,)."""
    difference: Array = to_predictions(women, axis).values - to_predictions(men, axis).values
    return difference


def _group_by_scene(pairs: Sequence[ImagePair]) -> dict[str, npt.NDArray[np.intp]]:
    scenes = [pair.scene for pair in pairs]
    return {
        scene: np.flatnonzero([other == scene for other in scenes]) for scene in sorted(set(scenes))
    }


def _measure_scene(
    difference: Array, units: Sequence[str], settings: ImageSwapSettings
) -> SceneSwapResult:
    """Resample the units of a scene, or its pairs if they are one unit."""
    if len(set(units)) == 1:
        units = [str(number) for number in range(len(units))]
    return _summarize_scene(difference, _resample(units, settings))


def _measure_control(
    scores: Array, pairs: Sequence[ImagePair], settings: ImageSwapSettings
) -> Array | None:
    """Compare the images of each gender among the pairs of a scene; scores by gender, (2, n)."""
    apart, units = [], []
    for rows in _group_by_scene(pairs).values():
        for first, second in combinations(rows.tolist(), 2):
            apart += np.abs(scores[:, first] - scores[:, second]).tolist()
            units += [pairs[first].unit] * len(scores)
    return resampled_mean(np.array(apart), _resample(units, settings)) if apart else None


def _summarize_scene(difference: Array, resamples: Resamples) -> SceneSwapResult:
    return SceneSwapResult(
        n=int(np.isfinite(difference).sum()),
        change=resampled_mean(np.abs(difference), resamples),
        difference=resampled_mean(difference, resamples),
    )


def _resample(units: Sequence[str], settings: ImageSwapSettings) -> Resamples:
    rng = np.random.default_rng(settings.seed)
    return resample_authors(units, settings.replications, rng)
