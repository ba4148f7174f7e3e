"""Train one student and export it as an artifact without intervals."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import transformers

from postbias.axes import Axis
from postbias.errors import ParamsError
from postbias.params import Modality
from postbias.scoring.manifest import Manifest
from postbias.scoring.manifest_records import DistilledFrom
from postbias.student import distributed
from postbias.student.compute_device import choose_device, configure_torch
from postbias.student.export import export_student
from postbias.student.fold_labels import LabelsByPost
from postbias.student.training import OnSeed, TrainedStudent
from postbias.student.training_setup import TrainingJob, TrainingSetup, load_training_setup
from postbias.teacher.rubric import Rubric, load_rubric

if TYPE_CHECKING:
    from postbias.params import Params
    from postbias.paths import Paths

TrainingReport = dict[str, float]
Train = Callable[[TrainingSetup, tuple[Axis, ...], OnSeed], TrainedStudent]


@dataclass(frozen=True, slots=True)
class TrainingLabels:
    """The labels that one student is trained on.

    Attributes:
        folds: Labels (A,) by post id, by fold: `train` and `valid`.
        fixed_epochs: Number of epochs by modality; empty to choose the best epoch on the valid
            fold. If given, the valid fold may be part of the train fold.
        soft_labelled: Ids of posts of the train fold whose labels are scores of other students.
        full_student: The full student that scored them, if there is one.
    """

    folds: Mapping[str, LabelsByPost]
    fixed_epochs: Mapping[str, int] = field(default_factory=dict)
    soft_labelled: frozenset[str] = frozenset()
    full_student: DistilledFrom | None = None

    def digest(self) -> str:
        """Compute the SHA-256 of the post ids and labels of the train and valid folds."""
        hasher = hashlib.sha256()
        for fold in ("train", "valid"):
            for post_id, values in sorted(self.folds[fold].items()):
                hasher.update(f"{fold}\0{post_id}\0".encode() + values.tobytes())
        return hasher.hexdigest()


@contextmanager
def open_job(paths: Paths, params: Params, modality: str) -> Iterator[TrainingJob]:
    """Configure torch, and make a temporary folder for the data of a training job.

    Args:
        paths: The repository.
        modality: `fusion`, `text` or `image`.

    Yields:
        The job.

    Raises:
        DeviceError: If `train.device` is not available.
        ParamsError: If the modality is unknown.
    """
    if modality not in (allowed := get_args(Modality)):
        raise ParamsError("unknown modality", seen=modality, allowed=", ".join(allowed))
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    configure_torch(params.threads)
    choose_device(params.train.device)  # before posts are decoded, which takes minutes
    with tempfile.TemporaryDirectory(prefix="postbias-") as scratch:
        yield TrainingJob(paths, params, modality, Path(scratch))


def train_artifact(
    folder: Path, job: TrainingJob, labels: TrainingLabels, train: Train, on_seed: OnSeed
) -> tuple[TrainedStudent, TrainingReport]:
    """Train a student and write its artifact, without intervals and reference profile.

    Args:
        folder: Folder of the artifact.
        job: What to train.
        labels: What to train it on.
        train: `train_seeds`, or `train_or_load` to share a fusion student with other modalities.
        on_seed: Opens the log of one seed's training run.

    Returns:
        The student, and numbers for the report.

    Raises:
        CorpusError: If a fold has too few posts with an input for this modality.
        WeightsError: If pretrained weights cannot be loaded.
    """
    rubric = load_rubric(job.paths.root / job.params.annotate.rubric)
    with tempfile.TemporaryDirectory(dir=job.scratch) as scratch:
        job = replace(job, scratch=Path(scratch))
        setup = load_training_setup(job, labels.folds, labels.fixed_epochs)
        trained = train_in_group(train, setup, rubric, on_seed)
        usable = [setup.train.post_ids[row] for row in setup.usable_rows()[0]]
        manifest = Manifest(
            axes=_axes(rubric),
            rubric=rubric.ref,
            training_digest=labels.digest(),
            n_train=sum(post_id not in labels.soft_labelled for post_id in usable),
            cross_fit=job.params.train.cross_fit if labels.fixed_epochs else None,
            distilled_from=labels.full_student,
            **job.manifest_fields(),
        )
        tokenizer = setup.tokenizer if job.has_text else None
        export_student(trained.student, manifest, tokenizer, setup.quantization_posts(), folder)
        return trained, _report(trained, setup)


def train_in_group(
    train: Train, setup: TrainingSetup, rubric: Rubric, on_seed: OnSeed
) -> TrainedStudent:
    """Train with all processes of `torchrun`, if there are several.

    Args:
        train: As in `train_artifact`.
        setup: The job and its data.
        rubric: The rubric that defines the axes.
        on_seed: Opens the log of one seed's training run.

    Returns:
        The student.
    """
    with distributed.process_group(choose_device(setup.job.params.train.device)):
        return train(setup, _axes(rubric), on_seed)


def count_transfer(report: TrainingReport, manifest: Manifest) -> TrainingReport:
    """Count labelled posts and those of the transfer set apart, in the report of training."""
    n_labelled = manifest.n_train
    return report | {"n_train": n_labelled, "transfer": report["n_train"] - n_labelled}


def _axes(rubric: Rubric) -> tuple[Axis, ...]:
    return tuple(Axis(axis.name, axis.low, axis.high) for axis in rubric.axes)


def _report(trained: TrainedStudent, setup: TrainingSetup) -> TrainingReport:
    kept = trained.best_fit
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
