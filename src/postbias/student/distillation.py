"""Distil the teacher's labels into a student: train, export, and add intervals to the artifact."""

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
from postbias.student import distributed
from postbias.student.compute_device import choose_device
from postbias.student.export import export_student
from postbias.student.interval_fitting import add_intervals, add_reference_profile
from postbias.student.training import OnSeed, TrainedStudent, train_or_load, train_seeds
from postbias.student.training_setup import (
    LabelsByPost,
    TrainingJob,
    TrainingSetup,
    load_training_setup,
    read_fold_labels,
)
from postbias.teacher.rubric import Rubric, load_rubric

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths
    from postbias.student.trainer import FitResult

logger = logging.getLogger(__name__)

TrainingReport = dict[str, float]


@dataclass(frozen=True, slots=True)
class DistillationResult:
    """A finished student.

    Attributes:
        digest: Digest of its artifact.
        report: Content of `reports/train/<modality>.json`.
        fit: Learning curve of the seed that was kept.
    """

    digest: str
    report: TrainingReport
    fit: FitResult


def distil_student(
    paths: Paths, params: Params, modality: str, on_seed: OnSeed
) -> DistillationResult:
    """Train a student and write its artifact, report and learning curve.

    Writes `build/students/<modality>/`, `reports/train/<modality>.json` and
    `reports/curves/<modality>.csv`.

    Args:
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.
        on_seed: Opens the log of one seed's training run.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    result = distil_artifact(paths.students / modality, paths, params, modality, on_seed)
    write_json(paths.reports / "train" / f"{modality}.json", result.report)
    _write_curve(result.fit, paths.reports / "curves" / f"{modality}.csv")
    return result


def distil_artifact(
    folder: Path,
    paths: Paths,
    params: Params,
    modality: str,
    on_seed: OnSeed,
    *,
    share: float = 1.0,
) -> DistillationResult:
    """Train a student and write its artifact only.

    Args:
        folder: Folder of the artifact.
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.
        on_seed: Opens the log of one seed's training run.
        share: Share of the train fold to use.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    folds = read_fold_labels(paths, share=share)
    with _open_setup(paths, params, modality, folds) as (setup, rubric):
        # Only a fusion student of the whole train fold is cached for the other modalities.
        train = train_or_load if share == 1 else train_seeds
        trained = _train_in_group(train, setup, rubric, on_seed)
        manifest = Manifest(
            axes=_axes(rubric),
            rubric=rubric.ref,
            training_digest=_training_digest(folds),
            n_train=len(setup.usable_rows()[0]),
            **setup.job.manifest_fields(),
        )
        tokenizer = setup.tokenizer if setup.job.has_text else None
        export_student(trained.student, manifest, tokenizer, setup.quantization_posts(), folder)
        report = _report(trained, setup)
    coverage = params.evaluate.coverage
    add_intervals(folder, paths, folds["calib"], coverage=coverage, threads=params.threads)
    artifact = add_reference_profile(
        folder, paths, folds["train"], folds["calib"], threads=params.threads
    )
    return DistillationResult(artifact.digest, report, trained.fits[trained.best_index])


def join_training(paths: Paths, params: Params, modality: str) -> None:
    """Train as one of the further processes of `torchrun`; the main process writes all files.

    Args:
        paths: The repository, with posts, labels and folds.
        modality: `fusion`, `text` or `image`.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        ParamsError: If the modality is unknown.
        WeightsError: If pretrained weights cannot be loaded.
    """
    with _open_setup(paths, params, modality, read_fold_labels(paths)) as (setup, rubric):
        _train_in_group(train_or_load, setup, rubric, lambda _: nullcontext(lambda *_: None))


@contextmanager
def _open_setup(
    paths: Paths, params: Params, modality: str, folds: dict[str, LabelsByPost]
) -> Iterator[tuple[TrainingSetup, Rubric]]:
    """Configure torch, and load the data into a temporary folder."""
    if modality not in (allowed := get_args(Modality)):
        raise ParamsError("unknown modality", seen=modality, allowed=", ".join(allowed))
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling memory that is overwritten anyway takes 5% of a step and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    rubric = load_rubric(paths.root / params.annotate.rubric)
    with tempfile.TemporaryDirectory(prefix="postbias-") as scratch:
        job = TrainingJob(paths, params, modality, Path(scratch))
        yield load_training_setup(job, folds), rubric


def _train_in_group(
    train: Callable[[TrainingSetup, tuple[Axis, ...], OnSeed], TrainedStudent],
    setup: TrainingSetup,
    rubric: Rubric,
    on_seed: OnSeed,
) -> TrainedStudent:
    with distributed.process_group(choose_device(setup.job.params.train.device)):
        return train(setup, _axes(rubric), on_seed)


def _axes(rubric: Rubric) -> tuple[Axis, ...]:
    return tuple(Axis(axis.name, axis.low, axis.high) for axis in rubric.axes)


def _training_digest(folds: dict[str, LabelsByPost]) -> str:
    """Compute the SHA-256 of the post ids and labels of the train and valid folds."""
    hasher = hashlib.sha256()
    for fold in ("train", "valid"):
        for post_id, values in sorted(folds[fold].items()):
            hasher.update(f"{fold}\0{post_id}\0".encode() + values.tobytes())
    return hasher.hexdigest()


def _report(trained: TrainedStudent, setup: TrainingSetup) -> TrainingReport:
    kept = trained.fits[trained.best_index]
    n_train, n_valid = map(len, setup.usable_rows())
    weights = list(trained.student.parameters())
    report = {
        "n_train": n_train,
        "n_valid": n_valid,
        "epochs": kept.curve[-1]["epoch"],
        "best_epoch": kept.best_epoch,
        "parameters": sum(p.numel() for p in weights),
        "trained_parameters": sum(p.numel() for p in weights if p.requires_grad),
        "seeds": len(trained.fits),
        "best_seed": setup.job.params.seed + trained.best_index,
        **{name: value for name, value in kept.best_row.items() if name.startswith("valid_")},
    }
    if len(trained.fits) > 1:
        for name in ("valid_mae", "valid_rmse"):
            values = [fit.best_row[name] for fit in trained.fits]
            report[f"{name}_sd_over_seeds"] = statistics.stdev(values)
    return report


def _write_curve(fit: FitResult, path: Path) -> None:
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    curve = pd.DataFrame(list(fit.curve)).drop(columns="step").set_index("epoch")
    curve.to_csv(path, float_format="%.6g")
