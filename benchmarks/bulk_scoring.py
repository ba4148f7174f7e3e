"""Compare bulk int8 scoring with a naive PyTorch loop and with the int8 graphs alone.

The student is ResNet-18 at 224 px and DistilBERT with random weights, which do not affect speed.
The naive loop runs PyTorch in eager mode, one post at a time, with captions padded to 64 tokens;
`compute` runs the int8 graphs on prepared tensors. The three alternate in one process, so that load
from other processes affects all of them. Prints one JSON object.

    python benchmarks/bulk_scoring.py [--posts 1600] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from photographs import draw_photographs
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torchvision.transforms import functional as transforms
from transformers import DistilBertConfig, DistilBertModel

from postbias.axes import Axis
from postbias.posts.images import decode_square
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.graphs import Graphs
from postbias.scoring.image_runs import IMAGES_PER_RUN
from postbias.scoring.manifest import Manifest
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import Scorer
from postbias.scoring.text_runs import TOKENS_PER_RUN
from postbias.student.encoders import TextEncoder
from postbias.student.export import export_student
from postbias.student.image_encoders import ImageInput, load_image_encoder
from postbias.student.int8_loss import EncoderInputs, QuantizationPosts
from postbias.student.network import Student

SHARED = Path(__file__).resolve().parents[2] / "shared" / "real"
SIZE, NAIVE_TOKENS, MAX_TOKENS = 224, 64, 128
_STRETCHED = ImageInput(SIZE)
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Create student and posts, time the three alternately and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    # Enough posts that the idle cores during the first read and the last batch hardly count.
    parser.add_argument("--posts", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    captions = real_captions(options.posts)
    files = draw_photographs(options.posts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        student, tokenizer, artifact = make_student(folder / "student", captions, files)
        shard = write_posts(folder / "posts.parquet", captions, files)
        compute = pure_model(artifact, captions, files, options.threads)
        with Scorer(artifact, threads=options.threads) as scorer:
            rates: dict[str, list[float]] = {"naive": [], "bulk": [], "compute": []}
            n_naive = max(10, options.posts // 16)
            for turn in range(options.rounds + 1):
                outputs = ScoreOutputs(
                    folder / "scores", folder / "rejects", folder / f"store{turn}"
                )
                runs: dict[str, tuple[int, Callable[[], object]]] = {
                    "naive": (n_naive, lambda: naive(student, tokenizer, captions, files, n_naive)),
                    "bulk": (
                        len(files),
                        lambda outputs=outputs: score_shards(
                            [shard], scorer, outputs, batch_size=BATCH_SIZE
                        ),
                    ),
                    "compute": (len(files), compute),
                }
                for variant, (count, run) in runs.items():
                    started = time.perf_counter()
                    run()
                    rates[variant].append(count / (time.perf_counter() - started))
        print(json.dumps(result(rates, artifact, options.threads), indent=2, sort_keys=True))


def result(rates: dict[str, list[float]], artifact: Artifact, threads: int) -> dict[str, Any]:
    """Compute medians over the rounds, without the first one, which warms up."""
    ratios = [b / n for b, n in zip(rates["bulk"], rates["naive"], strict=True)][1:]
    shares = [b / c for b, c in zip(rates["bulk"], rates["compute"], strict=True)][1:]
    return {
        "bulk": {
            "ratio_to_naive": round(statistics.median(ratios), 2),
            "fraction_of_compute": round(statistics.median(shares), 3),
            "posts_per_s": round(statistics.median(rates["bulk"][1:]), 1),
            "naive_posts_per_s": round(statistics.median(rates["naive"][1:]), 1),
            "compute_posts_per_s": round(statistics.median(rates["compute"][1:]), 1),
        },
        "artifact": {"base_mb": round(artifact.size_bytes("int8") / 1e6, 2)},
        "threads": threads,
    }


def naive(
    student: Student, tokenizer: Tokenizer, captions: list[str], files: list[bytes], count: int
) -> None:
    """Score posts one by one in PyTorch eager mode."""
    tokenizer.enable_truncation(NAIVE_TOKENS)
    tokenizer.enable_padding(length=NAIVE_TOKENS)
    assert student.text is not None
    assert student.image is not None
    is_present = torch.ones(1, 1)
    with torch.no_grad():
        for caption, data in zip(captions[:count], files, strict=False):
            encoded = tokenizer.encode(caption)
            text = student.text(torch.tensor([encoded.ids]), torch.tensor([encoded.attention_mask]))
            image = Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE))
            tensor = transforms.normalize(transforms.to_tensor(image), _MEAN, _SD)
            embedding = student.image.backbone(tensor[None])
            student.head(text, is_present, embedding, is_present).numpy()


def pure_model(
    artifact: Artifact, captions: list[str], files: list[bytes], threads: int
) -> Callable[[], object]:
    """Prepare all tensors and return a function that runs the int8 graphs on them."""
    graphs, manifest = Graphs(artifact, "int8"), artifact.manifest
    assert manifest.image_size is not None
    pixels = np.stack(
        [decode_square(data, manifest.image_size, manifest.image_preprocessing) for data in files]
    )
    by_length: dict[int, list[list[int]]] = {}
    for caption in captions:
        ids = graphs.tokenize(caption)
        by_length.setdefault(graphs.padded_length(len(ids)), []).append(ids)
    jobs: list[Callable[[], object]] = [
        lambda at=at: graphs.embed_images(pixels[at : at + IMAGES_PER_RUN])
        for at in range(0, len(files), IMAGES_PER_RUN)
    ]
    for length, group in sorted(by_length.items(), reverse=True):
        step = max(1, TOKENS_PER_RUN // length)
        jobs += [
            lambda part=group[at : at + step]: graphs.embed_captions(part)
            for at in range(0, len(group), step)
        ]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda job: job(), jobs))


def train_tokenizer(vocabulary: int = 30_522) -> Tokenizer:
    """Train a WordPiece tokenizer on real captions."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        real_captions(20_000),
        trainers.WordPieceTrainer(
            vocab_size=vocabulary, special_tokens=special, show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def make_student(
    folder: Path,
    captions: list[str],
    files: list[bytes],
    student: Student | None = None,
    image_input: ImageInput = _STRETCHED,
) -> tuple[Student, Tokenizer, Artifact]:
    """Export a student; without `student`, ResNet-18 and DistilBERT with random weights."""
    vocabulary = 30_522
    if student is not None and student.text is not None:
        vocabulary = min(vocabulary, int(student.text.backbone.config.vocab_size))
    tokenizer = train_tokenizer(vocabulary)
    if student is None:
        encoder = TextEncoder(DistilBertModel(DistilBertConfig()), 768)
        student = Student(
            encoder, load_image_encoder("resnet18", "none"), hidden=128, n_axes=2, dropout=0.1
        ).eval()
    manifest = Manifest(
        modality="fusion",
        axes=(Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0)),
        max_images=4,
        rubric="none",
        training_digest="none",
        n_train=0,
        text_encoder="distilbert",
        max_tokens=MAX_TOKENS,
        image_encoder="resnet18",
        image_size=image_input.size,
        image_preprocessing=image_input.preprocessing,
    )
    inputs = EncoderInputs(
        np.stack(
            [decode_square(d, image_input.size, image_input.preprocessing) for d in files[:32]]
        ),
        [tokenizer.encode(caption).ids[:MAX_TOKENS] for caption in captions[:32]],
    )
    posts = QuantizationPosts(inputs, inputs)
    return student, tokenizer, export_student(student, manifest, tokenizer, posts, folder)


def write_posts(path: Path, captions: list[str], files: list[bytes]) -> Path:
    """Write one shard of posts with one image each."""
    rows = [
        {"post_id": str(row), "author": str(row), "caption": caption, "platform": "bench",
         "images": [{"bytes": data, "path": None}], "source": "bench"}
        for row, (caption, data) in enumerate(zip(captions, files, strict=True))
    ]  # fmt: skip
    write_table(pa.Table.from_pylist(rows, POSTS), path, POSTS)
    return path


def real_captions(count: int) -> list[str]:
    """Return real captions, or random words of similar length if there are none."""
    path = SHARED / "edos.csv"
    if not path.is_file():
        rng = np.random.default_rng(0)
        words = ["".join(rng.choice(list("abcdefghij"), rng.integers(2, 8))) for _ in range(2000)]
        return [" ".join(rng.choice(words, rng.integers(5, 40))) for _ in range(count)]
    with path.open(newline="", encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    return [captions[row % len(captions)] for row in range(count)]


if __name__ == "__main__":
    main()
