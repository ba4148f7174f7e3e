"""Several processes that train one student together, one per GPU, as `torchrun` starts them.

Each reads the same posts and learns from its share of every batch; gradients are averaged, so that
all hold the same weights. Only the first one writes. Without `torchrun` there is one process, and
nothing here does anything. Knows nothing of students.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from transformers.trainer_pt_utils import LengthGroupedSampler

# The others wait while the first one looks after files; a large corpus takes its time.
_PATIENCE = timedelta(hours=2)


def count() -> int:
    """Return how many processes train together; 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """Return which of them this one is, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Return whether this process writes."""
    return number() == 0


@contextmanager
def together(device: str) -> Iterator[None]:
    """Join the other processes for a while.

    Args:
        device: What they compute on: `cuda` talks by NCCL, all else by Gloo.

    Yields:
        Nothing; within, all processes can wait for each other.
    """
    if count() == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        distributed.barrier()


def agree(value: Any) -> Any:  # noqa: ANN401 - whatever can be pickled among ourselves
    """Take what the first process says.

    Args:
        value: What this one would say.

    Returns:
        The value of the first.
    """
    if count() == 1:
        return value
    said = [value]
    distributed.broadcast_object_list(said, src=0)
    return said[0]


def share_buffers(model: nn.Module) -> None:
    """Give all processes the buffers of the first: batch statistics differ by what each has seen.

    Args:
        model: The model, changed in place.
    """
    if count() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


class SharedOrder(LengthGroupedSampler):
    """Captions of similar length together, in one order for all processes and each epoch.

    Drawn from seed and epoch alone: the global generator, which augmentation and dropout draw from,
    is at another place in every process.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int) -> None:
        """Choose what to order.

        Args:
            batch_size: Posts per pass of all processes together.
            lengths: Of the captions.
            seed: Of the order.
        """
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins.

        Args:
            epoch: Its number.
        """
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Give the rows in this epoch's order."""
        self.generator.manual_seed(self._seed * 1_000_003 + self._epoch)
        return iter(super().__iter__())  # type: ignore[no-untyped-call]
