"""Training: learning rates, precision, early stopping and the order of posts."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from tests.unit.test_embedding import make_examples
from tests.unit.test_export import small_student
from tests.unit.test_freezing import make_student

from postbias.axes import Axis
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.student.dataset import PostDataset
from postbias.student.distributed import SharedLengthSampler
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.freezing import freeze
from postbias.student.kept_weights import KeptWeights
from postbias.student.network import Head
from postbias.student.optimizer import build_optimizer
from postbias.student.trainer import FitResult, fit
from postbias.student.training_setup import TrainingJob, TrainingSetup

AXES = (Axis("bias", 0, 10), Axis("orientation", 0, 10))


def params_with(**settings: Any) -> Params:
    params = load_params(ROOT / "params.yaml")
    settings = {"precision": "fp32", "device": "cpu"} | settings
    return params.model_copy(update={"train": params.train.model_copy(update=settings)})


def fit_head(
    folder: Path, *, noise: float = 0.0, n_epochs: int | None = None, **settings: Any
) -> tuple[FitResult, Head, Any]:
    """Train a head on 160 posts; return the result, the head and the valid fold of 40 posts."""
    torch.manual_seed(0)
    weights = torch.randn(8, 2)

    def fold(n: int) -> EmbeddedDataset:
        text = torch.randn(n, 8)
        labels = 5 + text @ weights + noise * torch.randn(n, 2)
        return EmbeddedDataset({"text": text, "has_text": torch.ones(n, 1)}, labels.numpy())

    head, train, valid = Head([8], hidden=64, n_axes=2, dropout=0.0), fold(160), fold(40)
    result = fit(
        head, (train, valid), AXES, params_with(**settings),
        seed=1, checkpoints=folder, on_evaluation=lambda *_: None, n_epochs=n_epochs,
    )  # fmt: skip
    return result, head.eval(), valid


@pytest.mark.parametrize(
    ("select_by", "sign"), [("loss", 1), ("mae", 1), ("rmse", 1), ("spearman", -1)]
)
def test_training_stops_without_improvement_on_valid_and_keeps_the_best_epoch(
    tmp_path: Path, select_by: str, sign: int
) -> None:
    result, head, valid = fit_head(
        tmp_path, noise=3.0, select_by=select_by, epochs=40, patience=2, batch_size=16, lr_head=0.02
    )
    losses = [sign * row[f"valid_{select_by}"] for row in result.curve]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert len(result.curve) == result.best_epoch + 2 < 40
    with torch.no_grad():
        scores = head(valid.parts["text"], valid.parts["has_text"]).numpy()[:, 0].clip(0, 10)
    mae = np.abs(scores - valid.labels[:, 0]).mean()
    assert result.best_row["valid_mae"] == pytest.approx(float(mae), rel=1e-5)


def test_a_given_number_of_epochs_leads_to_the_weights_of_that_epoch(tmp_path: Path) -> None:
    settings = {"noise": 3.0, "epochs": 20, "patience": 2, "batch_size": 16, "lr_head": 0.02}
    chosen, expected, _ = fit_head(tmp_path / "chosen", **settings)
    assert chosen.best_epoch < len(chosen.curve)
    n_epochs = chosen.best_epoch
    given, head, _ = fit_head(tmp_path / "given", n_epochs=n_epochs, **settings)
    assert (given.best_epoch, len(given.curve)) == (n_epochs, n_epochs)
    assert given.best_row["train_loss"] == chosen.best_row["train_loss"]
    for name, value in expected.state_dict().items():
        assert torch.equal(head.state_dict()[name], value)


def test_the_learning_rate_rises_and_falls_as_a_cosine(tmp_path: Path) -> None:
    settings = {"epochs": 10, "patience": 10, "batch_size": 16, "warmup": 0.25, "lr_head": 0.1}
    result, _, _ = fit_head(tmp_path, **settings)
    steps, warmup = 100, 25
    for row in result.curve:
        step = row["step"] - 1  # the curve has the rate of the last update, counted from 0
        angle = math.pi * (step - warmup) / (steps - warmup)
        expected = step / warmup if step < warmup else 0.5 * (1 + math.cos(angle))
        assert row["learning_rate"] == pytest.approx(0.1 * expected, rel=1e-6)
    assert result.curve[-1]["step"] == steps


def test_evaluations_within_epochs_are_counted_by_patience(tmp_path: Path) -> None:
    settings = {"epochs": 12, "batch_size": 16, "lr_head": 0.02, "evaluations_per_epoch": 4}
    result, head, valid = fit_head(tmp_path, noise=3.0, patience=3, **settings)
    losses = [row["valid_loss"] for row in result.curve]
    assert len(losses) == int(np.argmin(losses)) + 1 + 3 < 48
    # Ten steps per epoch: after 2.5, 5, 7.5 and 10 of them, rounded.
    assert [row["step"] for row in result.curve[:8]] == [2, 5, 8, 10, 12, 15, 18, 20]
    assert [row["epoch"] for row in result.curve[:5]] == [0.2, 0.5, 0.8, 1, 1.2]
    with torch.no_grad():
        scores = head(valid.parts["text"], valid.parts["has_text"]).numpy()[:, 0].clip(0, 10)
    mae = np.abs(scores - valid.labels[:, 0]).mean()
    assert result.best_row["valid_mae"] == pytest.approx(float(mae), rel=1e-5)


def test_a_fitted_model_is_evaluated_first_and_kept_if_training_is_worse(tmp_path: Path) -> None:
    _, head, valid = fit_head(tmp_path / "a", epochs=20, batch_size=16)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    numbers: list[int] = []
    result = fit(
        head, (valid, valid), AXES, params_with(epochs=2, lr_head=10.0), seed=1,
        checkpoints=tmp_path / "b", on_evaluation=lambda n, _: numbers.append(n), is_fitted=True,
    )  # fmt: skip
    assert [row["epoch"] for row in result.curve] == numbers == [0, 1, 2]
    assert result.best_epoch == 0
    units = {"center", "scale"}
    after = head.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - units)


@pytest.mark.parametrize("mean_age", [0.5, 0.2, 0.05])
def test_the_mean_age_of_averaged_weights_is_a_share_of_the_steps(mean_age: float) -> None:
    model, n_steps = torch.nn.Linear(1, 1), 200
    kept = KeptWeights(model, mean_age)
    kept.on_train_begin(None, None, None)
    for step in range(1, n_steps + 1):
        torch.nn.init.constant_(model.weight, step)
        kept.on_step_end(None, SimpleNamespace(global_step=step), None)
    with kept.averaged():
        age = n_steps - model.weight.item()
    assert age == pytest.approx(mean_age * n_steps, rel=0.05, abs=1)
    assert model.weight.item() == n_steps  # training goes on from its own weights
    # By definition, the weights of step s count in proportion to s ** (1 / mean_age - 2).
    shares = np.arange(1, n_steps + 1) ** (1 / mean_age - 2)
    assert age == pytest.approx(
        n_steps - np.average(np.arange(1, n_steps + 1), weights=shares), abs=1
    )


def test_averaged_weights_are_evaluated_and_kept(tmp_path: Path) -> None:
    settings = {"epochs": 6, "patience": 6, "batch_size": 16, "lr_head": 0.02}
    plain, _, _ = fit_head(tmp_path / "a", noise=3.0, **settings)
    averaged, head, valid = fit_head(tmp_path / "b", noise=3.0, average=0.3, **settings)
    pairs = zip(plain.curve, averaged.curve, strict=True)
    assert all(one["train_loss"] == other["train_loss"] for one, other in pairs)
    with torch.no_grad():
        scores = head(valid.parts["text"], valid.parts["has_text"]).numpy()[:, 0].clip(0, 10)
    mae = np.abs(scores - valid.labels[:, 0]).mean()
    assert averaged.best_row["valid_mae"] == pytest.approx(float(mae), rel=1e-5)
    assert averaged.best_row["valid_mae"] != plain.best_row["valid_mae"]


@pytest.mark.parametrize(("text", "image"), [("bert", "resnet18"), ("xlm-roberta", "resnet18")])
def test_learning_rates_fall_geometrically_towards_the_input(text: str, image: str) -> None:
    student = make_student(text, image)
    freeze(student, text=1, image=0)
    rates = {"lr_text": 1e-3, "lr_image": 1e-2, "lr_head": 0.1}
    optimizer = build_optimizer(student, params_with(layer_decay=0.1, **rates).train)
    rate_of = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    names = {name: rate_of.get(id(p)) for name, p in student.named_parameters()}
    for name, rate in names.items():
        if "embeddings" in name or "layer.0." in name:
            assert rate is None, name  # frozen
        elif (layer := re.search(r"encoder\.layer\.(\d)", name)) is not None:
            assert rate == pytest.approx(1e-3 * 0.1 ** ((2 - int(layer[1])) / 3)), name
        elif name.startswith("head."):
            assert rate == 0.1
    blocks = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]  # of the ResNet
    for at, block in enumerate(blocks):
        own = [rate for name, rate in names.items() if name.startswith(f"image.backbone.{block}.")]
        assert own == pytest.approx([1e-2 * 0.1 ** ((5 - at) / 5)] * len(own))
        assert own
    plain = build_optimizer(student, params_with(**rates).train)
    assert {group["lr"] for group in plain.param_groups} == set(rates.values())


def test_int8_is_calibrated_on_train_and_measured_on_valid(tmp_path: Path) -> None:
    train = make_examples()
    valid = dataclasses.replace(
        train,
        pixels=255 - train.pixels,
        token_ids=tuple(tuple(token + 30 for token in ids) for ids in train.token_ids),
    )
    job = TrainingJob(Paths(tmp_path, tmp_path), params_with(), "fusion", tmp_path)
    posts = TrainingSetup(job, None, train, valid).quantization_posts()
    for inputs, fold in ((posts.calibration, train), (posts.held_out, valid)):
        assert len(inputs.token_ids) > 0
        assert set(inputs.token_ids) <= set(fold.token_ids)
        images = {image.tobytes() for image in fold.pixels}
        assert len(inputs.pixels) > 0
        assert {image.tobytes() for image in inputs.pixels} <= images


@pytest.mark.parametrize("fixed", ["text", "image", "head"])
def test_encoders_and_head_have_separate_learning_rates(tmp_path: Path, fixed: str) -> None:
    student, examples = small_student(), make_examples()
    rows = PostDataset(examples, examples.usable_rows("fusion"))
    before = {name: value.clone() for name, value in student.named_parameters()}
    rates = {f"lr_{part}": 1e-30 if part == fixed else 1e-2 for part in ("text", "image", "head")}
    fit(
        student, (rows, rows), AXES, params_with(epochs=1, batch_size=16, **rates),
        seed=1, checkpoints=tmp_path, on_evaluation=lambda *_: None,
    )  # fmt: skip
    changed = {
        name.partition(".")[0]
        for name, value in student.named_parameters()
        if not torch.allclose(value, before[name], rtol=0, atol=1e-9)
    }
    assert changed == {"text", "image", "head"} - {fixed}


def test_bf16_gives_nearly_the_same_result_and_fp32_weights(tmp_path: Path) -> None:
    settings = {"epochs": 5, "batch_size": 16}
    plain, _, _ = fit_head(tmp_path / "a", **settings)
    rounded, head, valid = fit_head(tmp_path / "b", precision="bf16", **settings)
    mae = plain.best_row["valid_mae"]
    assert rounded.best_row["valid_mae"] != mae
    assert rounded.best_row["valid_mae"] == pytest.approx(mae, rel=0.05)
    assert all(value.dtype == torch.float32 for value in head.state_dict().values())
    # Autocast is gone: scores agree with float64 to the last bits of float32.
    text, has_text = valid.parts["text"], valid.parts["has_text"]
    wide = head.double()(text.double(), has_text.double()).float()
    torch.testing.assert_close(head.float()(text, has_text), wide, rtol=1e-5, atol=1e-4)


def test_processes_share_an_order_that_has_each_caption_once_and_changes_by_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 500).tolist()
    one, two = (SharedLengthSampler(32, lengths, seed=3) for _ in range(2))
    torch.manual_seed(9)
    orders = []
    for epoch in range(2):
        for sampler in (one, two):
            sampler.set_epoch(epoch)
        torch.rand(5)  # processes draw different dropout
        orders.append(list(one))
        assert orders[-1] == list(two)
        assert sorted(orders[-1]) == list(range(500))
    assert orders[0] != orders[1]
    spreads = [np.ptp([lengths[row] for row in orders[0][i : i + 32]]) for i in range(0, 480, 32)]
    assert np.mean(spreads) < 25
