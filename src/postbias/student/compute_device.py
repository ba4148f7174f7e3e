"""What training runs on, and in which arithmetic: the two choices that params may leave open.

Knows nothing of students; gives words that the Trainer and the embedder understand.
"""

from __future__ import annotations

import torch

# Without one of these a processor emulates bf16: 4 to 6 times slower than fp32.
_CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


def choose_device(wanted: str) -> str:
    """Resolve `auto`.

    Args:
        wanted: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        `auto` as CUDA, else MPS, else CPU; anything else as it is.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def uses_bf16(precision: str, device: str) -> bool:
    """Resolve `auto`: bf16 where the device has instructions for it.

    Args:
        precision: `auto`, `bf16` or `fp32`.
        device: As `choose_device` gives it.

    Returns:
        Whether to train under bf16 autocast.
    """
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _CPU_BF16)
