"""Every tensor of a training step is on the GPU: proved on machines without one.

Fake tensors have a shape, a type and a device, but no values; each operation checks that its inputs
are on one device, as it would on a GPU. The backward pass runs no code of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from benchmarks.gpu_scoring import TorchScorer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import DistilBertConfig, DistilBertModel

from postbias.student.encoders import TextEncoder
from postbias.student.image_encoders import load_image_encoder
from postbias.student.kept_weights import KeptWeights
from postbias.student.losses import compute_losses
from postbias.student.network import Student
from postbias.student.optimizer import build_optimizer

CUDA = torch.device("cuda", 0)
B, AXES = 4, 2
RATES = SimpleNamespace(lr_text=1e-4, lr_image=1e-4, lr_head=1e-3, layer_decay=0.9, weight_decay=0)


@pytest.fixture(autouse=True)
def fake_tensors() -> Iterator[None]:
    with FakeTensorMode():
        yield


def make_student(modality: str, *, late_fusion: bool = False, bounded: bool = False) -> Student:
    config = DistilBertConfig(vocab_size=50, n_layers=2, dim=32, hidden_dim=64, n_heads=2)
    with CUDA:
        return Student(
            TextEncoder(DistilBertModel(config), 32) if modality != "image" else None,
            load_image_encoder("resnet18", "none") if modality != "text" else None,
            hidden=16, n_axes=AXES, dropout=0.1, bounded=bounded, late_fusion=late_fusion,
        )  # fmt: skip


def make_batch(device: torch.device | str) -> dict[str, Tensor]:
    return {
        "input_ids": torch.zeros(B, 7, dtype=torch.int64, device=device),
        "attention_mask": torch.ones(B, 7, dtype=torch.int64, device=device),
        "pixels": torch.zeros(B + 1, 32, 32, 3, dtype=torch.uint8, device=device),
        "image_of": torch.zeros(B + 1, dtype=torch.int64, device=device),
        "has_text": torch.ones(B, 1, device=device),
        "has_image": torch.ones(B, 1, device=device),
    }


@contextmanager
def bf16_on_the_gpu() -> Iterator[None]:
    """Do what `torch.autocast("cuda", torch.bfloat16)` does; that disables itself without a GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def devices_of(tensors: Iterator[Tensor]) -> set[torch.device]:
    return {tensor.device for tensor in tensors}


@pytest.mark.parametrize(
    ("modality", "late_fusion", "loss"),
    [
        ("fusion", False, "mse"),
        ("fusion", True, "cross_entropy"),
        ("text", False, "cross_entropy"),
        ("image", False, "huber"),
    ],
)
@pytest.mark.parametrize("is_training", [True, False])
def test_matrix_products_are_in_bf16_and_scores_in_fp32_all_on_the_gpu(
    modality: str, late_fusion: bool, loss: str, is_training: bool
) -> None:
    is_bounded = loss == "cross_entropy"
    student = make_student(modality, late_fusion=late_fusion, bounded=is_bounded)
    student.train(is_training)
    labels = torch.zeros(B, AXES, device=CUDA)
    types = set()
    for module in student.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _, __, output: types.add(output.dtype))
    with bf16_on_the_gpu():
        scores = student(**make_batch(CUDA))
        losses = compute_losses(scores, labels, student.head, loss)
    assert types == {torch.bfloat16}
    for result in (scores, losses):
        assert (result.device, result.dtype, result.shape) == (CUDA, torch.float32, (B, AXES))


def test_a_post_without_images_is_scored_on_the_gpu() -> None:
    batch = make_batch(CUDA)
    batch |= {"pixels": batch["pixels"][:0], "image_of": batch["image_of"][:0]}
    assert make_student("fusion").eval()(**batch).device == CUDA


@pytest.mark.parametrize("name", ["input_ids", "pixels", "image_of", "has_text", "has_image"])
def test_an_input_on_the_cpu_is_noticed(name: str) -> None:
    batch = make_batch(CUDA) | {name: make_batch("cpu")[name]}
    with pytest.raises(Exception, match=r"(cpu.*cuda|cuda.*cpu)"):
        make_student("fusion").eval()(**batch)


def test_updates_and_averages_of_weights_stay_on_the_gpu() -> None:
    student = make_student("fusion")
    optimizer = build_optimizer(student, RATES)  # type: ignore[arg-type]
    kept = KeptWeights(student, mean_age=0.1)
    kept.on_train_begin(None, None, None)
    # As after a resume: the average is read from a file.
    kept._average = {name: value.cpu() for name, value in student.state_dict().items()}
    for step in (1, 2):
        for parameter in student.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        kept.on_step_end(None, SimpleNamespace(global_step=step), None)
    state = [value for values in optimizer.state.values() for value in values.values()]
    assert devices_of(iter(state)) == {CUDA}
    assert devices_of(iter(kept._average.values())) == {CUDA}
    with kept.averaged():
        assert devices_of(student.parameters()) == {CUDA}


def test_the_best_weights_wait_on_the_cpu_and_return_to_the_gpu() -> None:
    student = make_student("fusion")
    kept = KeptWeights(student, mean_age=None)
    arguments = SimpleNamespace(metric_for_best_model="eval_rmse", greater_is_better=False)
    state = SimpleNamespace(best_metric=None, global_step=1)
    kept.on_evaluate(arguments, state, None, metrics={"eval_rmse": 1.0})
    assert kept._best is not None
    assert devices_of(iter(kept._best.values())) == {torch.device("cpu")}
    kept.load_best()
    assert devices_of(student.parameters()) == {CUDA}
    assert devices_of(student.buffers()) == {CUDA}


def test_the_benchmark_resizes_and_scores_on_the_gpu() -> None:
    scorer = object.__new__(TorchScorer)  # its weights would be read from files
    scorer.device, scorer.bf16, scorer.size = "cuda", False, 32
    scorer.student = make_student("fusion").eval()
    scorer.tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1}, unk_token="a"))  # noqa: S106 - not a password
    scorer.tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    images = [torch.zeros(3, side, 50, dtype=torch.uint8, device=CUDA) for side in (40, 60, 70)]
    pixels = scorer.resize(images)
    assert (pixels.device, pixels.dtype, pixels.shape) == (CUDA, torch.uint8, (3, 32, 32, 3))
    scores = scorer.scores_on_device(["a b", "a", "b a b"], pixels)
    assert (scores.device, scores.shape) == (CUDA, (3, AXES))
