"""Train a student from one or several seeds: end to end, or its head only on cached embeddings.

Only the head is trained if params freeze both encoders, or if a text or image student takes its
encoder from the fusion student. The latter is learning using privileged information (Vapnik &
Vashist, 2009): the image accounts for its own share of the labels while the fusion student's text
encoder is trained, which leaves less noise in what that encoder learns from. The head that is
trained on top still sees one modality only.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from postbias.axes import Axis
from postbias.student import distributed
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.embedding_cache import EmbeddedDataset, Embedder
from postbias.student.epoch_metrics import metric_values
from postbias.student.freezing import freeze
from postbias.student.network import Student
from postbias.student.trainer import FitResult, OnEpoch, fit
from postbias.student.training_setup import TrainingSetup

logger = logging.getLogger(__name__)

#: Opens the log of one seed's training run; yields a function to call after each epoch.
OnSeed = Callable[[int], AbstractContextManager[OnEpoch]]

_MAX_CACHED = 3  # students in store/encoders; older ones are deleted, they can be retrained
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
    fusion_epochs: int | None = None

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
    fusion = _fusion_student(setup, axes) if setup.job.has_fusion_encoders else None
    students, fits = [], []
    for offset in range(train.seeds):
        seed = setup.job.params.seed + offset
        with on_seed(seed) as on_epoch:
            student, result = _train_seed(setup, axes, seed, fusion, on_epoch)
        students.append(student)
        fits.append(result)
    best = 0
    if train.seeds > 1:
        sign = -1 if train.select_by == "spearman" else 1
        losses = [sign * result.best_row[f"valid_{train.select_by}"] for result in fits]
        best = losses.index(min(losses))
    fusion_epochs = fusion.best_fit.best_epoch if fusion else None
    return TrainedStudent(students[best], tuple(fits), best, fusion_epochs)


def _train_seed(
    setup: TrainingSetup,
    axes: tuple[Axis, ...],
    seed: int,
    fusion: TrainedStudent | None,
    on_epoch: OnEpoch,
) -> tuple[Student, FitResult]:
    job = setup.job
    transformers.set_seed(seed)
    if fusion is None:
        student = setup.new_student()
        freeze(student, text=job.params.train.freeze.text, image=job.params.train.freeze.image)
    else:
        student = _with_fusion_encoders(setup, fusion.student)
    checkpoints = job.paths.store / "checkpoints" / f"{job.modality}-{setup.cache_key(seed)[:16]}"
    if student.encoders_are_frozen:
        result = fit(
            student.head,
            _embed_folds(setup, student),
            axes,
            job.params,
            seed=seed,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
            n_epochs=setup.n_epochs,
        )
    else:
        result = fit(
            student,
            setup.datasets(),
            axes,
            job.params,
            seed=seed,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
            n_epochs=setup.n_epochs,
        )
    return student, result


def _with_fusion_encoders(setup: TrainingSetup, fusion: Student) -> Student:
    """Combine the fusion student's encoder of this modality with a new head."""
    train = setup.job.params.train
    student = Student(
        fusion.text if setup.job.has_text else None,
        fusion.image if setup.job.has_image else None,
        hidden=train.head_hidden,
        n_axes=setup.n_axes,
        dropout=train.dropout,
        bounded=train.loss == "cross_entropy",
    )
    freeze(student, text="all", image="all")
    return student


def _embed_folds(setup: TrainingSetup, student: Student) -> tuple[EmbeddedDataset, EmbeddedDataset]:
    """Embed the train and valid folds; augmentation and token dropout do not apply here."""
    job = setup.job
    train = job.params.train
    device = choose_device(train.device)
    embedder = Embedder(
        student,
        job.paths.store / "embeddings",
        device=device,
        bf16=uses_bf16(train.precision, device),
    )
    train_rows, valid_rows = setup.usable_rows()
    if (n_processes := distributed.process_count()) > 1:
        # Each process embeds its share into the store, from which all then read everything.
        for examples, rows in ((setup.train, train_rows), (setup.valid, valid_rows)):
            embedder.embed(examples, rows[distributed.process_rank() :: n_processes])
        distributed.barrier()
    dropout = train.modality_dropout if job.modality == "fusion" else 0.0
    return (
        EmbeddedDataset(
            embedder.embed(setup.train, train_rows),
            setup.train.labels[train_rows],
            modality_dropout=dropout,
        ),
        EmbeddedDataset(embedder.embed(setup.valid, valid_rows), setup.valid.labels[valid_rows]),
    )


def _fusion_student(setup: TrainingSetup, axes: tuple[Axis, ...]) -> TrainedStudent:
    """Load the fusion student of the same posts and params, or train it."""
    fusion_setup = setup.for_modality("fusion")
    trained = load_cached(fusion_setup)
    if trained is None:
        logger.info("training the fusion student for its encoders")
        trained = train_or_load(fusion_setup, axes, lambda _: nullcontext(lambda *_: None))
    return trained


def train_or_load(setup: TrainingSetup, axes: tuple[Axis, ...], on_seed: OnSeed) -> TrainedStudent:
    """Train a student, with a cache for fusion students whose encoders others take over.

    Cross-fitted students are all cached, so that a killed run does not train them again.

    Args:
        setup: The job and its data.
        axes: Axes in label order, the main axis first.
        on_seed: Opens the log of one seed's training run; called for a cached student too.

    Returns:
        The best student, and the result of every run.
    """
    train = setup.job.params.train
    is_shared = setup.job.modality == "fusion" and train.ablation == "heads"
    is_cross_fitted = train.cross_fit is not None
    if (is_shared or is_cross_fitted) and (trained := load_cached(setup)):
        for offset, result in enumerate(trained.fits):
            with on_seed(setup.job.params.seed + offset) as on_epoch:
                for row in result.curve:
                    on_epoch(int(row["epoch"]), metric_values(row))
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
