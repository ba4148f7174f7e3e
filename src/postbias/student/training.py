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

_MAX_CACHED = 3  # fusion students in store/encoders; older ones are deleted, they can be retrained
_WEIGHTS, _FIT = "weights.safetensors", "fit.json"


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """The best of several training runs that differ in their seed.

    Attributes:
        student: The student with the best score on the valid fold.
        fits: Result of each run, in the order of the seeds.
        best_index: Position of the student's own run in `fits`.
    """

    student: Student
    fits: tuple[FitResult, ...]
    best_index: int


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
    sign = -1 if train.select_by == "spearman" else 1
    losses = [sign * result.best_row[f"valid_{train.select_by}"] for result in fits]
    best = losses.index(min(losses))
    return TrainedStudent(students[best], tuple(fits), best)


def _train_seed(
    setup: TrainingSetup,
    axes: tuple[Axis, ...],
    seed: int,
    fusion: Student | None,
    on_epoch: OnEpoch,
) -> tuple[Student, FitResult]:
    job = setup.job
    transformers.set_seed(seed)
    if fusion is None:
        student = setup.new_student()
        freeze(student, text=job.params.train.freeze.text, image=job.params.train.freeze.image)
    else:
        student = _with_fusion_encoders(setup, fusion)
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


def _fusion_student(setup: TrainingSetup, axes: tuple[Axis, ...]) -> Student:
    """Load the fusion student of the same posts and params, or train it."""
    fusion_setup = setup.for_modality("fusion")
    trained = load_cached(fusion_setup)
    if trained is None:
        logger.info("training the fusion student for its encoders")
        trained = train_or_load(fusion_setup, axes, lambda _: nullcontext(lambda *_: None))
    return trained.student


def train_or_load(setup: TrainingSetup, axes: tuple[Axis, ...], on_seed: OnSeed) -> TrainedStudent:
    """Train a student, with a cache for a fusion student whose encoders others take over.

    Args:
        setup: The job and its data.
        axes: Axes in label order, the main axis first.
        on_seed: Opens the log of one seed's training run; called for a cached student too.

    Returns:
        The best student, and the result of every run.
    """
    train = setup.job.params.train
    is_shared = setup.job.modality == "fusion" and train.ablation == "heads"
    if is_shared and (trained := load_cached(setup)):
        for offset, result in enumerate(trained.fits):
            with on_seed(setup.job.params.seed + offset) as on_epoch:
                for row in result.curve:
                    on_epoch(int(row["epoch"]), metric_values(row))
        return trained
    trained = train_seeds(setup, axes, on_seed)
    if is_shared and len(train.modalities) > 1 and distributed.is_main_process():
        _save_to_cache(setup, trained)
    return trained


def load_cached(setup: TrainingSetup) -> TrainedStudent | None:
    """Load a student from `store/encoders`; None if it is missing, incomplete or damaged."""
    folder = _cache_folder(setup)
    if not distributed.broadcast_value((folder / _FIT).exists()):
        return None
    logger.info("loading the fusion student from %s", folder)
    student = setup.new_student()
    try:
        student.load_state_dict(load_file(folder / _WEIGHTS))
        record = json.loads((folder / _FIT).read_text(encoding="utf-8"))
        fits = tuple(FitResult(tuple(run["curve"]), run["best_epoch"]) for run in record["fits"])
        return TrainedStudent(student, fits, record["best"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        logger.warning("%s is damaged: the fusion student is trained again", folder)
        return None


def _save_to_cache(setup: TrainingSetup, trained: TrainedStudent) -> None:
    folder = _cache_folder(setup)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {name: value.cpu().contiguous() for name, value in trained.student.state_dict().items()}
    save_file(state, folder / _WEIGHTS, {"format": "pt"})
    record = {"best": trained.best_index, "fits": [asdict(result) for result in trained.fits]}
    temporary = folder / f".{_FIT}"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(folder / _FIT)  # written last: its presence marks the folder as complete
    newest = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest[_MAX_CACHED:]:
        shutil.rmtree(old)


def _cache_folder(setup: TrainingSetup) -> Path:
    job = setup.job
    key = f"{setup.cache_key(job.params.seed)[:24]}-{job.params.train.seeds}"
    return job.paths.store / "encoders" / key
