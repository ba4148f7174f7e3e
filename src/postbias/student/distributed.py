"""Data-parallel training with `torchrun`, one process per GPU.

Every process reads the same posts and trains on its share of each batch; gradients are averaged, so
that all processes have the same weights. Only the main process (rank 0) writes files. Without
`torchrun` there is one process, and the functions below do nothing.
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

# The other processes wait while the main process writes or deletes files of a large corpus.
_TIMEOUT = timedelta(hours=2)


def process_count() -> int:
    """Return the number of processes that train together; 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """Return the number of this process, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Return whether this is the process that writes files."""
    return process_rank() == 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join torch's process group, and leave it at the end of the `with` block.

    Args:
        device: Device type; `cuda` communicates with NCCL, all others with Gloo.

    Yields:
        Nothing.
    """
    if process_count() == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def barrier() -> None:
    """Wait until every process has reached this call."""
    if process_count() > 1:
        distributed.barrier()


def broadcast_value(value: Any) -> Any:  # noqa: ANN401 - anything that can be pickled
    """Return the main process's value in every process.

    Args:
        value: This process's value; ignored except in the main process.

    Returns:
        The main process's value.
    """
    if process_count() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def broadcast_buffers(model: nn.Module) -> None:
    """Copy the main process's buffers to all others, in place.

    Batch normalisation statistics otherwise differ, because each process sees different posts.
    """
    if process_count() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


class SharedLengthSampler(LengthGroupedSampler):
    """Group captions of similar length, in an order that all processes share.

    The order depends on seed and epoch only. It must not come from torch's global generator: its
    state differs between processes, which draw different augmentation and dropout from it.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int) -> None:
        """Prepare the order.

        Args:
            batch_size: Posts per forward pass, summed over all processes.
            lengths: Caption lengths.
            seed: Seed of the order.
        """
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Select the order of an epoch; called by the Trainer."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield row numbers in the order of the current epoch."""
        self.generator.manual_seed(self._seed * 1_000_003 + self._epoch)
        return iter(super().__iter__())  # type: ignore[no-untyped-call]
