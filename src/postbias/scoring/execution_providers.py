"""Choose the ONNX Runtime execution provider that runs a student's graphs."""

# Ships inside the registered model.

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from importlib.metadata import version
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
    "cuda": "install the package onnxruntime-gpu[cuda,cudnn] instead of onnxruntime, or choose"
    " device: cpu",
    "coreml": "use onnxruntime for macOS on a Mac, or choose device: cpu",
}


def installed_version(package: str) -> str:
    """Return the installed version of a package.

    Args:
        package: Name of its distribution; `onnxruntime` stands for those for other devices too,
            such as `onnxruntime-gpu`.

    Raises:
        PackageNotFoundError: If it is not installed.
    """
    return str(ort.__version__) if package == "onnxruntime" else version(package)


def list_candidate_devices(device: Device) -> list[str]:
    """List the devices to try, fastest first.

    A listed device may still fail to start: a GPU build of onnxruntime lists CUDA on a machine
    without a GPU. Check the providers of the opened session.

    Args:
        device: The requested device.

    Returns:
        For `auto` all devices that this onnxruntime supports, the CPU last; else the requested one.

    Raises:
        DeviceError: If the device is unknown or not supported by this onnxruntime.
    """
    if device != "auto" and device not in PROVIDERS:
        raise DeviceError(
            "unknown device", seen=device, allowed=", ".join(("auto", *sorted(PROVIDERS)))
        )
    offered = ort.get_available_providers()
    if device == "auto":
        return [name for name, provider in PROVIDERS.items() if provider in offered]
    if PROVIDERS[device] not in offered:
        raise unavailable_device_error(
            device, f"onnxruntime {ort.__version__} supports {', '.join(offered)}"
        )
    return [device]


def session_providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the providers and options of a session on a device.

    The CPU provider comes last; it runs the few operators that the device does not support.
    """
    names = [device] if device == "cpu" else [device, "cpu"]
    return [(PROVIDERS[name], dict(_OPTIONS[name])) for name in names]


def load_device_libraries(device: str) -> None:
    """Load the CUDA and cuDNN libraries of Python packages such as `nvidia-cudnn-cu12`.

    The loader of the system does not look into Python packages, and onnxruntime finds them only if
    they are loaded already, for example by torch, which is not needed to score.

    Args:
        device: A device from `list_candidate_devices`; only `cuda` has such libraries.
    """
    preload = getattr(ort, "preload_dlls", None)  # since onnxruntime 1.21
    if device != "cuda" or preload is None:
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:  # stdout is for results
        preload()
    if message := printed.getvalue().strip():
        logger.warning("%s", message)


def failed_run_error(device: str, error: Exception) -> DeviceError:
    """Return the error for a graph that failed on a device other than the CPU."""
    return DeviceError(
        f"device {device} failed: {' '.join(str(error).split())[:200]}",
        do="if its memory is full, end other programs that use it or score with fewer threads; or"
        " choose device: cpu",
    )


def unavailable_device_error(device: str, why: str) -> DeviceError:
    """Return the error for an unavailable device, with what to install."""
    return DeviceError(f"device {device} cannot be used: {why}", do=_INSTALL.get(device))


def log_device(requested: Device, chosen: str, precision: str) -> None:
    """Log the requested device, the chosen one, and the precision of its graphs."""
    logger.info(
        "scoring on %s (device: %s, onnxruntime %s), %s graphs",
        chosen, requested, ort.__version__, precision,
    )  # fmt: skip
