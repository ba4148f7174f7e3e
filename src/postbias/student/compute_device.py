"""Choose the device and the precision of training, and configure torch for them."""

from __future__ import annotations

import os

import torch

from postbias.errors import DeviceError

# CPU features; without any of them bf16 is emulated, which is 4 to 6 times slower than fp32.
_CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


def choose_device(device: str) -> str:
    """Replace `auto` by the first available of `cuda`, `mps` and `cpu`.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        The device; unchanged unless `auto`.

    Raises:
        DeviceError: If a requested device is not available. The Trainer would use another one
            without a word.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, is_there in available.items() if is_there), "cpu")
    if not available.get(device, True):
        is_cpu_build = device == "cuda" and torch.version.cuda is None
        raise DeviceError(
            f"train.device is not available: torch {torch.__version__}"
            + (" was built without CUDA" if is_cpu_build else " finds no such device"),
            seen=device,
            allowed=", ".join(("auto", "cpu", *(name for name in available if available[name]))),
            do="set train.device: auto, or check the driver (`nvidia-smi`) and the build of torch",
        )
    return device


def uses_bf16(precision: str, device: str) -> bool:
    """Decide whether to train under bf16 autocast.

    Args:
        precision: `bf16`, `fp32`, or `auto` for bf16 where the device supports it in hardware.
        device: A device from `choose_device`.

    Returns:
        True for bf16, False for fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and _cpu_has_bf16()


def configure_torch(threads: int) -> None:
    """Set the number of threads, and choose deterministic kernels where there are any.

    Call it before the first computation on a GPU.

    Args:
        threads: Number of CPU threads.
    """
    torch.set_num_threads(threads)
    # cuBLAS reads it when it starts; otherwise the sums of a matrix product may change their order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some CUDA kernels have no deterministic version, for example the gradient of max pooling.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling memory that is overwritten anyway takes 5% of a step and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # By default, cuDNN rounds the inputs of fp32 convolutions to 10 bits of mantissa (TF32).
    torch.backends.cudnn.allow_tf32 = False


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _CPU_BF16)
