"""Noise ceilings on the demo corpus: the R² of a model that knows the ground truth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.evaluation_set import EvaluationSet, StudentResults
from postbias.paths import Paths
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions

logger = logging.getLogger(__name__)

#: Simulated posts; enough for the expected labels of the best model to be practically exact.
_SIMULATED_POSTS = 1_000_000


@dataclass(frozen=True, slots=True)
class NoiseCeiling:
    """R² of the best possible model on the posts that one student can score.

    Attributes:
        r2: Replicates of its R². (1 + R,)
        reached: Replicates of the share of it that the student reaches. (1 + R,)
    """

    r2: Array
    reached: Array


def measure_noise_ceilings(
    paths: Paths, test: EvaluationSet, students: Mapping[str, StudentResults], seed: int
) -> dict[str, dict[str, NoiseCeiling]]:
    """Measure the noise ceilings of the demo corpus.

    A ceiling is measured like a student, on the posts that it can score and against their noisy
    labels: the ceiling of the whole population differs from it as much as folds differ by chance.

    Args:
        paths: The repository, with the ground truth if it is that of the demo.
        students: Results by modality.
        seed: Seed of the simulation.

    Returns:
        Ceilings by modality and axis; empty for a corpus without ground truth.
    """
    truth = paths.sampled_file("data/truth.parquet")
    if not truth.is_file():
        return {}
    from postbias.demo.ground_truth import optimal_predictions, read_cues

    cues = read_cues(truth, test.fold.post_ids)
    if cues is None:
        logger.info("no noise ceilings: %s belongs to another corpus", truth)
        return {}
    optimal = optimal_predictions(cues, _SIMULATED_POSTS, seed)
    ceilings: dict[str, dict[str, NoiseCeiling]] = {name: {} for name in students}
    for name, student in students.items():
        for column, axis in enumerate(test.axes):
            own = student.test.by_axis[axis.name]
            undefined = np.full(len(test.fold), np.nan)
            best = Predictions(optimal[name][axis.name], undefined, undefined)
            rows = own.is_scored & best.is_scored
            best_r2, own_r2 = (
                test.measure_axis(column, predictions.restrict(rows))["r2"]
                for predictions in (best, own)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                ceilings[name][axis.name] = NoiseCeiling(best_r2, own_r2 / best_r2)
    return ceilings
