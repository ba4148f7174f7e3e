"""Trains students on shares of the labels, to see what more labels would buy."""

from __future__ import annotations

import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from postbias.errors import CorpusError
from postbias.evaluation.learning_curve import describe_shares, write_points
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.student.distillation import distil_into

logger = logging.getLogger(__name__)


def learn_shares(paths: Paths, params: Params) -> dict[str, Any]:
    """Train the first modality's student on shares of the train fold and measure each on test.

    Args:
        paths: The repository; reads posts, labels, folds and the student that learned from all;
            writes `reports/learning_curve.json` and `reports/plots/learning_curve.csv`.
        params: All parameters; the shares are `evaluate.learning_curve`.

    Returns:
        What was written, as `describe_shares` says.

    Raises:
        WeightsError: If pretrained weights cannot be had.
    """
    modality = params.train.modalities[0]
    with tempfile.TemporaryDirectory(prefix="postbias-shares-") as name:
        artifacts: dict[float, Path] = {}
        for share in params.evaluate.learning_curve:
            folder = Path(name) / f"{share:g}"
            logger.info("a %s student on %g%% of the train fold", modality, 100 * share)
            try:
                distil_into(folder, paths, params, modality, _unlogged, share=share)
            except CorpusError as error:  # all of the train fold was enough: the share is not
                logger.warning("%g%% is left out of the learning curve: %s", 100 * share, error)
                continue
            artifacts[share] = folder
        artifacts[1.0] = paths.students / modality
        report = describe_shares(paths, params, artifacts)
    write_json(paths.reports / "learning_curve.json", report)
    write_points(report, paths.reports / "plots" / "learning_curve.csv")
    return report


def _unlogged(_: int) -> Any:  # noqa: ANN401 - a context manager of a callable
    return nullcontext(lambda *_: None)
