"""Compare methods of 8-bit quantization of a caption encoder: speed, error, size, batch effects.

The encoder is DistilBERT with random weights; two threads run one batch each. The methods
alternate, and speed is a multiple of fp32 in the same round. `alone vs batch` is the change of an
embedding when its caption shares a batch with others. Results: docs/experiments.md.

    python benchmarks/text_quantization.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from bulk_scoring import make_student, real_captions
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from photographs import draw_photographs

from postbias.student.quantize import quantize_text

Feeds = dict[str, NDArray[np.int64]]


class Captions(CalibrationDataReader):
    """Iterates over captions for the calibration in onnxruntime."""

    def __init__(self, captions: Sequence[Sequence[int]]) -> None:
        """Store the token IDs of the captions."""
        self._captions = iter(captions)

    def get_next(self) -> Feeds | None:
        """Return the inputs of the next caption, or None after the last one."""
        ids = next(self._captions, None)
        return None if ids is None else feeds([ids])


def main() -> None:
    """Quantize with every method and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, tokenizer, artifact = make_student(folder, real_captions(64), draw_photographs(32))
        captions = [tokenizer.encode(text).ids[:128] for text in real_captions(192)]
        test_captions, calibration_captions = captions[:128], captions[128:]
        paths = variants(artifact.folder / "onnx" / "text.onnx", folder, calibration_captions)
        sessions = {name: session(path) for name, path in paths.items()}
        batched, single = batches(test_captions), [feeds([ids]) for ids in test_captions]
        runs = {name: (sessions[name], batched) for name in sessions}
        runs["dynamic, alone"] = (sessions["dynamic"], single)
        speed = relative_speeds(runs, len(test_captions), rounds)
        reference = embed(sessions["fp32"], single)
        first = feeds(test_captions[:32])
        for name, times in speed.items():
            run = runs[name][0]
            embedded = embed(run, single)
            shift = np.abs(run.run(None, first)[0] - embedded[:32]).max() / reference.std()
            alone = 0.0 if name.endswith("alone") else shift
            error = np.abs(embedded - reference) / reference.std()
            size = paths[name.removesuffix(", alone")].stat().st_size / 1e6
            print(
                f"{name:15s} {times:5.2f} x fp32  error {error.mean():.4f} mean "
                f"{error.max():.3f} max  {size:6.1f} MB  alone vs batch {alone:.1g}"
            )


def variants(
    base: Path, folder: Path, calibration_captions: Sequence[Sequence[int]]
) -> dict[str, Path]:
    """Quantize the graph at `base` with every method; return the paths, including fp32."""

    def nbits(block: int) -> Callable[[Path], Any]:
        def write(path: Path) -> None:
            quantizer = MatMulNBitsQuantizer(
                onnx.load(base), bits=8, block_size=block, is_symmetric=True, accuracy_level=4
            )
            quantizer.process()
            quantizer.model.save_model_to_file(str(path), use_external_data_format=False)

        return write

    writers: dict[str, Callable[[Path], Any]] = {
        "ours": lambda path: onnx.save(quantize_text(onnx.load(base), calibration_captions), path),
        "dynamic": lambda path: quantize_dynamic(
            base, path, weight_type=QuantType.QInt8, per_channel=True
        ),
        "static": lambda path: quantize_static(
            base, path, Captions(calibration_captions),
            quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"], extra_options={"MatMulConstBOnly": True},
        ),
        "nbits, 32": nbits(32),
        "nbits, 128": nbits(128),
    }  # fmt: skip
    paths = {"fp32": base}
    for name, write in writers.items():
        paths[name] = folder / f"{name}.onnx"
        write(paths[name])
    return paths


def relative_speeds(
    runs: dict[str, tuple[ort.InferenceSession, list[Feeds]]], count: int, rounds: int
) -> dict[str, float]:
    """Time all runs alternately; return median speeds relative to fp32, without the warm-up."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds + 1):
            for name, (run, work) in runs.items():
                started = time.perf_counter()
                list(pool.map(lambda batch, run=run: run.run(None, batch), work))
                rates[name].append(count / (time.perf_counter() - started))
    return {
        name: statistics.median(
            [rate / base for rate, base in zip(own_rates, rates["fp32"], strict=True)][1:]
        )
        for name, own_rates in rates.items()
    }


def session(path: Path) -> ort.InferenceSession:
    """Load a graph with the session options of the scorer."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    slow_optimizers = ["SkipLayerNormFusion"]
    return ort.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=slow_optimizers
    )


def batches(captions: Sequence[Sequence[int]]) -> list[Feeds]:
    """Batch captions of similar length, like the scorer."""
    groups: dict[int, list[Sequence[int]]] = {}
    for ids in captions:
        groups.setdefault(-(-len(ids) // 8) * 8, []).append(ids)
    return [
        feeds(group[at : at + 1024 // length], length)
        for length, group in sorted(groups.items(), reverse=True)
        for at in range(0, len(group), 1024 // length)
    ]


def feeds(captions: Sequence[Sequence[int]], length: int | None = None) -> Feeds:
    """Pad captions to a common length, by default that of the longest."""
    length = length or max(map(len, captions))
    ids = np.zeros((len(captions), length), np.int64)
    for row, caption in enumerate(captions):
        ids[row, : len(caption)] = caption
    mask = np.arange(length) < np.array([[len(caption)] for caption in captions])
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def embed(run: ort.InferenceSession, work: list[Feeds]) -> NDArray[np.float32]:
    """Run all batches and concatenate the embeddings."""
    return np.concatenate([run.run(None, batch)[0] for batch in work])


if __name__ == "__main__":
    main()
