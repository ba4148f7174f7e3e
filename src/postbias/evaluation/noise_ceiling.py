"""What no model could better on the demo's test fold, whose truth is planted.

A ceiling is measured as a student is: on the very posts that it can score, against the very answers
that it is judged by. That of all posts that could have been drawn differs from it by as much as
folds differ by chance, and so would the share that a student reaches.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.evaluation.measure import Bench, StudentEvidence
from postbias.paths import Paths
from postbias.stats.bootstrap import Array
from postbias.stats.metrics import Predictions

logger = logging.getLogger(__name__)

#: Posts that are simulated: the means that the best model answers are then as good as exact.
_SIMULATED = 1_000_000


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How well the best model does on the posts that one student can score.

    Attributes:
        r2: Replicates of its R². (1 + R,)
        reached: Replicates of the share of it that the student reaches. (1 + R,)
    """

    r2: Array
    reached: Array


def measure_ceilings(
    paths: Paths, test: Bench, students: Mapping[str, StudentEvidence], seed: int
) -> dict[str, dict[str, Ceiling]]:
    """Measure the ceilings of the demo corpus.

    Args:
        paths: The repository; reads the planted truth, where there is any.
        test: The bench of the test fold.
        students: The students by modality.
        seed: Of the simulation.

    Returns:
        By modality, then axis; empty for a corpus whose truth nobody planted.
    """
    planted = paths.data / "truth.parquet"
    if not planted.is_file():
        return {}
    from postbias.demo.ground_truth import optimal_predictions, read_cues

    cues = read_cues(planted, test.fold.post_ids)
    if cues is None:
        logger.info("%s is of another corpus: no ceilings", planted)
        return {}
    best = optimal_predictions(cues, _SIMULATED, seed)
    found: dict[str, dict[str, Ceiling]] = {name: {} for name in students}
    for name, student in students.items():
        for column, axis in enumerate(test.axes):
            said = student.test.by_axis[axis.name]
            unknown = np.full(len(test.fold), np.nan)
            ideal = Predictions(best[name][axis.name], unknown, unknown)
            rows = said.is_scored & ideal.is_scored
            r2, own = (test.measure_axis(column, one.only(rows))["r2"] for one in (ideal, said))
            with np.errstate(divide="ignore", invalid="ignore"):
                found[name][axis.name] = Ceiling(r2, own / r2)
    return found
