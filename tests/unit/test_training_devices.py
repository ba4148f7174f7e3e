"""What training runs on and in which arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from postbias.student.compute_device import choose_device, uses_bf16


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_what_params_say_is_taken_at_its_word(device: str) -> None:
    assert choose_device(device) == device
    assert uses_bf16("bf16", device)
    assert not uses_bf16("fp32", device)


def test_auto_takes_what_this_machine_has() -> None:
    device = choose_device("auto")
    torch.ones(1, device=device)  # raises where there is no such device
    assert (device == "cuda") is torch.cuda.is_available()


def test_auto_takes_bf16_on_a_processor_only_where_the_system_lists_instructions_for_it() -> None:
    listed = Path("/proc/cpuinfo")
    if not listed.exists():
        pytest.skip("needs Linux's /proc/cpuinfo to compare with")
    flags = set(listed.read_text(encoding="utf-8").split())
    assert uses_bf16("auto", "cpu") is bool(flags & {"amx_bf16", "avx512_bf16", "bf16"})
