"""Compare bulk int8 scoring with its parts, for students of several sizes.

The parts are the graphs alone on prepared tensors, and the decoder alone on the same files, each
with all threads; the share is the sum of their times divided by the time of bulk scoring, which
also hashes, reads, tokenises and writes. Bulk scoring and its parts alternate in one process. The
students have the true architecture and random weights, which do not affect speed. `repeats` is the
rate with a fifth of the posts replaced by copies of earlier ones, divided by the rate without.
Prints one JSON object.

    python benchmarks/scoring_share.py [--only pocket nano] [--posts 700] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from bulk_scoring import make_student, pure_model, real_captions, write_posts
from encoders import REFERENCE, build
from photographs import SIZES, draw_photographs
from transformers import BertConfig, BertModel

from postbias.posts.images import decode_square
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import Scorer
from postbias.student.encoders import TextEncoder
from postbias.student.image_encoders import load_image_encoder, read_image_input
from postbias.student.network import Student

POCKET = "pocket"
_POCKET_IMAGES = "timm/mobilenetv4_conv_small.e2400_r224_in1k"
_POCKET_SIZE = 128

#: Name in the report and how the student is made.
SIZES_OF_STUDENTS = {"full": REFERENCE, "small": "small", "nano": "nano", POCKET: POCKET}
_REPEATED = 0.2
_N_SHARDS = 2

Times = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Create posts and students, time each student and its parts, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SIZES_OF_STUDENTS)
    parser.add_argument("--posts", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, help="side of all images in pixels; default: mixed")
    parser.add_argument("--progressive", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    sizes = ((options.side, options.side),) if options.side else SIZES
    captions = real_captions(options.posts)
    files = draw_photographs(options.posts, sizes=sizes, progressive=options.progressive)
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        posts = Posts(folder, captions, files)
        for size in options.only or SIZES_OF_STUDENTS:
            artifact = export(size, folder, captions, files)
            times = measure(artifact, posts, options.rounds, options.threads)
            for key, value in summarise(times, options.posts).items():
                report.setdefault(key, {})[size] = value
            print(json.dumps({size: {k: v[size] for k, v in report.items()}}), flush=True)
    mean_kb = round(statistics.mean(map(len, files)) / 1000, 1)
    print(json.dumps(report | {"threads": options.threads, "mean_kb": mean_kb}, indent=2,
                     sort_keys=True))  # fmt: skip


class Posts:
    """Posts without repeats, and with; each in shards."""

    def __init__(self, folder: Path, captions: list[str], files: list[bytes]) -> None:
        """Write the shards."""
        self.folder, self.captions, self.files = folder, captions, files
        rng = np.random.default_rng(0)
        rows = np.arange(len(files))
        for row in np.flatnonzero(rng.random(len(files)) < _REPEATED)[1:]:
            rows[row] = rows[rng.integers(row)]
        self.distinct = self._write("distinct", range(len(files)))
        self.repeated = self._write("repeated", rows.tolist())

    def _write(self, name: str, rows: range | list[int]) -> list[Path]:
        parts = np.array_split(np.asarray(rows), _N_SHARDS)
        return [
            write_posts(
                self.folder / f"{name}{number}.parquet",
                [self.captions[row] for row in part],
                [self.files[row] for row in part],
            )
            for number, part in enumerate(parts)
        ]


def export(size: str, folder: Path, captions: list[str], files: list[bytes]) -> Artifact:
    """Export a student; the pocket size is MobileNetV4-small at 128 px and a BERT of 2 layers."""
    if size != POCKET:
        return build(SIZES_OF_STUDENTS[size], folder, captions, files)[0]
    shape = BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    wanted = read_image_input(_POCKET_IMAGES, _POCKET_SIZE)
    student = Student(
        TextEncoder(BertModel(shape, add_pooling_layer=False), 128),
        load_image_encoder(_POCKET_IMAGES, "none", wanted),
        hidden=256, n_axes=2, dropout=0.1,
    ).eval()  # fmt: skip
    return make_student(folder / POCKET, captions, files, student, wanted)[2]


def measure(artifact: Artifact, posts: Posts, rounds: int, threads: int) -> Times:
    """Time bulk scoring and its parts; return wall and processor seconds of each round."""
    manifest = artifact.manifest
    assert manifest.image_size is not None
    size, preprocessing = manifest.image_size, manifest.image_preprocessing
    pool = ThreadPoolExecutor(threads)

    def decode() -> object:
        return list(pool.map(lambda data: decode_square(data, size, preprocessing), posts.files))

    compute = pure_model(artifact, posts.captions, posts.files, threads)
    times: Times = {}
    with Scorer(artifact, threads=threads) as scorer:
        for _ in range(rounds + 1):
            with tempfile.TemporaryDirectory(dir=posts.folder) as name:
                run = Path(name)
                outputs = [
                    ScoreOutputs(run / part, run / f"{part}.rejects", run / f"{part}.store")
                    for part in ("distinct", "repeated")
                ]
                jobs: dict[str, Callable[[], object]] = {
                    "bulk": lambda to=outputs[0]: score_shards(
                        posts.distinct, scorer, to, batch_size=BATCH_SIZE
                    ),
                    "compute": compute,
                    "decode": decode,
                    "repeated": lambda to=outputs[1]: score_shards(
                        posts.repeated, scorer, to, batch_size=BATCH_SIZE
                    ),
                }
                for variant, job in jobs.items():
                    started = time.perf_counter(), time.process_time()
                    job()
                    times.setdefault(variant, []).append(
                        (time.perf_counter() - started[0], time.process_time() - started[1])
                    )
    return times


def summarise(times: Times, n_posts: int) -> dict[str, float]:
    """Compute medians over the rounds, without the first one, which warms up."""
    rounds = [
        dict(zip(times, seconds, strict=True)) for seconds in zip(*times.values(), strict=True)
    ][1:]

    def median(value: Callable[[dict[str, tuple[float, float]]], float]) -> float:
        return statistics.median(map(value, rounds))

    return {
        "share": round(median(lambda s: (s["compute"][0] + s["decode"][0]) / s["bulk"][0]), 3),
        "cpu_share": round(median(lambda s: (s["compute"][1] + s["decode"][1]) / s["bulk"][1]), 3),
        "rate": round(n_posts / median(lambda s: s["bulk"][0]), 1),
        "repeats": round(median(lambda s: s["bulk"][1] / s["repeated"][1]), 3),
    } | {
        f"cpu_ms_{part}": round(1000 * median(lambda s, part=part: s[part][1]) / n_posts, 3)
        for part in ("bulk", "compute", "decode")
    }


if __name__ == "__main__":
    main()
