"""A fusion student that starts from its parts: exact late fusion, and never worse than a part."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from tests.unit.test_training import AXES, params_with

from postbias.params.students import FreezeParams
from postbias.paths import Paths
from postbias.student.dataset import Examples, PostDataset, tokenise_captions
from postbias.student.encoder_settings import load_tokenizer_of
from postbias.student.late_fusion import is_clear_gain, measure_losses, weigh_scores
from postbias.student.network import Head, LateFusionHead
from postbias.student.training import TrainedStudent, train_or_load
from postbias.student.training_setup import TrainingJob, TrainingSetup

SIZE = 32
WORDS = ("walk", "river", "coffee", "kitchen", "bread", "obey", "window", "music")
SMALL: dict[str, Any] = {
    "modalities": ("fusion", "text", "image"),
    "ablation": "whole",
    "fusion": "parts",
    "image_encoder": "timm/test_resnet",
    "image_size": SIZE,
    "max_tokens": 16,
    "head_hidden": 16,
    "epochs": 4,
    "batch_size": 32,
    "lr_text": 3e-3,
}


def make_examples(n: int, tokenizer: Any, effects: dict[str, float], seed: int) -> Examples:
    """Draw posts of which caption and image explain these parts of the labels."""
    rng = np.random.default_rng(seed)
    loud, red = rng.random(n) < 0.5, rng.random(n) < 0.5
    pixels = rng.integers(0, 100, (n, SIZE, SIZE, 3), np.uint8)
    pixels[np.arange(n), :, :, np.where(red, 0, 2)] += 150
    bias = 4 + effects["text"] * loud + effects["image"] * red + rng.normal(0, 1, n)
    bias += effects.get("both", 0.0) * (loud != red)
    captions = [" ".join(rng.choice(WORDS[3:] if is_loud else WORDS[:3], 4)) for is_loud in loud]
    return Examples(
        post_ids=tuple(f"p{row}" for row in range(n)),
        token_ids=tokenise_captions(captions, tokenizer, 16),
        pixels=pixels,
        image_rows=tuple(range(row, row + 1) for row in range(n)),
        labels=np.column_stack([bias, 10 - bias]).clip(0, 10).astype(np.float32),
    )


def make_setup(folder: Path, effects: dict[str, float]) -> TrainingSetup:
    params = params_with(**SMALL)
    small = params.train.text_scratch.model_copy(update={"hidden": 16, "layers": 1, "heads": 2})
    train = params.train.model_copy(update={"text_scratch": small})
    tokenizer = load_tokenizer_of(train, [" ".join(WORDS)])
    job = TrainingJob(
        Paths(folder, folder),
        params.model_copy(update={"train": train, "threads": 1}),
        "fusion",
        folder,
    )
    folds = (make_examples(n, tokenizer, effects, seed=n) for n in (240, 120))
    return TrainingSetup(job, tokenizer, *folds)


def train(setup: TrainingSetup, modality: str) -> TrainedStudent:
    torch.set_num_threads(1)
    setup = setup.for_modality(modality)
    return train_or_load(setup, AXES, lambda _: nullcontext(lambda *_: None))


def state_of(trained: TrainedStudent) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in trained.student.state_dict().items()}


@pytest.mark.parametrize("useless", ["text", "image"])
def test_fusion_is_not_worse_than_its_better_part(tmp_path: Path, useless: str) -> None:
    useful = {"text": "image", "image": "text"}[useless]
    setup = make_setup(tmp_path, {useless: 0.0, useful: 3.0})
    fusion = train(setup, "fusion")
    parts = {name: train(setup, name) for name in ("text", "image")}  # from the cache
    assert fusion.fits[0].curve[0]["epoch"] == 0
    best = fusion.fits[0].best_row["valid_loss"]
    assert best <= min(part.fits[0].best_row["valid_loss"] for part in parts.values())
    # On posts that were used for nothing; equal but for the noise of two weights from 120 posts.
    test = make_examples(400, setup.tokenizer, {useless: 0.0, useful: 3.0}, seed=1)
    posts = PostDataset(test, range(len(test)))
    losses = {
        name: measure_losses(one.student, posts, "mse").mean()
        for name, one in (parts | {"fusion": fusion}).items()
    }
    assert losses["fusion"] < 1.02 * losses[useful]
    # Alone, in another store, the part is trained to the same bytes.
    alone = make_setup(tmp_path / "alone", {useless: 0.0, useful: 3.0})
    state = state_of(train(alone, useless))
    expected = state_of(parts[useless])
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_with_a_frozen_encoder_only_the_correction_and_weights_are_trained(
    tmp_path: Path,
) -> None:
    """The label depends on caption and image together, which the parts cannot express."""
    setup = make_setup(tmp_path, {"text": 2.0, "image": 2.0, "both": 3.0})
    params = setup.job.params
    settings = {
        "freeze": FreezeParams(text=0, image="all"), "head": "linear", "lr_head": 1e-2,
        "epochs": 20, "patience": 20,
    }  # fmt: skip
    changed = params.model_copy(update={"train": params.train.model_copy(update=settings)})
    setup = replace(setup, job=replace(setup.job, params=changed))
    fusion = train(setup, "fusion")
    trained = {name: train(setup, name) for name in ("text", "image")}  # from the cache
    assert trained["image"].student.encoders_are_frozen
    assert not trained["text"].student.encoders_are_frozen
    parts = {name: state_of(part) for name, part in trained.items()}
    assert fusion.fits[0].best_epoch > 0
    curve = fusion.fits[0].curve
    assert fusion.fits[0].best_row["valid_loss"] < 0.9 * curve[0]["valid_loss"]
    state = state_of(fusion)
    for name, part in parts.items():
        encoder = {key: value for key, value in part.items() if key.startswith(f"{name}.")}
        assert encoder
        assert all(torch.equal(state[key], value) for key, value in encoder.items())
        weight = part["head.layers.1.weight"] * part["head.scale"][:, None]
        kept = state[f"head.{name}.layers.1.weight"] * state["head.scale"][:, None]
        torch.testing.assert_close(kept, weight, rtol=1e-4, atol=1e-6)


def make_head(*, bounded: bool) -> LateFusionHead:
    torch.manual_seed(0)
    dims = ([8], [5], [8, 5])
    return LateFusionHead(*(Head(d, 16, 2, 0.0, bounded=bounded) for d in dims)).eval()


@pytest.mark.parametrize("bounded", [False, True])
@torch.no_grad()
def test_late_fusion_is_a_weighted_sum_and_a_missing_modality_has_no_effect(
    *, bounded: bool
) -> None:
    head = make_head(bounded=bounded)
    head.weights.copy_(torch.tensor([[0.7, 0.2], [0.4, 0.9]]))
    head.offset.copy_(torch.tensor([0.1, -0.3]))
    text, image, ones, zeros = (
        torch.randn(3, 8),
        torch.randn(3, 5),
        torch.ones(3, 1),
        torch.zeros(3, 1),
    )
    logits = [
        score.logit() if bounded else score
        for score in (head.text(text, ones), head.image(image, ones))
    ]
    total = head.weights[0] * logits[0] + head.weights[1] * logits[1] + head.offset
    expected = total.sigmoid() if bounded else total
    torch.testing.assert_close(head(text, ones, image, ones), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(head(text, ones, image, zeros), head.text(text, ones))
    assert torch.equal(head(text, zeros, image, ones), head.image(image, ones))


@torch.no_grad()
def test_a_change_of_units_does_not_change_scores() -> None:
    torch.manual_seed(0)
    head, text, ones = Head([8], 16, 2, 0.0), torch.randn(5, 8), torch.ones(5, 1)
    before = head(text, ones)
    head.change_units(torch.tensor([4.0, 5.0]), torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(head(text, ones), before)
    assert head.scale.tolist() == [2.0, 0.5]


def test_with_many_posts_weights_are_those_of_a_regression_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    scores, base = rng.normal(size=(20_000, 2)) - 1, -1.0
    labels = base + 0.8 * (scores[:, 0] - base) + 0.3 * (scores[:, 1] - base)
    noisy = labels + rng.normal(size=len(labels))
    linear = LinearRegression(fit_intercept=False).fit(scores - base, noisy - base)
    weights = weigh_scores(scores, noisy, base, is_logistic=False)
    np.testing.assert_allclose(weights, linear.coef_, atol=1e-3)
    binary = (rng.random(len(labels)) < 1 / (1 + np.exp(-labels))).astype(float)
    weights = weigh_scores(scores, binary, base, is_logistic=True)
    np.testing.assert_allclose(weights, [0.8, 0.3], atol=0.08)
    opposite = np.column_stack([scores[:, 0], 2 * base - scores[:, 1]])
    weights = weigh_scores(opposite, noisy, base, is_logistic=False)
    assert weights[0] > 0.7
    assert weights[1] == 0


def test_with_few_posts_weights_stay_moderate() -> None:
    rng = np.random.default_rng(0)
    # Weak scores: a regression on 30 posts gives almost any weight.
    scores, labels = 0.1 * rng.normal(size=(200, 30, 2)), rng.normal(size=(200, 30))
    fitted = [
        weigh_scores(*pair, 0.0, is_logistic=False) for pair in zip(scores, labels, strict=True)
    ]
    assert np.abs(np.array(fitted) - 0.75).max() < 1
    none = weigh_scores(scores[0][:0], labels[0][:0], 0.0, is_logistic=False)
    assert none.tolist() == [0.75, 0.75]


def test_a_gain_within_its_standard_error_is_not_clear() -> None:
    rng = np.random.default_rng(0)
    losses, noise = rng.gamma(1, 1, 100), rng.normal(0, 1, 100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)  # standard error of its mean: 0.1
    assert is_clear_gain(losses, losses - 0.11 - noise)
    assert not is_clear_gain(losses, losses - 0.09 - noise)
    assert not is_clear_gain(losses, losses)
