"""Train students on subsets of the labels, to estimate what additional labels would improve."""

from __future__ import annotations

import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from postbias.errors import CorpusError
from postbias.evaluation.learning_curve import measure_learning_curve, write_curve_csv
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.student.distillation import distil_artifact

logger = logging.getLogger(__name__)


def train_on_subsets(paths: Paths, params: Params) -> dict[str, Any]:
    """Train the first modality's student on shares of the train fold and evaluate each on test.

    Writes `reports/learning_curve.json` and `reports/plots/learning_curve.csv`. The student of the
    whole train fold is read from `build/students/`, not trained again.

    Args:
        paths: The repository, with posts, labels, folds and students.
        params: All parameters; `evaluate.learning_curve` lists the shares.

    Returns:
        The report, as `measure_learning_curve` returns it.

    Raises:
        WeightsError: If pretrained weights cannot be loaded.
    """
    modality = params.train.modalities[0]
    with tempfile.TemporaryDirectory(prefix="postbias-shares-") as name:
        artifacts: dict[float, Path] = {}
        for share in params.evaluate.learning_curve:
            folder = Path(name) / f"{share:g}"
            logger.info("training the %s student on %g%% of the train fold", modality, 100 * share)
            try:
                distil_artifact(folder, paths, params, modality, _without_log, share=share)
            except CorpusError as error:  # the whole train fold was large enough, this share is not
                logger.warning("learning curve without %g%%: %s", 100 * share, error)
                continue
            artifacts[share] = folder
        artifacts[1.0] = paths.students / modality
        report = measure_learning_curve(paths, params, artifacts)
    write_json(paths.reports / "learning_curve.json", report)
    write_curve_csv(report, paths.reports / "plots" / "learning_curve.csv")
    return report


def _without_log(_: int) -> Any:  # noqa: ANN401 - a context manager of a callable
    return nullcontext(lambda *_: None)
