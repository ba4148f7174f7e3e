"""Training: learning rates, precision, early stopping and the order of posts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from tests.unit.test_embedding import make_examples
from tests.unit.test_export import small_student

from postbias.axes import Axis
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.student.dataset import PostDataset
from postbias.student.distributed import SharedLengthSampler
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.network import Head
from postbias.student.trainer import FitResult, fit
from postbias.student.training_setup import TrainingJob, TrainingSetup

AXES = (Axis("bias", 0, 10), Axis("orientation", 0, 10))


def params_with(**settings: Any) -> Params:
    params = load_params(ROOT / "params.yaml")
    settings = {"precision": "fp32", "device": "cpu"} | settings
    return params.model_copy(update={"train": params.train.model_copy(update=settings)})


def fit_head(folder: Path, *, noise: float = 0.0, **settings: Any) -> tuple[FitResult, Head, Any]:
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
        seed=1, checkpoints=folder, on_evaluation=lambda *_: None,
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
