"""Which of onnxruntime's execution providers runs a student's graphs.

A provider that is offered may still not start: a GPU build of onnxruntime lists CUDA on a machine
without a GPU. So whoever opens a session has to look at what it came to. Shipped inside the
registered model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import onnxruntime as ort

from postbias.errors import DeviceError

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda", "coreml"]

#: The execution provider of each device, the fastest first.
PROVIDERS: Mapping[str, str] = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}

# TF32 rounds to 10 bits of mantissa, and searching for the fastest convolution makes a score depend
# on what else the GPU was doing.
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "cuda": {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"},
    "coreml": {"ModelFormat": "MLProgram"},
    "cpu": {},
}

_INSTALL = {
    "cuda": "install the package onnxruntime-gpu instead of onnxruntime, and CUDA and cuDNN of the"
    " versions that it names, or choose device: cpu",
    "coreml": "use onnxruntime for macOS on a Mac, or choose device: cpu",
}


def candidates(device: Device) -> list[str]:
    """List the devices to try, the best first.

    Args:
        device: What was asked for.

    Returns:
        For `auto` what this onnxruntime offers, the CPU last; otherwise the one asked for.

    Raises:
        DeviceError: If there is no such device, or this onnxruntime does not offer it.
    """
    if device != "auto" and device not in PROVIDERS:
        raise DeviceError(
            "no such device", seen=device, allowed=", ".join(("auto", *sorted(PROVIDERS)))
        )
    offered = ort.get_available_providers()
    if device == "auto":
        return [name for name, provider in PROVIDERS.items() if provider in offered]
    if PROVIDERS[device] not in offered:
        raise missing(device, f"onnxruntime {ort.__version__} offers {', '.join(offered)}")
    return [device]


def providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """Give what a session needs to run on a device.

    Args:
        device: `cpu`, `cuda` or `coreml`.

    Returns:
        Its provider with options; then the CPU, for the few operators that it does not have.
    """
    names = [device] if device == "cpu" else [device, "cpu"]
    return [(PROVIDERS[name], dict(_OPTIONS[name])) for name in names]


def missing(device: str, why: str) -> DeviceError:
    """Say that a device cannot be had, and what to install.

    Args:
        device: `cuda` or `coreml`.
        why: What was found instead.

    Returns:
        The error.
    """
    return DeviceError(f"device {device} cannot be used: {why}", do=_INSTALL.get(device))


def say(asked: Device, chosen: str, precision: str) -> None:
    """Log which device was chosen, and in which precision the graphs run there.

    Args:
        asked: What was asked for.
        chosen: What runs.
        precision: Of the encoders.
    """
    logger.info(
        "scoring on %s (device: %s, onnxruntime %s), %s graphs",
        chosen, asked, ort.__version__, precision,
    )  # fmt: skip
