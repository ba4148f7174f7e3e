"""AdamW with a learning rate per part of a student, falling towards the input of its encoders."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from postbias.student.freezing import image_layers, text_layers
from postbias.student.network import Student

if TYPE_CHECKING:
    from torch import nn

    from postbias.params import TrainParams


def build_optimizer(model: nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """Build AdamW without weight decay of vectors (norms, biases).

    Args:
        model: A student, or the head of one.
        params: `lr_text`, `lr_image` and `lr_head` are the rates of the encoders' last layers and
            of the head, `layer_decay` the rate of an encoder's first layer relative to its last.
    """
    rates = {"text": params.lr_text, "image": params.lr_image, "head": params.lr_head}
    parts = dict(model.named_children()) if isinstance(model, Student) else {"head": model}
    groups: list[dict[str, Any]] = []
    for name, part in parts.items():
        depths = _relative_depths(name, part) if params.layer_decay < 1 and name != "head" else {}
        for decays, decay in ((True, params.weight_decay), (False, 0.0)):
            by_depth: dict[float, list[nn.Parameter]] = defaultdict(list)
            for parameter in part.parameters():
                if parameter.requires_grad and (parameter.ndim > 1) is decays:
                    by_depth[depths.get(id(parameter), 1.0)].append(parameter)
            # The rate in the learning curve is that of the first group.
            for depth in sorted(by_depth, reverse=True) or [1.0]:
                rate = rates[name] * params.layer_decay ** (1 - depth)
                groups.append({"params": by_depth[depth], "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def _relative_depths(name: str, encoder: nn.Module) -> dict[int, float]:
    """Map the id of each weight to the depth of its layer: 0 for the embeddings, 1 for the last.

    Weights outside of the layers belong to the layer that was registered before them.
    """
    layers = text_layers(encoder) if name == "text" else image_layers(encoder)
    if not layers:
        return {}
    layer_of = {id(p): i for i, layer in enumerate(layers, 1) for p in layer.parameters()}
    depths: dict[int, float] = {}
    current = 0 if name == "text" else 1  # the stem of an image encoder is its first layer
    first, last = current, max(len(layers), current + 1)
    for parameter in encoder.parameters():
        current = max(current, layer_of.get(id(parameter), current))
        own = layer_of.get(id(parameter), current)
        depths[id(parameter)] = (own - first) / (last - first)
    return depths
