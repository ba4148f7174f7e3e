"""Convolutions that skip zero padding where the kernel covers the whole feature map.

In the last stage of a network like ResNet-18, a small image has shrunk to one pixel per channel. A
3 x 3 kernel then multiplies one value and eight zeros, and on a CPU the gradient of its weights
accounts for half of a training step.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TrimmedConv2d(nn.Conv2d):
    """A convolution that, in training, skips the part of its kernel that covers padding only."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Convolve (B, C, H, W) to (B, O, H', W'); equal to `nn.Conv2d` except for rounding."""
        if not (self.training and self._covers(input)):
            return super().forward(input)
        top, left = self._padding()
        height, width = input.shape[-2:]
        weight = self.weight[:, :, top : top + height, left : left + width]
        return functional.conv2d(input, weight, self.bias, groups=self.groups)

    def _covers(self, images: Tensor) -> bool:
        """Check that the kernel has a single position and covers the whole feature map there."""
        return all(
            pad + size <= kernel <= size + 2 * pad < kernel + stride
            for pad, size, kernel, stride in zip(
                self._padding(), images.shape[-2:], self.kernel_size, self.stride, strict=True
            )
        )

    def _padding(self) -> tuple[int, int]:
        assert isinstance(self.padding, tuple)
        top, left = self.padding
        return top, left


def trim_convolutions(network: nn.Module) -> None:
    """Make a network's convolutions skip padding, in place; weights and names stay the same."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = TrimmedConv2d


def _is_plain(module: nn.Conv2d) -> bool:
    return (
        module.padding_mode == "zeros"
        and module.dilation == (1, 1)
        and not isinstance(module.padding, str)
    )
