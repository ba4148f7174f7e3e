"""Measure what reading the text inside images costs, and how many of its words are read.

The student is that of bulk_scoring.py; it scores the same posts with and without OCR, alternately
in one process, so that load from other processes affects both. `known` are images whose text is in
the store. Prints one JSON object. Needs the extra `ocr`.

    python benchmarks/image_text.py [--posts 48] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bulk_scoring import make_student

from postbias.posts.image_text import ImageTextReader, ocr_engine_name
from postbias.scoring.artifact import write_artifact
from postbias.scoring.scorer import PostInput, Scorer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.text_images import SENTENCES, count_found_words, draw_nothing, draw_sentence

SIDE = 1080
CAPTION = "A caption of the usual length, with a few words about the day"


def main() -> None:
    """Create student and posts, time the variants alternately and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(20260521)
    sentences = [SENTENCES[n % len(SENTENCES)] for n in range(options.posts)]
    tiles = [draw_sentence(sentence, rng, side=SIDE) for sentence in sentences]
    blank = [draw_nothing(rng, side=SIDE) for _ in sentences]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, _, plain = make_student(folder / "student", [CAPTION] * 64, blank)
        with_ocr = write_artifact(plain.folder, replace(plain.manifest, ocr=ocr_engine_name()))
        store = folder / "texts.sqlite"
        with (
            Scorer(plain, threads=options.threads) as without,
            Scorer(with_ocr, threads=options.threads) as reading,
            Scorer(with_ocr, threads=options.threads, image_texts=store) as known,
        ):
            for scorer in (without, reading, known):
                scorer.score(_posts([*tiles, *blank]))
            variants = {
                "without": (without, blank),
                "no_text": (reading, blank),
                "text": (reading, tiles),
                "known": (known, tiles),
            }
            seconds: dict[str, list[float]] = {variant: [] for variant in variants}
            for _ in range(options.rounds):
                for variant, (scorer, images) in variants.items():
                    started = time.perf_counter()
                    scorer.score(_posts(images))
                    seconds[variant].append(time.perf_counter() - started)
    reader = ImageTextReader()
    counts = [
        count_found_words(text, reader.read(tile))
        for text, tile in zip(sentences, tiles, strict=True)
    ]
    found, total = np.sum(counts, axis=0)
    result = {"word_recall": round(float(found / total), 3)}
    for variant, times in seconds.items():
        rates = [options.posts / each for each in times]
        result[f"{variant}_posts_per_s"] = round(statistics.median(rates), 2)
        ratios = [b / a for a, b in zip(seconds["without"], times, strict=True)]
        result[f"{variant}_time_ratio"] = round(statistics.median(ratios), 2)
    print(json.dumps({"image_text": result}, indent=2, sort_keys=True))


def _posts(images: list[bytes]) -> list[PostInput]:
    return [PostInput(CAPTION, (image,)) for image in images]


if __name__ == "__main__":
    main()
