"""Resolve `auto` for the device and the precision of training."""

from __future__ import annotations

import torch

# CPU features; without any of them bf16 is emulated, which is 4 to 6 times slower than fp32.
_CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


def choose_device(device: str) -> str:
    """Replace `auto` by the first available of `cuda`, `mps` and `cpu`.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        The device; unchanged unless `auto`.
    """
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


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


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _CPU_BF16)
