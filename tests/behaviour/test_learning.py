"""Training gives the same student if it is resumed, split into passes, repeated or cached."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
from postbias.student.distillation import DistillationResult, distil_artifact
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.network import Head
from postbias.student.trainer import FitResult, fit

Trained = tuple[Paths, Params]
Train = Callable[..., DistillationResult]


class Killed(Exception):  # noqa: N818 - not an error
    """Raised to end a run early."""


def quiet(_: int) -> Any:
    return nullcontext(lambda *_: None)


@pytest.fixture
def train(trained: Trained, tmp_path: Path) -> Train:
    """A function that trains a student for three epochs, with a separate store."""
    paths, params = trained
    root = tmp_path / "repo"
    shutil.copytree(paths.root, root, ignore=shutil.ignore_patterns("store", "students"))
    base = params.model_dump(mode="json")

    def run(modality: str, on_seed: Any = quiet, **settings: Any) -> DistillationResult:
        group = base["train"] | {"epochs": 3} | settings
        changed = Params.model_validate_json(json.dumps(base | {"train": group}))
        ours = Paths(root, root)
        return distil_artifact(tmp_path / "artifact", ours, changed, modality, on_seed)

    run.store = root / "store"  # type: ignore[attr-defined]
    return run


def test_a_text_student_does_not_depend_on_whether_fusion_was_trained_before(train: Train) -> None:
    alone = train("text", ablation="heads")
    again = train("text", ablation="heads")
    shutil.rmtree(train.store)  # type: ignore[attr-defined]
    train("fusion", ablation="heads")
    after = train("text", ablation="heads")
    assert alone.digest == again.digest == after.digest
    assert alone.report["trained_parameters"] < 0.2 * alone.report["parameters"]


def test_a_cached_fusion_student_equals_the_trained_one(train: Train) -> None:
    epochs: list[list[int]] = []

    @contextmanager
    def record(_: int) -> Iterator[Any]:
        epochs.append([])
        yield lambda epoch, _: epochs[-1].append(epoch)

    first = train("fusion", record, ablation="heads")
    again = train("fusion", record, ablation="heads")
    assert first == again
    assert epochs == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("name", ["*.safetensors", "*.json"])
def test_a_damaged_cached_student_is_trained_again(
    train: Train, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    first = train("fusion", ablation="heads")
    (file,) = (train.store / "encoders").rglob(name)  # type: ignore[attr-defined]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert train("fusion", ablation="heads") == first
    assert "is damaged: the fusion student is trained again" in caplog.text
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("last", "frozen"), [(1, 0), (2, 0), (3, 0), (2, "all")], ids=["1", "2", "3", "frozen"]
)
def test_an_interrupted_run_is_resumed_and_ends_with_the_same_bytes(
    train: Train, last: int, frozen: int | str
) -> None:
    freeze = {"text": frozen, "image": frozen}

    def interrupt(epoch: int, _: dict[str, float]) -> None:
        if epoch == last:
            raise Killed

    with pytest.raises(Killed):
        train("text", lambda _: nullcontext(interrupt), ablation="whole", freeze=freeze)
    resumed = train("text", ablation="whole", freeze=freeze)
    shutil.rmtree(train.store)  # type: ignore[attr-defined]
    assert resumed == train("text", ablation="whole", freeze=freeze)


@pytest.mark.parametrize(("modality", "last"), [("text", 3), ("fusion", 1)])
def test_a_run_with_everything_on_is_resumed_and_ends_with_the_same_bytes(
    train: Train, modality: str, last: int
) -> None:
    settings = {
        "ablation": "whole", "fusion": "parts", "head_epochs": 2, "epochs": 2, "average": 0.2,
        "evaluations_per_epoch": 2, "layer_decay": 0.3, "freeze": {"text": 0, "image": 2},
    }  # fmt: skip

    def interrupt(number: int, _: dict[str, float]) -> None:
        if number == last:
            raise Killed

    with pytest.raises(Killed):
        train(modality, lambda _: nullcontext(interrupt), **settings)
    resumed = train(modality, **settings)
    assert {row["epoch"] for row in resumed.curve} == {0, 0.5, 1, 1.5, 2}
    shutil.rmtree(train.store)  # type: ignore[attr-defined]
    assert resumed == train(modality, **settings)


def test_of_several_seeds_the_best_on_the_valid_fold_is_kept(
    train: Train, trained: Trained
) -> None:
    seeds: list[int] = []

    @contextmanager
    def record(seed: int) -> Iterator[Any]:
        seeds.append(seed)
        yield lambda *_: None

    both = train("text", record, ablation="whole", seeds=2)
    one = train("text", ablation="whole")
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
    train: Train, modality: str
) -> None:
    frozen = train(modality, ablation="whole", freeze={"text": "all", "image": "all"})
    share = frozen.report["trained_parameters"] / frozen.report["parameters"]
    assert 0 < share < 0.2
    assert any((train.store / "embeddings").iterdir())  # type: ignore[attr-defined]


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
