"""The parts of `benchmarks/gpu.py`; each runs in a process of its own and returns its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torchvision
import transformers
from benchmarks.gpu_corpus import AXES, Scale, cores, write_data
from benchmarks.gpu_scoring import (
    Pipeline,
    TorchScorer,
    describe_rate,
    measure_rate,
    read_batches,
)
from benchmarks.gpu_training import train_on_cpu, train_on_gpu
from numpy.typing import NDArray

from postbias.posts.shards import list_shards
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.execution_providers import Device
from postbias.scoring.manifest import Precision
from postbias.scoring.scorer import PostInput, Scorer
from postbias.student.compute_device import configure_torch

NO_GPU = "no CUDA device"
NO_CUDA_PROVIDER = "onnxruntime-gpu is not installed"

#: Allowed changes of a score, in standard deviations of the scores over posts: of every post for
#: fp32, on average for bf16. Scores of students that were trained on the scale of 10 have about 2,
#: and the export allows int8 to change them by 0.1 on average.
FP32_TOLERANCE, BF16_TOLERANCE = 0.002, 0.05

Json = dict[str, Any]


def has_gpu() -> bool:
    """Return whether torch finds a CUDA device."""
    return torch.cuda.is_available()


def prepare_data(folder: Path, scale: Scale) -> Json:
    """Write posts, weights and the artifact; describe the machine."""
    versions = {
        module.__name__: module.__version__
        for module in (torch, torchvision, transformers, onnxruntime)
    }
    gpu = torch.cuda.get_device_name() if has_gpu() else NO_GPU
    providers = onnxruntime.get_available_providers()
    machine = {"cores": cores(), "gpu": gpu, "versions": versions, "providers": providers}
    return {"machine": machine, **write_data(folder, scale)}


def measure_training(folder: Path, scale: Scale) -> Json:
    """Train on the GPU; on the CPU in tiny runs."""
    if has_gpu():
        return train_on_gpu(folder, scale)
    print(f"  training on the GPU: {NO_GPU}; the same code runs on the CPU")
    return train_on_gpu(folder, scale, "cpu")


def measure_scoring(folder: Path, scale: Scale) -> Json:
    """Measure posts per second from Parquet to scores, and of the stages alone."""
    shards = list_shards(folder / "scored")
    result: Json = {"cpu_int8": score_with_product(folder, scale, "cpu", "int8")}
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        result["onnxruntime_cuda_fp32"] = score_with_product(folder, scale, "cuda", "fp32")
    else:
        result["onnxruntime_cuda_fp32"] = _skip("onnxruntime_cuda_fp32", NO_CUDA_PROVIDER)
    configure_torch(scale.threads or cores())
    device = "cuda" if has_gpu() else "cpu"
    scorer = TorchScorer(folder, scale, device, bf16=device == "cuda")
    captions, files = next(read_batches(shards, scale.batch))
    pixels = scorer.decode_on_cpu(files)
    alone = partial(measure_rate, scale=scale, finish=scorer.synchronise)

    def run(function: Callable[..., object], *arguments: object) -> Callable[[], int]:
        return lambda: (function(*arguments), len(files))[1]

    result |= {
        "torch_device": device,
        "network_alone": alone(run(scorer.score_pixels, captions, pixels)),
        "cpu_decoder_alone": alone(run(scorer.decode_on_cpu, files)),
        "device_decoder_alone": alone(run(scorer.decode_on_device, files)),
    }
    on_device, on_cpu = scorer.decode_on_device, scorer.decode_on_cpu
    variants = {
        "torch_decoded_on_cpu": [on_cpu] * 3,
        "torch_decoded_on_device": [on_device] * 3,
        "torch_decoded_on_both": [on_device, on_device, on_cpu, on_cpu],
    }
    for name, decoders in variants.items():
        result[name] = Pipeline(scorer, shards, scale.batch, decoders).measure(
            scale.seconds, lambda: None
        )
        baseline = result["cpu_int8"]["posts_per_s"]
        result[name]["ratio_to_cpu_int8"] = round(result[name]["posts_per_s"] / baseline, 2)
        if device == "cpu" and decoders[0] == on_device:
            print(f"  {name}: {NO_GPU}; the same code ran on the CPU, without nvJPEG")
    return result


def score_with_product(
    folder: Path, scale: Scale, device: Device, precision: Precision, name: str = "product"
) -> Json:
    """Score shards with the code of `postbias score` for some seconds."""
    shards = list_shards(folder / "scored")
    with Scorer.open(
        folder / "student", precision=precision, device=device, threads=scale.threads or cores()
    ) as scorer:
        posts, seconds, started = 0, 0.0, time.perf_counter()
        for turn in range(1000):
            store = folder / f"{name}-{device}-{precision}-{turn}"
            outputs = ScoreOutputs(store / "scores", store / "rejects.parquet", store / "store")
            shard = shards[turn % len(shards)]
            summary = score_shards([shard], scorer, outputs, batch_size=256)
            assert summary.scored == summary.posts
            if turn or scale.seconds < 1:  # the first shard warms up
                posts, seconds = posts + summary.posts, seconds + summary.seconds
            if posts and time.perf_counter() - started > scale.seconds:
                break
        return {"device": scorer.device, **describe_rate(posts, seconds)}


def measure_equality(folder: Path, scale: Scale) -> Json:
    """Compare scores and pixels with those of the CPU artifact in fp32."""
    configure_torch(scale.threads or cores())
    batches = read_batches(list_shards(folder / "scored"), scale.n_equal)
    captions, files = next(batches)
    posts = [PostInput(caption, (data,)) for caption, data in zip(captions, files, strict=True)]

    def artifact_scores(precision: Precision, device: Device) -> NDArray[np.float32]:
        student = folder / "student"
        with Scorer.open(
            student, precision=precision, device=device, threads=scale.threads or cores()
        ) as scorer:
            results = scorer.score(posts)
        return np.array([[r.scores[axis.name].value for axis in AXES] for r in results], np.float32)

    reference = artifact_scores("fp32", "cpu")
    device = "cuda" if has_gpu() else "cpu"
    if device == "cpu":
        print(f"  scores and pixels of the GPU: {NO_GPU}; the same code runs on the CPU")
    fp32 = TorchScorer(folder, scale, device, bf16=False)
    bf16 = TorchScorer(folder, scale, device, bf16=True)
    ours, others = fp32.decode_on_cpu(files), fp32.decode_on_device(files)
    difference = (ours.int() - others.int()).abs().float()
    of_scores = {
        "fp32": _compare(reference, fp32.score_pixels(captions, ours), largest=FP32_TOLERANCE),
        "bf16": _compare(reference, bf16.score_pixels(captions, ours), mean=BF16_TOLERANCE),
        "fp32_other_decoder": _compare(reference, fp32.score_pixels(captions, others)),
        "bf16_other_decoder": _compare(reference, bf16.score_pixels(captions, others)),
        "cpu_int8": _compare(reference, artifact_scores("int8", "cpu")),
    }
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        scores = artifact_scores("fp32", "cuda")
        of_scores["onnxruntime_cuda_fp32"] = _compare(reference, scores, largest=FP32_TOLERANCE)
    else:
        of_scores["onnxruntime_cuda_fp32"] = _skip("onnxruntime_cuda_fp32", NO_CUDA_PROVIDER)
    return {
        "torch_device": device,
        "posts": len(posts),
        "score_sd": [float(f"{sd:.3g}") for sd in reference.std(0)],
        "scores": of_scores,
        "pixels": {
            "mean_abs": round(float(difference.mean()), 3),
            "p99_abs": float(np.quantile(difference.cpu().numpy(), 0.99)),
            "max_abs": float(difference.max()),
        },
    }


def _compare(
    reference: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    largest: float | None = None,
    mean: float | None = None,
) -> Json:
    """Compare scores (N, A), in standard deviations of the reference."""
    low, high = (np.array([getattr(axis, side) for axis in AXES]) for side in ("low", "high"))
    change = np.abs(scores.clip(low, high) - reference) / reference.std(0)
    seen = {"mean_abs": float(change.mean()), "max_abs": float(change.max())}
    result: Json = {name: float(f"{value:.3g}") for name, value in seen.items()}
    allowed = {"max_abs": largest, "mean_abs": mean}
    for name, limit in allowed.items():
        if limit is not None:
            result |= {f"allowed_{name}": limit, "passed": bool(seen[name] <= limit)}
    return result


def run_worker(
    folder: Path,
    scale: Scale,
    place: tuple[int, int],
    barrier: Any,  # noqa: ANN401
    results: Any,  # noqa: ANN401 - of multiprocessing
) -> None:
    """Score as one of several processes that share a device, and put the rate into a queue.

    Args:
        folder: Folder of `write_data`.
        scale: Sizes.
        place: Number of this process, from 0, and number of processes.
        barrier: Where the processes wait for each other.
        results: Queue for the rate.
    """
    transformers.logging.disable_progress_bar()
    number, count = place
    configure_torch(max(1, cores() // count))
    device = "cuda" if has_gpu() else "cpu"
    scorer = TorchScorer(folder, scale, device, bf16=device == "cuda")
    shards = list_shards(folder / "scored")
    decoders = [scorer.decode_on_device] * 2 + [scorer.decode_on_cpu] * 2
    try:
        own = Pipeline(scorer, shards[number::count] or shards, scale.batch, decoders)
        rate = own.measure(scale.seconds, lambda: barrier.wait(120))
    except BaseException as error:
        barrier.abort()
        results.put({"error": f"{type(error).__name__}: {error}"})
        raise
    results.put(rate)


def measure_workers(folder: Path, scale: Scale, context: Any) -> Json:  # noqa: ANN401 - of multiprocessing
    """Measure the posts per second of several processes on one device."""
    if not has_gpu_driver():
        print(f"  workers on one GPU: {NO_GPU}; the same code runs on the CPU")
    return {str(count): _run_workers(folder, scale, count, context) for count in scale.workers}


def has_gpu_driver() -> bool:
    """Return whether there is an NVIDIA device, without starting CUDA in this process."""
    return Path("/dev/nvidiactl").exists()


def _run_workers(folder: Path, scale: Scale, count: int, context: Any) -> Json:  # noqa: ANN401
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=run_worker, args=(folder, scale, (n, count), barrier, results))
        for n in range(count)
    ]
    for process in processes:
        process.start()
    rates = [results.get(timeout=180) for _ in processes]
    for process in processes:
        process.join()
    if errors := [rate["error"] for rate in rates if "error" in rate]:
        return {"error": errors[0]}
    posts = sum(rate["posts"] for rate in rates)
    return describe_rate(posts, max(rate["seconds"] for rate in rates))


def _skip(name: str, reason: str) -> Json:
    print(f"  {name}: {reason}")
    return {"skipped": reason}


#: The function of each part.
RUNS: Mapping[str, Callable[..., Json]] = {
    "data": prepare_data,
    "training_cpu": train_on_cpu,
    "training_gpu": measure_training,
    "scoring": measure_scoring,
    "equality": measure_equality,
    "workers": measure_workers,
}
