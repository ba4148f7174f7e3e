"""Choice of the device and the precision of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from postbias.errors import DeviceError
from postbias.student.compute_device import choose_device, uses_bf16


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_an_explicit_precision_is_used_unchanged(device: str) -> None:
    assert uses_bf16("bf16", device)
    assert not uses_bf16("fp32", device)


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_a_requested_device_is_used_or_an_error(device: str) -> None:
    """The Trainer itself would train on another device without a word."""
    try:
        torch.ones(1, device=device)
    except (AssertionError, RuntimeError):
        with pytest.raises(DeviceError, match=f"not available.*saw '{device}'.*auto"):
            choose_device(device)
    else:
        assert choose_device(device) == device


def test_auto_chooses_an_available_device() -> None:
    device = choose_device("auto")
    torch.ones(1, device=device)  # raises if the device does not exist
    assert (device == "cuda") is torch.cuda.is_available()


def test_auto_chooses_bf16_on_a_cpu_only_if_the_system_lists_the_instructions() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("needs Linux's /proc/cpuinfo as a reference")
    flags = set(cpuinfo.read_text(encoding="utf-8").split())
    assert uses_bf16("auto", "cpu") is bool(flags & {"amx_bf16", "avx512_bf16", "bf16"})
