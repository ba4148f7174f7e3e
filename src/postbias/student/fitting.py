"""From a lesson to a trained student: all of it, or a head on encoders that no longer change.

Encoders no longer change when params freeze them whole, or when a text or image student borrows
those of the fusion student. The second is learning with privileged information (Vapnik & Vashist,
2009): while the fusion student learned to read captions, its pictures explained their own part of
the labels, so that less of them was noise to the caption encoder. Its heads see one modality only.
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
from safetensors.torch import load_file, save_file

from postbias.axes import Axis
from postbias.student import distributed as processes
from postbias.student.compute_device import choose_device, uses_bf16
from postbias.student.embedding_cache import EmbeddedDataset, Embedder
from postbias.student.epoch_metrics import metrics_of
from postbias.student.freezing import freeze
from postbias.student.network import Student
from postbias.student.training import Fit, OnEpoch, fit
from postbias.student.training_setup import Lesson

logger = logging.getLogger(__name__)

#: Opens the log of one seed's training and gives what is called after each of its epochs.
OnSeed = Callable[[int], AbstractContextManager[OnEpoch]]

_KEPT = 3  # fusion students kept for their encoders; more can always be trained again
_WEIGHTS, _FIT = "weights.safetensors", "fit.json"


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained student.

    Attributes:
        student: The one that was best on the valid fold.
        fits: What training came to, for each seed.
        best: Which of them is the student's.
    """

    student: Student
    fits: tuple[Fit, ...]
    best: int


def learn(lesson: Lesson, axes: tuple[Axis, ...], on_seed: OnSeed) -> Learned:
    """Train a student from each seed and keep the best on the valid fold.

    Args:
        lesson: What it learns from.
        axes: The axes in label order, the main one first.
        on_seed: Called with each seed.

    Returns:
        The student and how training went.

    Raises:
        CorpusError: If a fold has too few posts that this student can use.
        WeightsError: If pretrained weights cannot be had.
    """
    train = lesson.cell.params.train
    fusion = _fusion_student(lesson, axes) if lesson.cell.borrows else None
    students, fits = [], []
    for number in range(train.seeds):
        seed = lesson.cell.params.seed + number
        with on_seed(seed) as on_epoch:
            student, outcome = _learn_once(lesson, axes, seed, fusion, on_epoch)
        students.append(student)
        fits.append(outcome)
    sign = -1 if train.select_by == "spearman" else 1
    scores = [sign * outcome.best[f"valid_{train.select_by}"] for outcome in fits]
    best = scores.index(min(scores))
    return Learned(students[best], tuple(fits), best)


def _learn_once(
    lesson: Lesson,
    axes: tuple[Axis, ...],
    seed: int,
    fusion: Student | None,
    on_epoch: OnEpoch,
) -> tuple[Student, Fit]:
    cell = lesson.cell
    transformers.set_seed(seed)
    if fusion is None:
        student = lesson.new_student()
        freeze(student, text=cell.params.train.freeze.text, image=cell.params.train.freeze.image)
    else:
        student = _borrowing(lesson, fusion)
    checkpoints = cell.paths.store / "checkpoints" / f"{cell.modality}-{lesson.key(seed)[:16]}"
    if student.encoders_are_frozen:
        folds = _embedded(lesson, student)
        outcome = fit(
            student.head,
            folds,
            axes,
            cell.params,
            seed=seed,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
        )
    else:
        outcome = fit(
            student,
            lesson.datasets(),
            axes,
            cell.params,
            seed=seed,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
        )
    return student, outcome


def _borrowing(lesson: Lesson, fusion: Student) -> Student:
    """Make a student of one modality from the fusion student's encoder and a new head."""
    train = lesson.cell.params.train
    student = Student(
        fusion.text if lesson.cell.has_text else None,
        fusion.image if lesson.cell.has_image else None,
        hidden=train.head_hidden,
        n_axes=lesson.n_axes,
        dropout=train.dropout,
        bounded=train.loss == "cross_entropy",
    )
    freeze(student, text="all", image="all")
    return student


def _embedded(lesson: Lesson, student: Student) -> tuple[EmbeddedDataset, EmbeddedDataset]:
    """Embed the folds; the augmentation that params ask for has no place here."""
    cell = lesson.cell
    train = cell.params.train
    device = choose_device(train.device)
    embedder = Embedder(
        student,
        cell.paths.store / "embeddings",
        device=device,
        bf16=uses_bf16(train.precision, device),
    )
    train_rows, valid_rows = lesson.usable()
    if (together := processes.count()) > 1:  # each embeds its share, all read the store
        for examples, rows in ((lesson.train, train_rows), (lesson.valid, valid_rows)):
            embedder.embed(examples, rows[processes.number() :: together])
        processes.wait()
    dropout = train.modality_dropout if cell.modality == "fusion" else 0.0
    return (
        EmbeddedDataset(
            embedder.embed(lesson.train, train_rows),
            lesson.train.labels[train_rows],
            modality_dropout=dropout,
        ),
        EmbeddedDataset(embedder.embed(lesson.valid, valid_rows), lesson.valid.labels[valid_rows]),
    )


def _fusion_student(lesson: Lesson, axes: tuple[Axis, ...]) -> Student:
    """Return the fusion student of these posts and params: from the store, or trained now."""
    ours = lesson.of("fusion")
    learned = remembered(ours)
    if learned is None:
        logger.info("training the fusion student for its encoders")
        learned = learn_and_remember(ours, axes, lambda _: nullcontext(lambda *_: None))
    return learned.student


def learn_and_remember(lesson: Lesson, axes: tuple[Axis, ...], on_seed: OnSeed) -> Learned:
    """Train a student, or take it from the store; keep it there if others borrow from it.

    Args:
        lesson: What it learns from.
        axes: The axes in label order, the main one first.
        on_seed: Called with each seed, also for what an earlier run trained.

    Returns:
        The student and how training went.
    """
    train = lesson.cell.params.train
    lends = lesson.cell.modality == "fusion" and train.ablation == "heads"
    if lends and (learned := remembered(lesson)):
        for number, outcome in enumerate(learned.fits):
            with on_seed(lesson.cell.params.seed + number) as on_epoch:
                for row in outcome.curve:
                    on_epoch(int(row["epoch"]), metrics_of(row))
        return learned
    learned = learn(lesson, axes, on_seed)
    if lends and len(train.modalities) > 1 and processes.is_first():
        _remember(lesson, learned)
    return learned


def remembered(lesson: Lesson) -> Learned | None:
    """Look a student up in the store.

    Args:
        lesson: What it learned from.

    Returns:
        The student, or None if the store does not have it whole.
    """
    folder = _place(lesson)
    if not processes.agree((folder / _FIT).exists()):
        return None
    logger.info("taking the fusion student from %s", folder)
    student = lesson.new_student()
    student.load_state_dict(load_file(folder / _WEIGHTS))
    record = json.loads((folder / _FIT).read_text(encoding="utf-8"))
    fits = tuple(Fit(tuple(one["curve"]), one["best_epoch"]) for one in record["fits"])
    return Learned(student, fits, record["best"])


def _remember(lesson: Lesson, learned: Learned) -> None:
    folder = _place(lesson)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {name: value.cpu().contiguous() for name, value in learned.student.state_dict().items()}
    save_file(state, folder / _WEIGHTS, {"format": "pt"})
    record = {"best": learned.best, "fits": [asdict(outcome) for outcome in learned.fits]}
    temporary = folder / f".{_FIT}"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(folder / _FIT)  # last: without it the folder is not whole
    others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[_KEPT:]:
        shutil.rmtree(old)


def _place(lesson: Lesson) -> Path:
    cell = lesson.cell
    key = f"{lesson.key(cell.params.seed)[:24]}-{cell.params.train.seeds}"
    return cell.paths.store / "encoders" / key
