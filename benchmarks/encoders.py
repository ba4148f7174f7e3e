"""Compare students of the params files by parameters, int8 size and speed.

The encoders have the true architecture and random weights, which do not affect size and speed.
Every student scores the same posts with its int8 artifact on two threads; each run alternates with
one of the reference, ResNet-18 and DistilBERT, so that load from other processes affects both.
Prints one JSON object.

    python benchmarks/encoders.py [--only small base] [--posts 64] [--rounds 3]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from bulk_scoring import make_student, real_captions
from photographs import draw_photographs
from transformers import AutoConfig, AutoModel

from postbias.params import load_params
from postbias.scoring.artifact import Artifact
from postbias.scoring.post_scores import PostInput
from postbias.scoring.scorer import Scorer
from postbias.student.encoders import TextEncoder
from postbias.student.image_encoders import load_image_encoder, read_image_input
from postbias.student.network import Student

PARAMS = Path(__file__).resolve().parents[1] / "params"
REFERENCE = "resnet18-distilbert"


def _bert(hidden: int, layers: int, heads: int, vocabulary: int = 30522) -> dict[str, Any]:
    return {"model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": 4 * hidden,
            "vocab_size": vocabulary}  # fmt: skip


def _modernbert(
    hidden: int, layers: int, heads: int, inner: int, vocabulary: int = 50368
) -> dict[str, Any]:
    return {"model_type": "modernbert", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": inner,
            "vocab_size": vocabulary}  # fmt: skip


#: Shapes as in the models' config.json, so that no download is needed.
TEXT: dict[str, dict[str, Any]] = {
    "distilbert-base-uncased": {"model_type": "distilbert"},
    "google/bert_uncased_L-4_H-128_A-2": _bert(128, 4, 2),
    "sentence-transformers/all-MiniLM-L6-v2": _bert(384, 6, 12),
    "jhu-clsp/ettin-encoder-17m": _modernbert(256, 7, 4, 384),
    "jhu-clsp/ettin-encoder-68m": _modernbert(512, 19, 8, 768),
    "answerdotai/ModernBERT-base": _modernbert(768, 22, 12, 1152),
    "jhu-clsp/mmBERT-small": _modernbert(384, 22, 6, 1152, vocabulary=256_000),
}
FILES = (REFERENCE, "pocket", "nano", "small", "base", "large", "multilingual")


def main() -> None:
    """Build all students, time them against the reference and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES[1:]))
    parser.add_argument("--posts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    captions, files = real_captions(options.posts), draw_photographs(options.posts)
    posts = [PostInput(text, (data,)) for text, data in zip(captions, files, strict=True)]
    with tempfile.TemporaryDirectory() as name:
        reference, found = build(REFERENCE, Path(name), captions, files)
        rows = {REFERENCE: found | {"ratio": 1.0}}
        for file in options.only:
            artifact, numbers = build(file, Path(name), captions, files)
            with Scorer(artifact, threads=2) as own, Scorer(reference, threads=2) as other:
                rows[file] = numbers | compare((own, other), posts, options.rounds)
            int8, fp32 = (Scorer(artifact, precision=p, threads=2) for p in ("int8", "fp32"))
            with int8, fp32:
                rows[file]["int8_to_fp32"] = compare((int8, fp32), posts, options.rounds)["ratio"]
            print(json.dumps({file: rows[file]}), flush=True)
    print(json.dumps({"encoders": rows}, indent=2, sort_keys=True))


def build(
    file: str, folder: Path, captions: list[str], files: list[bytes]
) -> tuple[Artifact, dict[str, Any]]:
    """Export the student of a params file; return it with its number of parameters and size."""
    train = load_params(PARAMS / f"{file}.yaml").train
    shape = dict(TEXT[train.text_encoder])
    if train.text_layers is not None:
        shape["num_hidden_layers"] = train.text_layers
    if train.text_vocabulary is not None:
        shape["vocab_size"] = train.text_vocabulary
    backbone = AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
    text = TextEncoder(backbone, backbone.config.hidden_size)
    wanted = read_image_input(train.image_encoder, train.image_size, train.image_fit)
    image = load_image_encoder(train.image_encoder, "none", wanted)
    student = Student(text, image, hidden=train.head_hidden, n_axes=2, dropout=0.1).eval()
    millions = {
        key: round(sum(p.numel() for p in part.parameters()) / 1e6, 1)
        for key, part in (("text_millions", text), ("image_millions", image))
    }
    _, _, artifact = make_student(folder / file, captions, files, student, wanted)
    shipped = {name: graph.ships for name, graph in artifact.manifest.precision.items()}
    del student, text, image, backbone
    gc.collect()
    sizes = {f"{p}_mb": round(artifact.size_bytes(p) / 1e6, 1) for p in ("fp32", "int8")}
    return artifact, millions | sizes | {"ships": shipped}


def compare(
    scorers: tuple[Scorer, Scorer], posts: list[PostInput], rounds: int
) -> dict[str, float]:
    """Time two students alternately; return posts per second, and the median ratio of the two."""
    rates: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        pair = []
        for scorer in scorers:
            started = time.perf_counter()
            scorer.score(posts)
            pair.append(len(posts) / (time.perf_counter() - started))
        rates.append((pair[0], pair[1]))
    return {
        "posts_per_s": round(statistics.median(own for own, _ in rates[1:]), 1),
        "reference_posts_per_s": round(statistics.median(other for _, other in rates[1:]), 1),
        "ratio": round(statistics.median(own / other for own, other in rates[1:]), 2),
    }


if __name__ == "__main__":
    main()
