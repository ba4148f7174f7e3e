"""Train with the code of the stage `train` on one device, for `benchmarks/gpu.py`."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.gpu_corpus import AXES, SEED, Scale, cores, load_folds, read_params
from torch.utils.data import DataLoader

from postbias.student.compute_device import configure_torch, uses_bf16
from postbias.student.dataset import PostDataset
from postbias.student.trainer import fit
from postbias.student.training_setup import TrainingSetup

_PLANNED_POSTS, _PLANNED_EPOCHS = 15_000, 6
_EVALUATIONS = 4  # per epoch; between two of them no checkpoint is written

Json = dict[str, Any]


def train_on_cpu(folder: Path, scale: Scale) -> Json:
    """Train on the CPU in fp32, and in bf16 if it has that in hardware.

    Returns:
        By precision: rates and learning curve.
    """
    is_known = hasattr(torch.cpu, "get_capabilities")  # torch 2.11 may be too old
    has_bf16 = is_known and uses_bf16("auto", "cpu")
    precisions = ["fp32"] + ["bf16"] * (has_bf16 or scale.image_px < 64)
    return {name: _compared_run(folder, scale, "cpu", name) for name in precisions}


def train_on_gpu(folder: Path, scale: Scale, device: str = "cuda") -> Json:
    """Train on all posts in bf16, then on the CPU's posts in bf16 and fp32.

    Returns:
        `all_posts` with rates, and by precision rates and learning curve.
    """
    params = read_params(folder, scale, epochs=2, precision="bf16", device=device,
                         evaluations_per_epoch=_EVALUATIONS)  # fmt: skip
    configure_torch(params.threads)  # as the params of the full student say
    started = time.perf_counter()
    setup = load_folds(folder, params, scale, scale.n_train)
    n_loaded = scale.n_train + scale.n_valid
    loaded = n_loaded / (time.perf_counter() - started)
    train, valid = setup.datasets()
    result = {"all_posts": _run(folder, setup, train, valid)}
    planned = _PLANNED_POSTS / result["all_posts"]["posts_per_s"]
    result["all_posts"] |= {
        "decoded_posts_per_s": round(loaded, 1),
        "data_loader_posts_per_s": _measure_loader(train),
        f"extrapolated_minutes_for_{_PLANNED_POSTS}_posts_and_{_PLANNED_EPOCHS}_epochs": round(
            (_PLANNED_EPOCHS * (planned + result["all_posts"]["checkpoint_s"])
             + _PLANNED_POSTS / loaded) / 60, 2,
        ),
    }  # fmt: skip
    return result | {name: _compared_run(folder, scale, device, name) for name in ("bf16", "fp32")}


def _compared_run(folder: Path, scale: Scale, device: str, precision: str) -> Json:
    """Train without dropout, whose random numbers differ between devices."""
    params = read_params(
        folder, scale, epochs=1, precision=precision, device=device, dropout=0.0,
        text_encoder=str(folder / "distilbert-no-dropout"), evaluations_per_epoch=_EVALUATIONS,
    )  # fmt: skip
    if device == "cpu":
        params.threads = scale.threads or cores()
    configure_torch(params.threads)
    setup = load_folds(folder, params, scale, scale.n_compared)
    return _run(folder, setup, *setup.datasets())


def _run(folder: Path, setup: TrainingSetup, train: PostDataset, valid: PostDataset) -> Json:
    """Train a student from the same weights and in the same order of posts on every device."""
    transformers.logging.set_verbosity_error()
    logging.getLogger("postbias").setLevel(logging.ERROR)
    transformers.set_seed(SEED)
    student = setup.new_student()
    params = setup.job.params
    times: list[float] = []
    started = time.perf_counter()
    result = fit(
        student, (train, valid), AXES, params, seed=SEED, checkpoints=folder / "checkpoints",
        on_evaluation=lambda *_: times.append(time.perf_counter()),
    )  # fmt: skip
    steps = [int(row["step"]) for row in result.curve]
    rates = _rates(times, steps, params.train.batch_size)
    return {
        "posts": len(train),
        "device": str(next(student.parameters()).device),
        "seconds": round(time.perf_counter() - started, 2),
        "peak_gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        **rates,
        "curve": [
            {name: row[name] for name in ("step", "train_loss", "valid_loss")}
            for row in result.curve
        ],
    }


def _rates(times: Sequence[float], steps: Sequence[int], batch_size: int) -> dict[str, float]:
    """Compute the rate between evaluations of one epoch, and what a checkpoint takes."""
    per_step, between_epochs = [], []
    for number, ((t0, t1), (s0, s1)) in enumerate(
        zip(itertools.pairwise(times), itertools.pairwise(steps), strict=True), 1
    ):
        if number % _EVALUATIONS:
            per_step.append((t1 - t0) / (s1 - s0))
        else:
            between_epochs.append((t1 - t0, s1 - s0))
    step_s = statistics.median(per_step)
    checkpoints = [seconds - count * step_s for seconds, count in between_epochs]
    return {
        "posts_per_s": round(batch_size / step_s, 1),
        "checkpoint_s": round(max(0.0, max(checkpoints, default=0.0)), 2),
    }


def _measure_loader(posts: PostDataset) -> float:
    """Measure the data loader alone: posts per second of augmentation and collation."""
    batches = DataLoader(posts, 32, collate_fn=posts.collate)
    started, count = time.perf_counter(), 0
    for batch in itertools.islice(batches, 20):
        count += len(batch["labels"])
    return round(count / (time.perf_counter() - started), 1)
