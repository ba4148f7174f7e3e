"""Train a student from one or several seeds, and cache those from which others start."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from postbias.axes import Axis
from postbias.student import distributed
from postbias.student.epoch_metrics import metric_values
from postbias.student.evaluation_schedule import OnEvaluation, number_evaluations
from postbias.student.network import Student
from postbias.student.student_fitting import fit_from_seed
from postbias.student.trainer import FitResult
from postbias.student.training_setup import TrainingSetup

logger = logging.getLogger(__name__)

#: Opens the log of one seed's training run; yields a function to call after each evaluation.
OnSeed = Callable[[int], AbstractContextManager[OnEvaluation]]

_MAX_CACHED = 6  # students in store/encoders; older ones are deleted, they can be retrained
_WEIGHTS, _FIT = "weights.safetensors", "fit.json"


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """The best of several training runs that differ in their seed.

    Attributes:
        student: The student with the best score on the valid fold.
        fits: Result of each run, in the order of the seeds.
        best_index: Position of the student's own run in `fits`.
        fusion_epochs: Best epoch of the fusion student that it took its encoders from, if any.
    """

    student: Student
    fits: tuple[FitResult, ...]
    best_index: int
    fusion_epochs: float | None = None

    @property
    def best_fit(self) -> FitResult:
        """Result of the student's own run."""
        return self.fits[self.best_index]


def train_seeds(setup: TrainingSetup, axes: tuple[Axis, ...], on_seed: OnSeed) -> TrainedStudent:
    """Train a student from each seed and keep the one with the best score on the valid fold.

    Args:
        setup: The job and its data.
        axes: Axes in label order, the main axis first.
        on_seed: Opens the log of one seed's training run.

    Returns:
        The best student, and the result of every run.

    Raises:
        CorpusError: If a fold has too few usable posts.
        WeightsError: If pretrained weights cannot be loaded.
    """
    train = setup.job.params.train
    others = _other_students(setup, axes)
    parts = {modality: other.student for modality, other in others.items()}
    students, fits = [], []
    for offset in range(train.seeds):
        seed = setup.job.params.seed + offset
        with on_seed(seed) as on_evaluation:
            student, result = fit_from_seed(setup, axes, parts, seed, on_evaluation)
        students.append(student)
        fits.append(result)
    best = 0
    if train.seeds > 1:
        sign = -1 if train.select_by == "spearman" else 1
        losses = [sign * result.best_row[f"valid_{train.select_by}"] for result in fits]
        best = losses.index(min(losses))
    fusion = others.get("fusion")
    fusion_epochs = fusion.best_fit.best_epoch if fusion else None
    return TrainedStudent(students[best], tuple(fits), best, fusion_epochs)


def _other_students(setup: TrainingSetup, axes: tuple[Axis, ...]) -> dict[str, TrainedStudent]:
    """Load the students that this one starts from, or train them."""
    if setup.job.has_fusion_encoders:
        needed = ["fusion"]
    else:
        needed = ["text", "image"] if setup.job.starts_from_parts else []
    students = {}
    for modality in needed:
        logger.info("the %s student starts from the %s student", setup.job.modality, modality)
        other = setup.for_modality(modality)
        students[modality] = train_or_load(other, axes, lambda _: nullcontext(lambda *_: None))
    return students


def train_or_load(setup: TrainingSetup, axes: tuple[Axis, ...], on_seed: OnSeed) -> TrainedStudent:
    """Train a student, with a cache for students from which others start.

    Cross-fitted students are all cached, so that a killed run does not train them again.

    Args:
        setup: The job and its data.
        axes: Axes in label order, the main axis first.
        on_seed: Opens the log of one seed's training run; called for a cached student too.

    Returns:
        The best student, and the result of every run.
    """
    train = setup.job.params.train
    is_shared = (
        train.ablation == "heads"
        if setup.job.modality == "fusion"
        else train.fusion == "parts" and "fusion" in train.modalities
    )
    is_cross_fitted = train.cross_fit is not None
    if (is_shared or is_cross_fitted) and (trained := load_cached(setup)):
        for offset, result in enumerate(trained.fits):
            with on_seed(setup.job.params.seed + offset) as on_evaluation:
                for number, row in number_evaluations(result.curve):
                    on_evaluation(number, metric_values(row))
        return trained
    trained = train_seeds(setup, axes, on_seed)
    is_needed = is_cross_fitted or (is_shared and len(train.modalities) > 1)
    if is_needed and distributed.is_main_process():
        _save_to_cache(setup, trained)
    return trained


def load_cached(setup: TrainingSetup) -> TrainedStudent | None:
    """Load a student from `store/encoders`; None if it is missing, incomplete or damaged."""
    folder = _cache_folder(setup)
    if not distributed.broadcast_value((folder / _FIT).exists()):
        return None
    logger.info("loading the %s student from %s", setup.job.modality, folder)
    student = setup.new_student()
    try:
        student.load_state_dict(load_file(folder / _WEIGHTS))
        record = json.loads((folder / _FIT).read_text(encoding="utf-8"))
        fits = tuple(FitResult(tuple(run["curve"]), run["best_epoch"]) for run in record["fits"])
        os.utime(folder)  # the least recently used ones are deleted
        return TrainedStudent(student, fits, record["best"], record.get("fusion_epochs"))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        logger.warning("%s is damaged: the %s student is trained again", folder, setup.job.modality)
        return None


def _save_to_cache(setup: TrainingSetup, trained: TrainedStudent) -> None:
    folder = _cache_folder(setup)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {name: value.cpu().contiguous() for name, value in trained.student.state_dict().items()}
    save_file(state, folder / _WEIGHTS, {"format": "pt"})
    record = {
        "best": trained.best_index,
        "fits": [asdict(result) for result in trained.fits],
        "fusion_epochs": trained.fusion_epochs,
    }
    temporary = folder / f".{_FIT}"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(folder / _FIT)  # written last: its presence marks the folder as complete
    newest = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    # All cross-fitted text or image students, and the fusion students that they need again.
    n_students = (setup.job.params.train.cross_fit or -1) + 1
    for old in newest[_MAX_CACHED + 2 * n_students :]:
        shutil.rmtree(old)


def _cache_folder(setup: TrainingSetup) -> Path:
    job = setup.job
    key = f"{setup.cache_key(job.params.seed)[:24]}-{job.params.train.seeds}"
    return job.paths.store / "encoders" / key
