"""Distillation: labels and posts in, one trained student out, as a complete artifact.

The whole way of one cell of the ablation matrix: read the folds, train, export, and measure on the
calib fold how wide the intervals must be. Intervals rest on the scores that ship (int8, clipped).
Knows nothing of the other students; which of them is best is for `postbias.evidence`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
import transformers

from postbias.errors import CorpusError, ParamsError
from postbias.params import Modality
from postbias.posts.schema import SPLIT, axes_of, labels_schema
from postbias.posts.shards import read_table, take_posts
from postbias.scoring.manifest import Axis, Manifest
from postbias.student.calibration import add_intervals
from postbias.student.dataset import Examples, PostDataset, load_examples
from postbias.student.encoders import load_image_encoder, load_text_encoder, load_tokenizer
from postbias.student.export import Calibration, export_student
from postbias.student.model import Student
from postbias.student.training import Fit, OnEpoch, fit
from postbias.teacher.rubric import load_rubric
from postbias.tracking import write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from postbias.params import Params
    from postbias.paths import Paths

logger = logging.getLogger(__name__)

#: Posts below which a fold says nothing.
MIN_POSTS = 10
_N_CALIBRATION = 256
_VERSIONS = ("onnxruntime", "tokenizers", "torch", "torchvision", "transformers")

Labels = dict[str, "NDArray[np.float32]"]
Report = dict[str, float]


@dataclass(frozen=True, slots=True)
class Distilled:
    """What one cell of the ablation matrix came to.

    Attributes:
        digest: Of the artifact.
        report: What `reports/train/<modality>.json` says.
    """

    digest: str
    report: Report


@dataclass(frozen=True, slots=True)
class _Cell:
    """One cell of the ablation matrix, and the folder that its decoded pictures may lie in."""

    paths: Paths
    params: Params
    modality: str
    scratch: Path

    @property
    def has_text(self) -> bool:
        return self.modality != "image"

    @property
    def has_image(self) -> bool:
        return self.modality != "text"


def distil(paths: Paths, params: Params, modality: str, on_epoch: OnEpoch) -> Distilled:
    """Train one student and write its artifact, report and learning curve.

    Args:
        paths: The repository; reads posts, labels and folds, writes
            `build/students/<modality>/`, `reports/train/<modality>.json` and
            `reports/curves/<modality>.csv`.
        params: All parameters.
        modality: `fusion`, `text` or `image`.
        on_epoch: Called after each epoch with its metrics.

    Returns:
        The artifact's digest and what was reported.

    Raises:
        CorpusError: If a fold has too few posts that this modality can use.
        ParamsError: If there is no such modality.
        WeightsError: If pretrained weights cannot be had.
    """
    if modality not in (allowed := get_args(Modality)):
        raise ParamsError("no such modality", seen=modality, allowed=", ".join(allowed))
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    folds = _read_folds(paths)
    rubric = load_rubric(paths.root / params.annotate.rubric)
    axes = tuple(Axis(axis.name, axis.low, axis.high) for axis in rubric.axes)
    folder = paths.students / modality
    with tempfile.TemporaryDirectory(prefix="postbias-") as scratch:
        cell = _Cell(paths, params, modality, Path(scratch))
        tokenizer = _tokenizer(cell, list(folds["train"]))
        train = _examples(cell, tokenizer, folds, "train")
        valid = _examples(cell, tokenizer, folds, "valid")
        sets = _datasets(cell, train, valid)
        transformers.set_seed(params.seed)
        student = _make_student(cell, tokenizer, len(axes))
        checkpoints = paths.store / "checkpoints" / f"{modality}-{_key(cell, train, valid)[:16]}"
        outcome = fit(student, sets, axes, params, checkpoints=checkpoints, on_epoch=on_epoch)
        manifest = Manifest(
            axes=axes,
            rubric=rubric.ref,
            training_digest=_training_digest(folds),
            n_train=len(sets[0]),
            **_sizes(cell),
        )
        export_student(student, manifest, tokenizer, _for_calibration(cell, train), folder)
    coverage = params.evaluate.coverage
    artifact = add_intervals(
        folder, paths.posts, folds["calib"], coverage=coverage, threads=params.threads
    )
    report = _report(outcome, sets, student)
    write_report(paths.reports / "train" / f"{modality}.json", report)
    _write_curve(outcome, paths.reports / "curves" / f"{modality}.csv")
    return Distilled(artifact.digest, report)


def _read_folds(paths: Paths) -> dict[str, Labels]:
    """Return labels (A,) by post id for each fold, in the order of the split."""
    labels = read_table(paths.labels)
    axes = axes_of(labels.schema, spread="_sd")
    labels = read_table(paths.labels, labels_schema(axes))
    values = np.column_stack([labels[axis].to_numpy() for axis in axes]).astype(np.float32)
    by_id = dict(zip(labels["post_id"].to_pylist(), values, strict=True))
    folds: dict[str, Labels] = {"train": {}, "valid": {}, "calib": {}}
    split = read_table(paths.split, SPLIT)
    for post_id, fold in zip(split["post_id"].to_pylist(), split["fold"].to_pylist(), strict=True):
        if fold in folds:
            folds[fold][post_id] = by_id[post_id]
    return folds


def _tokenizer(cell: _Cell, train_ids: Sequence[str]) -> Tokenizer | None:
    if not cell.has_text:
        return None
    captions = take_posts(cell.paths.posts, train_ids, ["caption"])["caption"].to_pylist()
    train = cell.params.train
    return load_tokenizer(train.text_encoder, captions, train.text_scratch.vocab_size)


def _examples(
    cell: _Cell, tokenizer: Tokenizer | None, folds: dict[str, Labels], fold: str
) -> Examples:
    pictures = cell.scratch / fold if cell.has_image else None
    return load_examples(cell.paths.posts, folds[fold], tokenizer, cell.params.train, pictures)


def _datasets(cell: _Cell, train: Examples, valid: Examples) -> tuple[PostDataset, PostDataset]:
    modality, params = cell.modality, cell.params.train
    usable = {"train": train.usable(modality), "valid": valid.usable(modality)}
    if modality == "fusion" and not (len(train.pixels) and any(train.token_ids)):
        raise CorpusError(
            "a fusion student needs captions and pictures, and the train fold lacks one of them",
            do="set train.modalities to [text] or [image]",
        )
    for fold, rows in usable.items():
        if len(rows) < MIN_POSTS:
            raise CorpusError(
                f"too few posts of the {fold} fold have what a {modality} student looks at",
                seen=len(rows),
                allowed=f"at least {MIN_POSTS}",
                do=f"remove {modality} from train.modalities, or label more such posts",
            )
    dropout = params.modality_dropout if modality == "fusion" else 0.0
    return (
        PostDataset(
            train,
            usable["train"],
            modality_dropout=dropout,
            token_dropout=params.token_dropout,
            augment=params.augment,
        ),
        PostDataset(valid, usable["valid"]),
    )


def _make_student(cell: _Cell, tokenizer: Tokenizer | None, n_axes: int) -> Student:
    train = cell.params.train
    text = image = None
    if tokenizer is not None:
        text = load_text_encoder(train.text_encoder, train.text_scratch, tokenizer)
    if cell.has_image:
        image = load_image_encoder(train.image_encoder, train.image_weights)
    return Student(text, image, hidden=train.head_hidden, n_axes=n_axes, dropout=train.dropout)


def _sizes(cell: _Cell) -> dict[str, Any]:
    """Fields of the manifest that params decide."""
    train = cell.params.train
    return {
        "modality": cell.modality,
        "max_images": train.max_images,
        "text_encoder": Path(train.text_encoder).name if cell.has_text else None,
        "max_tokens": train.max_tokens if cell.has_text else None,
        "image_encoder": train.image_encoder if cell.has_image else None,
        "image_size": train.image_size if cell.has_image else None,
        "versions": {package: version(package) for package in _VERSIONS},
    }


def _for_calibration(cell: _Cell, train: Examples) -> Calibration:
    """Choose posts of the train fold that say which values activations take."""
    rng = np.random.default_rng(cell.params.seed)

    def choose(total: int) -> NDArray[np.int64]:
        return np.sort(rng.choice(total, min(total, _N_CALIBRATION), replace=False))

    captions = [tokens for tokens in train.token_ids if tokens]
    return Calibration(
        pixels=np.ascontiguousarray(train.pixels[choose(len(train.pixels))]),
        token_ids=[captions[row] for row in choose(len(captions))],
    )


def _key(cell: _Cell, train: Examples, valid: Examples) -> str:
    """Digest of all that a checkpoint depends on."""
    params = cell.params
    group = params.train.model_dump(mode="json", exclude={"modalities"})
    versions = [version(package) for package in _VERSIONS]
    seen = [train.digest(), valid.digest()]
    parts = [seen, group, cell.modality, params.seed, params.threads, versions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _training_digest(folds: dict[str, Labels]) -> str:
    hasher = hashlib.sha256()
    for fold in ("train", "valid"):
        for post_id, values in sorted(folds[fold].items()):
            hasher.update(f"{fold}\0{post_id}\0".encode() + values.tobytes())
    return hasher.hexdigest()


def _report(outcome: Fit, sets: tuple[PostDataset, PostDataset], student: Student) -> Report:
    best = next(row for row in outcome.curve if row["epoch"] == outcome.best_epoch)
    return {
        "n_train": len(sets[0]),
        "n_valid": len(sets[1]),
        "epochs": len(outcome.curve),
        "best_epoch": outcome.best_epoch,
        "parameters": sum(p.numel() for p in student.parameters()),
        **{name: value for name, value in best.items() if name.startswith("valid_")},
    }


def _write_curve(outcome: Fit, path: Path) -> None:
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    curve = pd.DataFrame(list(outcome.curve)).drop(columns="step").set_index("epoch")
    curve.to_csv(path, float_format="%.6g")
