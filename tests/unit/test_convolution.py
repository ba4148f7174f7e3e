"""Trimmed convolutions: outputs and gradients equal those of torch's convolutions."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import resnet18

from postbias.student.convolution import TrimmedConv2d, trim_convolutions

small = st.integers(1, 3)


def gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the output, the gradient of the input and the gradients of the weights."""
    images = images.clone().requires_grad_()
    out = network(images)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert images.grad is not None
    return [out, images.grad, *(p.grad for p in network.parameters() if p.grad is not None)]


@settings(deadline=None)
@given(
    height=st.integers(1, 5), width=st.integers(1, 5), kernel=st.tuples(small, small), stride=small,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), groups=st.sampled_from([1, 2]),
)  # fmt: skip
def test_equals_the_plain_convolution(
    height: int, width: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int],
    groups: int,
) -> None:  # fmt: skip
    assume(height + 2 * padding[0] >= kernel[0] and width + 2 * padding[1] >= kernel[1])
    plain = nn.Conv2d(4, 6, kernel, stride, padding, groups=groups).double()
    trimmed = copy.deepcopy(plain)
    trim_convolutions(trimmed)
    images = torch.randn(3, 4, height, width, dtype=torch.float64)
    for ours, theirs in zip(gradients(trimmed, images), gradients(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_whole_network_has_the_same_gradients_and_weight_names() -> None:
    torch.manual_seed(0)
    plain = resnet18().double()
    trimmed = copy.deepcopy(plain)
    trim_convolutions(trimmed)
    assert list(trimmed.state_dict()) == list(plain.state_dict())
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    for ours, theirs in zip(gradients(trimmed, images), gradients(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_kernel_is_trimmed_only_for_a_feature_map_of_one_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In training, a 3 x 3 kernel on a single pixel becomes 1 x 1."""
    kernels: list[tuple[int, ...]] = []
    original = nn.functional.conv2d

    def spy(images: Tensor, weight: Tensor, *args: object, **kwargs: object) -> Tensor:
        kernels.append(tuple(weight.shape[-2:]))
        return original(images, weight, *args, **kwargs)

    monkeypatch.setattr(nn.functional, "conv2d", spy)
    convolution = nn.Conv2d(2, 2, 3, padding=1)
    trim_convolutions(convolution)
    assert isinstance(convolution, TrimmedConv2d)
    convolution(torch.ones(1, 2, 1, 1))
    convolution(torch.ones(1, 2, 2, 2))
    convolution.eval()(torch.ones(1, 2, 1, 1))
    assert kernels == [(1, 1), (3, 3), (3, 3)]
