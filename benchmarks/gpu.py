"""Measure training and bulk scoring of the full student on one GPU, beside the CPU.

The student is ResNet-18 at 224 px and DistilBERT with random weights, which do not affect speed.
Posts are synthetic JPEG files of 640 to 1,080 px in Parquet. Parts, each a process of its own:

    data          write posts, weights and the artifact
    training_cpu  some steps of the training code on the CPU
    training_gpu  the same steps on the GPU in fp32 and bf16, and 2,000 posts in bf16
    scoring       posts from Parquet to scores: nvJPEG or CPU decoder, torch or onnxruntime
    equality      scores and pixels of the GPU against the artifact on the CPU
    workers       several processes on one GPU

Takes under 6 minutes on one H100 and needs no network; the report is written after each part.
`--tiny` runs every line on a CPU in under a minute; its rates mean nothing.

    python benchmarks/gpu.py [--only training_cpu training_gpu] [--out build/gpu.json] [--tiny]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # postbias need not be installed

#: Modules that the measured code imports, and the packages that contain them.
REQUIRED = {
    "torch": "torch", "torchvision": "torchvision", "transformers": "transformers",
    "accelerate": "accelerate", "onnxruntime": "onnxruntime", "onnx": "onnx",
    "onnxscript": "onnxscript", "numpy": "numpy", "scipy": "scipy", "pyarrow": "pyarrow",
    "PIL": "pillow", "tokenizers": "tokenizers", "safetensors": "safetensors", "tqdm": "tqdm",
    "yaml": "pyyaml",
}  # fmt: skip

#: Seconds after which a part is stopped.
LIMITS = {
    "data": 90, "training_cpu": 75, "training_gpu": 90, "scoring": 90, "equality": 60,
    "workers": 90,
}  # fmt: skip
PARTS = tuple(LIMITS)
_TOTAL_S, _LEAST_S = 345, 15
_TINY_S = 600  # for a part; a shared machine may be slow, and nothing is measured
GOAL_POSTS_PER_S, GOAL_MINUTES = 5000, 10

Json = dict[str, Any]


def main() -> int:
    """Run the parts, print and write the report; 1 if a part or a comparison failed."""
    options = parse_options()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as stages/train.py, and for its reason
    check_packages()
    method = options.start_method or ("spawn" if Path("/dev/nvidiactl").exists() else "fork")
    if method == "fork":
        import benchmarks.gpu_parts  # noqa: F401 - once, for all parts
    started = time.monotonic()
    report: Json = {"tiny": options.tiny, "seconds": {}, "parts": {}}
    with tempfile.TemporaryDirectory(prefix="postbias-gpu-") as name:
        folder = options.work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            is_wanted = part in options.only or (part == "data" and not has_data(folder))
            if not is_wanted:
                continue
            remaining = _TOTAL_S - (time.monotonic() - started)
            begun = time.monotonic()
            print(f"{part} ...", flush=True)
            report["parts"][part] = run_part(part, folder, options.tiny, method, remaining)
            report["seconds"][part] = round(time.monotonic() - begun, 1)
            report |= {"conclusions": draw_conclusions(report["parts"])}
            write_report(report, options.out)
            print(f"  {report['seconds'][part]} s  {describe(report['parts'][part])}", flush=True)
            if part == "data" and "error" in report["parts"][part]:
                break
    print(json.dumps(report["conclusions"], indent=2))
    return int(has_failed(report))


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tiny", action="store_true", help="every line, at a meaningless size")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json")
    parser.add_argument("--work", type=Path, help="folder for the data, kept for a next run")
    parser.add_argument(
        "--start-method", choices=("spawn", "fork"), help="of processes; spawn if there is a GPU"
    )
    return parser.parse_args()


def check_packages() -> None:
    """Stop with a list of wheels to bring if a package is missing."""
    missing = sorted({package for module, package in REQUIRED.items() if find_spec(module) is None})
    if missing:
        sys.exit(
            f"missing Python packages: {', '.join(missing)}; this is Python"
            f" {sys.version_info.major}.{sys.version_info.minor} with torch {_version('torch')}."
            " Bring their wheels: `pip download --no-deps --only-binary=:all: -d wheels"
            f" {' '.join(missing)}` where there is a network, then `pip install --no-index"
            " --no-deps wheels/*.whl` here."
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def has_data(folder: Path) -> bool:
    """Return whether an earlier run left complete data in its folder."""
    return (folder / "data.json").is_file()


def run_part(part: str, folder: Path, tiny: bool, method: str, remaining: float) -> Json:
    """Run a part in a process of its own and return its results, or why there are none."""
    limit = _TINY_S if tiny else min(LIMITS[part], remaining)
    if limit < _LEAST_S:
        return {"error": "not started: the time is up; choose parts with --only"}
    context = multiprocessing.get_context(method)
    result = folder / f"{part}.json"
    result.unlink(missing_ok=True)
    process = context.Process(target=_in_process, args=(part, folder, tiny, method, result))
    process.start()
    try:
        process.join(limit)
    finally:
        was_alive = process.is_alive()
        if was_alive:
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)  # it leads a group: its workers end too
            process.join()
    if was_alive:
        return {"error": f"stopped after {limit:.0f} s"}
    if not result.is_file():
        return {"error": f"exit code {process.exitcode}; see the traceback above"}
    outcome: Json = json.loads(result.read_text(encoding="utf-8"))
    return outcome


def _in_process(part: str, folder: Path, tiny: bool, method: str, result: Path) -> None:
    os.setpgid(0, 0)
    import transformers
    from benchmarks.gpu_corpus import FULL, TINY
    from benchmarks.gpu_parts import RUNS

    transformers.logging.disable_progress_bar()
    arguments = [multiprocessing.get_context(method)] if part == "workers" else []
    outcome = RUNS[part](folder, TINY if tiny else FULL, *arguments)
    write_report(outcome, result)


def write_report(report: Json, path: Path) -> None:
    """Write JSON atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def draw_conclusions(parts: Json) -> Json:
    """Compare GPU and CPU of one run: ratios, goals and whether the results agree."""
    conclusions: Json = {}
    gpu, cpu = parts.get("training_gpu", {}), parts.get("training_cpu", {})
    if "all_posts" in gpu and "fp32" in cpu:
        own = cpu.get("bf16", cpu["fp32"])  # what `precision: auto` chooses
        whole = gpu["all_posts"]
        conclusions["training"] = {
            "device": whole["device"],
            "posts_per_s": whole["posts_per_s"],
            "ratio_to_cpu": round(whole["posts_per_s"] / own["posts_per_s"], 2),
            "fp32_curve": compare_curves(gpu["fp32"]["curve"], cpu["fp32"]["curve"], 0.02),
            "bf16_curve": compare_curves(gpu["bf16"]["curve"], cpu["fp32"]["curve"], 0.05),
            **{name: value for name, value in whole.items() if name.startswith("extrapolated")},
        }
    scoring = parts.get("scoring", {})
    rates = {
        name: value["posts_per_s"]
        for name, value in scoring.items()
        if name.startswith("torch_decoded")
    }
    if rates:
        best = max(rates, key=rates.__getitem__)
        conclusions["scoring"] = {
            "device": scoring["torch_device"],
            "best": best,
            "posts_per_s": rates[best],
            "ratio_to_cpu_int8": round(rates[best] / scoring["cpu_int8"]["posts_per_s"], 2),
        }
    if scores := parts.get("equality", {}).get("scores"):
        passed = {name: value["passed"] for name, value in scores.items() if "passed" in value}
        conclusions["equality"] = {**passed, "passed": all(passed.values())}
    if workers := {n: w for n, w in parts.get("workers", {}).items() if "posts_per_s" in w}:
        conclusions["workers"] = {count: rate["posts_per_s"] for count, rate in workers.items()}
    return conclusions | {"goals": judge_goals(conclusions)}


def compare_curves(curve: Sequence[Json], reference: Sequence[Json], allowed: float) -> Json:
    """Compare the losses of two training runs.

    Args:
        curve: Rows with `step`, `train_loss` and `valid_loss`.
        reference: Rows of the same steps.
        allowed: Largest relative difference.

    Returns:
        `largest_relative_difference`, `allowed` and `passed`.
    """
    differences = [
        abs(row[name] - other[name]) / abs(other[name])
        for row, other in zip(curve, reference, strict=True)
        for name in ("train_loss", "valid_loss")
    ]
    largest = max(differences)
    return {
        "largest_relative_difference": float(f"{largest:.3g}"),
        "allowed": allowed,
        "passed": bool(largest <= allowed),
    }


def judge_goals(conclusions: Json) -> Json:
    """Compare with the goals for one H100; nothing is judged without a GPU."""
    scoring, training = conclusions.get("scoring", {}), conclusions.get("training", {})
    goals: Json = {}
    if scoring.get("device") == "cuda":
        best = max(scoring["posts_per_s"], *conclusions.get("workers", {"": 0}).values())
        goals[f"scoring: at least {GOAL_POSTS_PER_S} posts/s"] = best >= GOAL_POSTS_PER_S
    if training.get("device", "").startswith("cuda"):
        minutes = next(v for name, v in training.items() if name.startswith("extrapolated"))
        goals[f"training: under {GOAL_MINUTES} minutes (extrapolated)"] = minutes < GOAL_MINUTES
    return goals or {"not judged": "no CUDA device"}


def has_failed(report: Json) -> bool:
    """Return whether a part failed or results differ by more than allowed."""
    found = report["conclusions"]
    curves = [found.get("training", {}).get(f"{name}_curve", {}) for name in ("fp32", "bf16")]
    checks = [*curves, found.get("equality", {})]
    has_error = any("error" in part for part in report["parts"].values())
    return has_error or not all(check.get("passed", True) for check in checks)


def describe(result: Json) -> str:
    """Summarise the results of a part in one line."""
    if "error" in result:
        return str(result["error"])
    rates = {
        name: value["posts_per_s"] if isinstance(value, dict) else value
        for name, value in result.items()
        if (isinstance(value, dict) and "posts_per_s" in value) or name.endswith("_alone")
    }
    return ", ".join(f"{name} {rate:g} posts/s" for name, rate in rates.items())


if __name__ == "__main__":
    sys.exit(main())
