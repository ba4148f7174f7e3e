"""Compare training three students from cached embeddings with running frozen encoders every epoch.

The encoders are ResNet-18 at 224 px and DistilBERT with random weights, which do not affect speed.
Both variants use the same trainer and the same decoded images. Of the plain loop one epoch is timed
and multiplied by the number of epochs. Prints one JSON object.

    python benchmarks/fast_path.py [--posts 2000] [--epochs 10] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from bulk_scoring import MAX_TOKENS, SIZE, make_student, real_captions
from photographs import draw_photographs

from postbias.axes import Axis
from postbias.params import Params, load_params
from postbias.posts.images import decode_square
from postbias.student.dataset import Examples, PostDataset
from postbias.student.embedding_cache import EmbeddedDataset, Embedder
from postbias.student.freezing import freeze
from postbias.student.network import Student
from postbias.student.trainer import FitResult, fit

AXES = (Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0))
MODALITIES = ("fusion", "text", "image")
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Train the three students both ways and print the ratio of the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoders, examples = make_posts(folder, options.posts)
        plain, fast = {}, {}
        for modality in MODALITIES:
            started = time.perf_counter()
            train_plainly(encoders, examples, modality, folder)
            plain[modality] = (time.perf_counter() - started) * options.epochs
            started = time.perf_counter()
            train_fast(encoders, examples, modality, folder, options.epochs)
            fast[modality] = time.perf_counter() - started
    print(
        json.dumps(
            {
                "fast_path": {
                    "ratio": round(sum(plain.values()) / sum(fast.values()), 2),
                    "plain_s": {name: round(value, 1) for name, value in plain.items()},
                    "fast_s": {name: round(value, 1) for name, value in fast.items()},
                },
                "posts": options.posts,
                "epochs": options.epochs,
                "threads": options.threads,
            },
            indent=2,
            sort_keys=True,
        )
    )


def make_posts(folder: Path, n_posts: int) -> tuple[Student, Examples]:
    """Create encoders, and posts with one caption and one decoded image each."""
    captions, files = real_captions(n_posts), draw_photographs(n_posts)
    student, tokenizer, _ = make_student(folder / "student", captions, files)
    distinct = {data: decode_square(data, SIZE) for data in set(files)}
    pixels = np.stack([distinct[data] for data in files])
    # The cache embeds identical images once: make every image unique.
    pixels[:, 0, 0, :2] = np.arange(n_posts, dtype="<u2").view(np.uint8).reshape(-1, 2)
    rng = np.random.default_rng(0)
    tokenizer.no_padding()
    return student, Examples(
        post_ids=tuple(map(str, range(n_posts))),
        token_ids=tuple(tuple(tokenizer.encode(text).ids[:MAX_TOKENS]) for text in captions),
        pixels=pixels,
        image_rows=tuple(range(row, row + 1) for row in range(n_posts)),
        labels=rng.uniform(0, 10, (n_posts, 2)).astype(np.float32),
    )


def student_of(encoders: Student, modality: str) -> Student:
    """Create a student of one modality with frozen encoders."""
    text = encoders.text if modality != "image" else None
    image = encoders.image if modality != "text" else None
    student = Student(text, image, hidden=128, n_axes=2, dropout=0.1)
    freeze(student, text="all", image="all")
    return student


def params_of(epochs: int) -> Params:
    """Load the params of ResNet-18 and DistilBERT, without early stopping."""
    params = load_params(ROOT / "params" / "resnet18-distilbert.yaml")
    changes = {"epochs": epochs, "patience": epochs, "device": "cpu"}
    return params.model_copy(update={"train": params.train.model_copy(update=changes)})


def train_plainly(encoders: Student, examples: Examples, modality: str, folder: Path) -> FitResult:
    """Train one epoch that runs the encoders; a fifth of the posts is the valid fold."""
    student = student_of(encoders, modality)
    n_valid = len(examples) // 5
    rows = range(len(examples))
    folds = (PostDataset(examples, rows[n_valid:]), PostDataset(examples, rows[:n_valid]))
    return fit(
        student, folds, AXES, params_of(1), seed=0, checkpoints=folder / "plain",
        on_evaluation=lambda *_: None,
    )  # fmt: skip


def train_fast(
    encoders: Student, examples: Examples, modality: str, folder: Path, epochs: int
) -> FitResult:
    """Embed posts that are not in the cache and train the head for all epochs."""
    student = student_of(encoders, modality)
    params = params_of(epochs)
    bf16 = params.train.precision == "bf16"
    embedder = Embedder(student, folder / "store", device="cpu", bf16=bf16)
    parts = embedder.embed(examples, range(len(examples)))
    n_valid = len(examples) // 5

    def fold(start: int, stop: int) -> EmbeddedDataset:
        chosen = {name: part[start:stop] for name, part in parts.items()}
        return EmbeddedDataset(chosen, examples.labels[start:stop])

    folds = (fold(n_valid, len(examples)), fold(0, n_valid))
    return fit(
        student.head, folds, AXES, params, seed=0, checkpoints=folder / "fast",
        on_evaluation=lambda *_: None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
