"""Distillation: labels and posts in, one trained student out, as a complete artifact.

The whole way of one cell of the ablation matrix: read the folds, train, export, and measure on the
calib fold how wide the intervals must be. Intervals rest on the scores that ship (int8, clipped).
Knows nothing of the other students; which of them is best is for `postbias.evidence`.
"""

from __future__ import annotations

import hashlib
import logging
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
import transformers

from postbias.axes import Axis
from postbias.errors import ParamsError
from postbias.json_files import write_json
from postbias.params import Modality
from postbias.scoring.manifest import Manifest
from postbias.student import distributed as processes
from postbias.student.compute_device import choose_device
from postbias.student.export import export_student
from postbias.student.fitting import Learned, OnSeed, learn, learn_and_remember
from postbias.student.interval_fitting import add_intervals, add_reference
from postbias.student.training_setup import Cell, Labels, Lesson, read_folds, read_lesson
from postbias.teacher.rubric import Rubric, load_rubric

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths
    from postbias.student.training import Fit

logger = logging.getLogger(__name__)

Report = dict[str, float]


@dataclass(frozen=True, slots=True)
class Distilled:
    """What one cell of the ablation matrix came to.

    Attributes:
        digest: Of the artifact.
        report: What `reports/train/<modality>.json` says.
        fit: How training went.
    """

    digest: str
    report: Report
    fit: Fit


def distil(paths: Paths, params: Params, modality: str, on_seed: OnSeed) -> Distilled:
    """Train one student and write its artifact, report and learning curve.

    Args:
        paths: The repository; reads posts, labels and folds, writes
            `build/students/<modality>/`, `reports/train/<modality>.json` and
            `reports/curves/<modality>.csv`.
        params: All parameters.
        modality: `fusion`, `text` or `image`.
        on_seed: Called with each seed; opens its log.

    Returns:
        The artifact's digest and what was reported.

    Raises:
        CorpusError: If a fold has too few posts that this modality can use.
        ParamsError: If there is no such modality.
        WeightsError: If pretrained weights cannot be had.
    """
    distilled = distil_into(paths.students / modality, paths, params, modality, on_seed)
    write_json(paths.reports / "train" / f"{modality}.json", distilled.report)
    _write_curve(distilled.fit, paths.reports / "curves" / f"{modality}.csv")
    return distilled


def distil_into(
    folder: Path,
    paths: Paths,
    params: Params,
    modality: str,
    on_seed: OnSeed,
    *,
    share: float = 1.0,
) -> Distilled:
    """Train one student and write its artifact.

    Args:
        folder: The artifact's.
        paths: The repository; reads posts, labels and folds.
        params: All parameters.
        modality: `fusion`, `text` or `image`.
        on_seed: Called with each seed; opens its log.
        share: Share of the train fold to learn from.

    Returns:
        The artifact's digest and how training went.

    Raises:
        CorpusError: If a fold has too few posts that this modality can use.
        ParamsError: If there is no such modality.
        WeightsError: If pretrained weights cannot be had.
    """
    folds = read_folds(paths, share=share)
    with _lesson(paths, params, modality, folds) as (lesson, rubric):
        # Nobody borrows from a student that learned from a part.
        learned = _together(learn_and_remember if share == 1 else learn, lesson, rubric, on_seed)
        manifest = Manifest(
            axes=_axes(rubric),
            rubric=rubric.ref,
            training_digest=_training_digest(folds),
            n_train=len(lesson.usable()[0]),
            **lesson.cell.sizes(),
        )
        tokenizer = lesson.tokenizer if lesson.cell.has_text else None
        export_student(learned.student, manifest, tokenizer, lesson.calibration(), folder)
        report = _report(learned, lesson)
    coverage = params.evaluate.coverage
    add_intervals(folder, paths.posts, folds["calib"], coverage=coverage, threads=params.threads)
    artifact = add_reference(
        folder, paths.posts, folds["train"], folds["calib"], threads=params.threads
    )
    return Distilled(artifact.digest, report, learned.fits[learned.best])


def assist(paths: Paths, params: Params, modality: str) -> None:
    """Train a student beside the first process that `torchrun` started; write nothing.

    Args:
        paths: The repository; reads posts, labels and folds.
        params: All parameters.
        modality: `fusion`, `text` or `image`.

    Raises:
        CorpusError: If a fold has too few posts that this modality can use.
        ParamsError: If there is no such modality.
        WeightsError: If pretrained weights cannot be had.
    """
    with _lesson(paths, params, modality, read_folds(paths)) as (lesson, rubric):
        _together(learn_and_remember, lesson, rubric, lambda _: nullcontext(lambda *_: None))


@contextmanager
def _lesson(
    paths: Paths, params: Params, modality: str, folds: dict[str, Labels]
) -> Iterator[tuple[Lesson, Rubric]]:
    if modality not in (allowed := get_args(Modality)):
        raise ParamsError("no such modality", seen=modality, allowed=", ".join(allowed))
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling memory that is about to be written takes 5% of a step and changes nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    rubric = load_rubric(paths.root / params.annotate.rubric)
    with tempfile.TemporaryDirectory(prefix="postbias-") as scratch:
        yield read_lesson(Cell(paths, params, modality, Path(scratch)), folds), rubric


def _together(
    how: Callable[[Lesson, tuple[Axis, ...], OnSeed], Learned],
    lesson: Lesson,
    rubric: Rubric,
    on_seed: OnSeed,
) -> Learned:
    with processes.together(choose_device(lesson.cell.params.train.device)):
        return how(lesson, _axes(rubric), on_seed)


def _axes(rubric: Rubric) -> tuple[Axis, ...]:
    return tuple(Axis(axis.name, axis.low, axis.high) for axis in rubric.axes)


def _training_digest(folds: dict[str, Labels]) -> str:
    """Return the SHA-256 of which posts, with which labels, a student learned from."""
    hasher = hashlib.sha256()
    for fold in ("train", "valid"):
        for post_id, values in sorted(folds[fold].items()):
            hasher.update(f"{fold}\0{post_id}\0".encode() + values.tobytes())
    return hasher.hexdigest()


def _report(learned: Learned, lesson: Lesson) -> Report:
    best = learned.fits[learned.best]
    n_train, n_valid = map(len, lesson.usable())
    weights = list(learned.student.parameters())
    report = {
        "n_train": n_train,
        "n_valid": n_valid,
        "epochs": len(best.curve),
        "best_epoch": best.best_epoch,
        "parameters": sum(p.numel() for p in weights),
        "trained_parameters": sum(p.numel() for p in weights if p.requires_grad),
        "seeds": len(learned.fits),
        "best_seed": lesson.cell.params.seed + learned.best,
        **{name: value for name, value in best.best.items() if name.startswith("valid_")},
    }
    if len(learned.fits) > 1:
        for name in ("valid_mae", "valid_rmse"):
            values = [outcome.best[name] for outcome in learned.fits]
            report[f"{name}_sd_over_seeds"] = statistics.stdev(values)
    return report


def _write_curve(outcome: Fit, path: Path) -> None:
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    curve = pd.DataFrame(list(outcome.curve)).drop(columns="step").set_index("epoch")
    curve.to_csv(path, float_format="%.6g")
