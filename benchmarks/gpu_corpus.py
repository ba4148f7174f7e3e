"""Posts and a student for `benchmarks/gpu.py`, made without a network.

Posts have one JPEG each, with the spectrum and the sides of photographs on social media, and a
caption of made-up words. The student has the true architectures, with random weights.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast, set_seed

from postbias.axes import Axis
from postbias.paths import Paths
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table
from postbias.scoring.manifest import Manifest
from postbias.student.dataset import Examples, load_examples
from postbias.student.encoder_settings import load_tokenizer_of
from postbias.student.export import export_student
from postbias.student.network import Student
from postbias.student.training_setup import TrainingJob, TrainingSetup

PARAMS = Path(__file__).resolve().parents[1] / "params" / "resnet18-distilbert.yaml"
AXES = (Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0))
SEED = 20260521
_QUALITY = 85
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of data, student and measurements.

    Attributes:
        image_px: Side of the images that the student reads.
        text_config: What differs from DistilBERT's own configuration.
        sides: Shortest and longest side of the JPEG files, in pixels.
        n_images: Distinct images; every post's file has bytes of its own.
        n_train: Posts to train on.
        n_compared: Posts to train on where devices are compared.
        n_valid: Posts of the valid fold.
        shard_posts: Posts per scored shard.
        n_shards: Scored shards.
        n_equal: Posts whose scores are compared.
        batch: Posts per batch of the GPU.
        seconds: Duration of each measurement of a rate.
        workers: Numbers of processes that share one GPU.
        threads: CPU threads; None for all cores.
    """

    image_px: int = 224
    text_config: dict[str, int] | None = None
    sides: tuple[int, int] = (640, 1080)
    n_images: int = 128
    n_train: int = 2000
    n_compared: int = 384
    n_valid: int = 128
    shard_posts: int = 1024
    n_shards: int = 8
    n_equal: int = 512
    batch: int = 256
    seconds: float = 6.0
    workers: tuple[int, ...] = (2, 4)
    threads: int | None = None


FULL = Scale()
#: Runs every line on two cores in seconds; its rates mean nothing.
TINY = Scale(
    image_px=32, text_config={"n_layers": 1, "dim": 32, "hidden_dim": 64, "n_heads": 2},
    sides=(64, 96), n_images=8, n_train=96, n_compared=64, n_valid=16, shard_posts=48,
    n_shards=2, n_equal=32, batch=16, seconds=0.3, workers=(1, 2), threads=1,
)  # fmt: skip


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_data(folder: Path, scale: Scale) -> dict[str, Any]:
    """Write posts, labels, weights and the student's artifact.

    Args:
        folder: Folder to write to.
        scale: Sizes.

    Returns:
        What was written: mean size of a JPEG file in bytes and mean length of a caption in tokens.
    """
    rng = np.random.default_rng(0)
    files, warmth = _draw_images(rng, scale)
    n_train, n_scored = scale.n_train + scale.n_valid, scale.n_shards * scale.shard_posts
    captions = _draw_captions(rng, n_train + n_scored)
    for start in range(0, n_train, scale.shard_posts):
        rows = range(start, min(n_train, start + scale.shard_posts))
        _write_shard(folder / "train" / f"part-{start:06}.parquet", rows, captions, files)
    for number in range(scale.n_shards):
        start = n_train + number * scale.shard_posts
        rows = range(start, start + scale.shard_posts)
        _write_shard(folder / "scored" / f"part-{number:03}.parquet", rows, captions, files)
    tone = np.array([warmth[row % len(warmth)] for row in range(n_train)])
    has_word = np.array(["w1 " in captions[row] for row in range(n_train)])
    labels = 5 + 2 * tone[:, None] + 2 * has_word[:, None] + rng.normal(0, 0.7, (n_train, 2))
    np.save(folder / "labels.npy", labels.clip(0, 10).astype(np.float32))
    tokenizer = _write_text_encoders(folder, captions, scale)
    lengths = [len(tokenizer.encode(caption).ids) for caption in captions[:500]]
    artifact = _export(folder, scale)
    sizes = [len(data) for data in files]
    return {
        "jpeg_kb": round(float(np.mean(sizes)) / 1000, 1),
        "tokens": round(float(np.mean(lengths)), 1),
        "graphs": artifact,
    }


def _draw_images(rng: np.random.Generator, scale: Scale) -> tuple[list[bytes], NDArray[np.float64]]:
    """Draw JPEG files, and how warm the colours of each are, in standard deviations."""
    warmth = rng.normal(0, 1, scale.n_images)
    seeds = rng.integers(0, 2**32, scale.n_images)
    with ThreadPoolExecutor(cores()) as pool:
        files = list(
            pool.map(lambda seed, tone: _draw_jpeg(int(seed), tone, scale.sides), seeds, warmth)
        )
    return files, warmth


def _draw_jpeg(seed: int, tone: float, sides: tuple[int, int]) -> bytes:
    """Draw noise with the 1/f spectrum of photographs, and shapes with edges."""
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    channels = []
    for share in (45, 12, 12):  # brightness varies more than colour does
        noise = np.fft.rfft2(rng.standard_normal((height, width)).astype(np.float32))
        texture = np.fft.irfft2(noise / frequency**1.2, (height, width))
        channels.append(texture / texture.std() * share)
    light, red, blue = channels
    pixels = np.stack([light + red + 15 * tone, light, light + blue - 15 * tone], axis=-1)
    image = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
    mask = Image.new("L", image.size)
    draw = ImageDraw.Draw(mask)
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        radius = int(rng.integers(width // 16, width // 5))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(99)))
    mask = mask.filter(ImageFilter.GaussianBlur(1))
    image = Image.composite(Image.new("RGB", image.size, (235, 200, 180)), image, mask)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _draw_captions(rng: np.random.Generator, count: int) -> list[str]:
    """Draw captions of 3 to 45 words, as frequent as those of a language."""
    letters = list("abcdefghiklmnoprstuwy")
    words = ["w1", *("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(3000))]
    weights = 1 / np.arange(2, len(words) + 2)
    weights /= weights.sum()
    lengths = (3 + rng.gamma(2.0, 9.0, count)).clip(max=45).astype(int)
    return [" ".join(rng.choice(words, length, p=weights)) for length in lengths]


def _write_shard(path: Path, rows: range, captions: list[str], files: list[bytes]) -> None:
    posts = [
        {
            "post_id": f"p{row:06}",
            "author": f"a{row}",
            "caption": captions[row],
            "images": [{"bytes": _with_comment(files[row % len(files)], row), "path": None}],
            "platform": "bench",
            "source": "bench",
        }
        for row in rows
    ]
    write_table(pa.Table.from_pylist(posts, POSTS), path, POSTS)


def _with_comment(jpeg: bytes, number: int) -> bytes:
    """Insert a comment, so that no two files have the same bytes."""
    comment = f"post {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _write_text_encoders(folder: Path, captions: list[str], scale: Scale) -> Tokenizer:
    """Write DistilBERT with random weights, with its dropout and without."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=8000, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(captions[:4000], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    set_seed(SEED)
    encoder = DistilBertModel(DistilBertConfig(**(scale.text_config or {})))
    for name, dropout in (("distilbert", 0.1), ("distilbert-no-dropout", 0.0)):
        encoder.config.dropout = encoder.config.attention_dropout = dropout
        encoder.save_pretrained(folder / name)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
        fast.save_pretrained(folder / name)
    return tokenizer


def read_params(folder: Path, scale: Scale, **train: object) -> SimpleNamespace:
    """Read the params of the full student; pydantic, which checks them elsewhere, is not needed.

    Args:
        folder: Folder of `write_data`.
        scale: Sizes.
        train: Values of the group `train` to replace.

    Returns:
        The params, with attributes like `postbias.params.Params`.
    """
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["threads"] = scale.threads or params["threads"]
    params["train"] |= {
        "text_encoder": str(folder / "distilbert"),
        "image_weights": "none",
        "image_size": scale.image_px,
    } | train
    namespace: SimpleNamespace = json.loads(
        json.dumps(params), object_hook=lambda group: SimpleNamespace(**group)
    )
    return namespace


def make_job(folder: Path, params: Any) -> TrainingJob:  # noqa: ANN401 - params without pydantic
    """Describe the training of the fusion student."""
    return TrainingJob(Paths(folder, folder), params, "fusion", folder)


def load_folds(folder: Path, params: Any, scale: Scale, count: int) -> TrainingSetup:  # noqa: ANN401
    """Load, tokenise and decode the first posts as train fold, and the last as valid fold."""
    labels = np.load(folder / "labels.npy")
    job = make_job(folder, params)
    tokenizer = load_tokenizer_of(params.train, [])

    def load(name: str, rows: range) -> Examples:
        by_id = {f"p{row:06}": labels[row] for row in rows}
        file = folder / f"{name}-{os.getpid()}.pixels"
        return load_examples(folder / "train", by_id, tokenizer, params.train, file)

    n_posts = scale.n_train + scale.n_valid
    valid = range(scale.n_train, n_posts)
    return TrainingSetup(job, tokenizer, load("train", range(count)), load("valid", valid))


def build_student(folder: Path, scale: Scale) -> Student:
    """Build the student as training does, with random weights and units like those of labels."""
    params = read_params(folder, scale)
    set_seed(SEED)
    empty = Examples((), (), np.zeros((0, 1, 1, 3), np.uint8), (), np.zeros((0, 2), np.float32))
    tokenizer = load_tokenizer_of(params.train, [])
    student = TrainingSetup(make_job(folder, params), tokenizer, empty, empty).new_student()
    student.head.center.fill_(5.0)
    student.head.scale.fill_(2.0)
    return student.eval()


def _export(folder: Path, scale: Scale) -> list[str]:
    """Export the student to ONNX in fp32 and int8; return the graphs that ship in int8."""
    params = read_params(folder, scale)
    count = min(32, scale.n_compared)
    setup = load_folds(folder, params, scale, count)
    manifest = Manifest(
        axes=AXES,
        rubric="none",
        training_digest="none",
        n_train=0,
        **setup.job.manifest_fields(),
    )
    student = build_student(folder, scale)
    artifact = export_student(
        student, manifest, setup.tokenizer, setup.quantization_posts(), folder / "student"
    )
    return [f"{name} {graph.ships}" for name, graph in artifact.manifest.precision.items()]
