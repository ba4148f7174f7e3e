"""Convolutions that do not multiply by padding where all of a picture lies under one kernel.

Small pictures end as one pixel per channel in the last stage of a network like ResNet-18. A kernel
of 3 x 3 then meets one number and eight zeros of padding, and on a CPU the gradient of its weights
takes half of a training step for nothing. Knows torch only.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TrimmedConv2d(nn.Conv2d):
    """A convolution that, in training, leaves out the part of its kernel that lies over padding."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Convolve.

        Args:
            input: (B, C, H, W).

        Returns:
            What `nn.Conv2d` gives, but for rounding; (B, O, H', W').
        """
        if not (self.training and self._covers(input)):
            return super().forward(input)
        top, left = self._padding()
        height, width = input.shape[-2:]
        weight = self.weight[:, :, top : top + height, left : left + width]
        return functional.conv2d(input, weight, self.bias, groups=self.groups)

    def _covers(self, pictures: Tensor) -> bool:
        """Whether the only place of the kernel has the whole picture under it."""
        return all(
            pad + size <= kernel <= size + 2 * pad < kernel + stride
            for pad, size, kernel, stride in zip(
                self._padding(), pictures.shape[-2:], self.kernel_size, self.stride, strict=True
            )
        )

    def _padding(self) -> tuple[int, int]:
        assert isinstance(self.padding, tuple)
        top, left = self.padding
        return top, left


def trim_convolutions(network: nn.Module) -> None:
    """Let a network's convolutions leave out padding.

    Args:
        network: Changed in place; its weights and their names stay.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = TrimmedConv2d


def _is_plain(module: nn.Conv2d) -> bool:
    return (
        module.padding_mode == "zeros"
        and module.dilation == (1, 1)
        and not isinstance(module.padding, str)
    )
