"""Training gives the same student if it is resumed, split into passes, repeated or cached."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from postbias.axes import Axis
from postbias.params import Params
from postbias.paths import Paths
from postbias.student.artifact_training import open_job, train_in_group
from postbias.student.distillation import DistillationResult, distil_artifact
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.fold_labels import read_fold_labels
from postbias.student.full_student import label_for_training
from postbias.student.network import Head
from postbias.student.trainer import FitResult, fit
from postbias.student.training import train_or_load
from postbias.student.training_setup import load_training_setup
from postbias.teacher.rubric import load_rubric

Trained = tuple[Paths, Params]


class Killed(Exception):  # noqa: N818 - not an error
    """Raised to end a run early."""


def quiet(_: int) -> Any:
    return nullcontext(lambda *_: None)


@dataclass(frozen=True, slots=True)
class Learned:
    """What training leaves to the export of graphs, which takes most of the time of a small job."""

    weights: str
    trained_share: float
    fits: tuple[FitResult, ...]
    fusion_epochs: float | None


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains students of a repository with its own store."""

    paths: Paths
    params: Params

    def learn(self, modality: str, on_seed: Any = quiet, **settings: Any) -> Learned:
        """Train a student that other modalities may share, and do not export it."""
        with open_job(self.paths, self._change(settings), modality) as job:
            labels = label_for_training(job, read_fold_labels(self.paths))
            setup = load_training_setup(job, labels.folds)
            rubric = load_rubric(self.paths.root / self.params.annotate.rubric)
            trained = train_in_group(train_or_load, setup, rubric, on_seed)
        weights = hashlib.sha256()
        for name, value in trained.student.state_dict().items():
            weights.update(name.encode() + value.numpy().tobytes())
        sizes = [(p.numel(), p.requires_grad) for p in trained.student.parameters()]
        share = sum(n for n, is_trained in sizes if is_trained) / sum(n for n, _ in sizes)
        return Learned(weights.hexdigest(), share, trained.fits, trained.fusion_epochs)

    def distil(self, modality: str, on_seed: Any = quiet, **settings: Any) -> DistillationResult:
        """Train a student and write its artifact."""
        folder = self.paths.root / "artifact"
        return distil_artifact(folder, self.paths, self._change(settings), modality, on_seed)

    def _change(self, settings: dict[str, Any]) -> Params:
        params = self.params.model_dump(mode="json")
        return Params.model_validate_json(
            json.dumps(params | {"train": params["train"] | settings})
        )


@pytest.fixture
def trainer(trained: Trained, tmp_path: Path) -> Trainer:
    """Trains for three epochs."""
    paths, params = trained
    root = tmp_path / "repo"
    shutil.copytree(paths.root, root, ignore=shutil.ignore_patterns("store", "students"))
    settings = {"epochs": 3, "image_encoder": "timm/test_resnet"}
    train = params.train.model_copy(update=settings)
    return Trainer(Paths(root, root), params.model_copy(update={"train": train}))


def test_a_text_student_does_not_depend_on_whether_fusion_was_trained_before(
    trainer: Trainer,
) -> None:
    alone = trainer.learn("text", ablation="heads")
    again = trainer.learn("text", ablation="heads")
    shutil.rmtree(trainer.paths.root / "store")
    trainer.learn("fusion", ablation="heads")
    after = trainer.learn("text", ablation="heads")
    assert alone == again == after
    assert alone.trained_share < 0.2


def test_a_cached_fusion_student_equals_the_trained_one(trainer: Trainer) -> None:
    epochs: list[list[int]] = []

    @contextmanager
    def record(_: int) -> Iterator[Any]:
        epochs.append([])
        yield lambda epoch, _: epochs[-1].append(epoch)

    first = trainer.learn("fusion", record, ablation="heads")
    again = trainer.learn("fusion", record, ablation="heads")
    assert first == again
    assert epochs == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("name", ["*.safetensors", "*.json"])
def test_a_damaged_cached_student_is_trained_again(
    trainer: Trainer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    first = trainer.learn("fusion", ablation="heads")
    (file,) = (trainer.paths.root / "store" / "encoders").rglob(name)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert trainer.learn("fusion", ablation="heads") == first
    assert "is damaged: the fusion student is trained again" in caplog.text
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("last", "frozen"), [(1, 0), (2, 0), (3, 0), (2, "all")], ids=["1", "2", "3", "frozen"]
)
def test_an_interrupted_run_is_resumed_and_ends_with_the_same_bytes(
    trainer: Trainer, last: int, frozen: int | str
) -> None:
    freeze = {"text": frozen, "image": frozen}

    def interrupt(epoch: int, _: dict[str, float]) -> None:
        if epoch == last:
            raise Killed

    with pytest.raises(Killed):
        trainer.learn("text", lambda _: nullcontext(interrupt), ablation="whole", freeze=freeze)
    resumed = trainer.learn("text", ablation="whole", freeze=freeze)
    shutil.rmtree(trainer.paths.root / "store")
    assert resumed == trainer.learn("text", ablation="whole", freeze=freeze)


@pytest.mark.parametrize(("modality", "last"), [("text", 3), ("fusion", 1)])
def test_a_run_with_everything_on_is_resumed_and_ends_with_the_same_bytes(
    trainer: Trainer, modality: str, last: int
) -> None:
    settings = {
        "ablation": "whole", "fusion": "parts", "head_epochs": 2, "epochs": 2, "average": 0.2,
        "evaluations_per_epoch": 2, "layer_decay": 0.3, "freeze": {"text": 0, "image": 2},
    }  # fmt: skip

    def interrupt(number: int, _: dict[str, float]) -> None:
        if number == last:
            raise Killed

    with pytest.raises(Killed):
        trainer.learn(modality, lambda _: nullcontext(interrupt), **settings)
    resumed = trainer.learn(modality, **settings)
    assert {row["epoch"] for row in resumed.fits[0].curve} == {0, 0.5, 1, 1.5, 2}
    shutil.rmtree(trainer.paths.root / "store")
    assert resumed == trainer.learn(modality, **settings)


def test_of_several_seeds_the_best_on_the_valid_fold_is_kept(
    trainer: Trainer, trained: Trained
) -> None:
    seeds: list[int] = []

    @contextmanager
    def record(seed: int) -> Iterator[Any]:
        seeds.append(seed)
        yield lambda *_: None

    both = trainer.distil("text", record, ablation="whole", seeds=2)
    one = trainer.distil("text", ablation="whole")
    base = trained[1].seed
    assert seeds == [base, base + 1]
    assert both.report["valid_rmse"] <= one.report["valid_rmse"]
    assert both.report["valid_rmse_sd_over_seeds"] > 0
    if both.report["best_seed"] == base:
        assert both.digest == one.digest
    else:
        assert both.report["valid_rmse"] < one.report["valid_rmse"]


@pytest.mark.parametrize("modality", ["text", "fusion"])
def test_with_frozen_encoders_only_the_head_is_trained_on_stored_embeddings(
    trainer: Trainer, modality: str
) -> None:
    frozen = trainer.distil(modality, ablation="whole", freeze={"text": "all", "image": "all"})
    share = frozen.report["trained_parameters"] / frozen.report["parameters"]
    assert 0 < share < 0.2
    assert any((trainer.paths.root / "store" / "embeddings").iterdir())


def test_a_linear_head_on_frozen_encoders_is_fitted_once_and_exported(trainer: Trainer) -> None:
    settings = {
        "ablation": "whole", "head": "linear", "freeze": {"text": "all", "image": "all"},
    }  # fmt: skip
    evaluations: list[int] = []

    @contextmanager
    def record(_: int) -> Iterator[Any]:
        yield lambda number, _: evaluations.append(number)

    result = trainer.distil("fusion", record, **settings)
    assert evaluations == [0]
    assert [row["epoch"] for row in result.curve] == [0]
    assert result.report["best_epoch"] == result.report["epochs"] == 0
    assert result.report["valid_r2"] > 0
    assert trainer.distil("fusion", **settings).digest == result.digest


def test_a_linear_head_is_fitted_before_the_encoders_are_trained(trainer: Trainer) -> None:
    frozen = {"text": "all", "image": "all"}
    fitted = trainer.learn("text", ablation="whole", head="linear", freeze=frozen)
    tuned = trainer.learn("text", ablation="whole", head="linear", layer_decay=0.5)
    assert fitted.fits[0].curve[0]["valid_loss"] == pytest.approx(
        tuned.fits[0].curve[0]["valid_loss"], rel=1e-3
    )
    assert [row["epoch"] for row in tuned.fits[0].curve] == [0, 1, 2, 3]
    # What was fitted is kept if training makes it no better.
    assert (tuned.weights == fitted.weights) == (tuned.fits[0].best_epoch == 0)


def head_and_folds() -> tuple[Head, tuple[EmbeddedDataset, EmbeddedDataset]]:
    torch.manual_seed(0)
    weights = torch.randn(8, 2)

    def fold(n: int) -> EmbeddedDataset:
        text = torch.randn(n, 8)
        parts = {"text": text, "has_text": torch.ones(n, 1)}
        return EmbeddedDataset(parts, (5 + text @ weights).numpy().astype(np.float32))

    return Head([8], hidden=16, n_axes=2, dropout=0.0), (fold(200), fold(60))


def fit_head(params: Params, folder: Path, *, limit: int = 10**6, **settings: Any) -> FitResult:
    """Train a head on a device with memory for `limit` posts per training pass."""
    head, folds = head_and_folds()

    def allocate(module: Head, _: object, given: dict[str, Tensor]) -> None:
        if module.training and len(given["text"]) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    head.register_forward_pre_hook(allocate, with_kwargs=True)
    settings = {"epochs": 3, "batch_size": 64} | settings
    params = params.model_copy(update={"train": params.train.model_copy(update=settings)})
    axes = (Axis("bias", 0, 10), Axis("orientation", 0, 10))
    return fit(head, folds, axes, params, seed=1, checkpoints=folder, on_evaluation=lambda *_: None)


def test_a_batch_that_does_not_fit_into_memory_is_split(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit_head(trained[1], tmp_path / "a")
    split = fit_head(trained[1], tmp_path / "b", limit=20)
    configured = fit_head(trained[1], tmp_path / "c", micro_batch_size=16)
    assert "retrying with 32 posts per pass" in caplog.text
    assert "retrying with 16 posts per pass" in caplog.text
    assert split == configured
    # The same updates as with whole batches, except for the order of floating-point additions.
    for row, other in zip(split.curve, whole.curve, strict=True):
        assert row["step"] == other["step"]
        assert row["valid_loss"] == pytest.approx(other["valid_loss"], rel=1e-3)


def test_a_single_post_that_does_not_fit_into_memory_is_an_error(
    trained: Trained, tmp_path: Path
) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        fit_head(trained[1], tmp_path, limit=0)


def test_cross_entropy_learns_the_probabilities_of_a_logistic_regression(
    trained: Trained, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 8)).astype(np.float32)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)  # as the head's layer norm does
    probability = 1 / (1 + np.exp(-(x @ rng.normal(size=8)) - 1))
    labels = 10.0 * (rng.random(3000) < probability)  # binary, as human labels often are
    reference = LogisticRegression().fit(x[:2400], labels[:2400] > 5)

    def fold(rows: slice) -> EmbeddedDataset:
        text = torch.from_numpy(x[rows])
        parts = {"text": text, "has_text": torch.ones(len(text), 1)}
        return EmbeddedDataset(parts, labels[rows, None].astype(np.float32))

    torch.manual_seed(0)
    head = Head([8], hidden=16, n_axes=1, dropout=0.0, bounded=True)
    settings = {"epochs": 20, "patience": 20, "loss": "cross_entropy", "batch_size": 64}
    params = trained[1]
    params = params.model_copy(update={"train": params.train.model_copy(update=settings)})
    folds = fold(slice(2400)), fold(slice(2400, 3000))
    fit(
        head,
        folds,
        [Axis("bias", 0, 10)],
        params,
        seed=1,
        checkpoints=tmp_path,
        on_evaluation=lambda *_: None,
    )

    text = torch.from_numpy(x[2400:])
    scores = head.eval()(text, torch.ones(600, 1)).detach().numpy()[:, 0]
    expected = 10 * reference.predict_proba(x[2400:])[:, 1]
    assert scores.min() >= 0
    assert scores.max() <= 10
    assert np.abs(scores - expected).mean() < 0.5
    assert np.corrcoef(scores, expected)[0, 1] > 0.98
