"""Freeze the lower layers of pretrained encoders.

Layers are counted from the input: lower layers extract general features, upper layers are specific
to the task of pretraining.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from postbias.errors import ParamsError

if TYPE_CHECKING:
    from postbias.params.students import FrozenLayers
    from postbias.student.network import Student


_GROUPS = ("blocks", "stages", "levels")  # in timm's networks


def freeze(student: Student, *, text: FrozenLayers, image: FrozenLayers) -> None:
    """Freeze layers in place: no gradients, no dropout, fixed batch statistics.

    Args:
        text: Number of layers of the text encoder, or `all`; the first includes the embeddings.
        image: Number of blocks of the image encoder, or `all`. A ResNet has six: the convolution
            and the normalisation of its stem, and four stages.

    Raises:
        ParamsError: If an encoder has fewer layers.
    """
    for name, encoder, count in (("text", student.text, text), ("image", student.image, image)):
        if encoder is None or count == 0:
            continue
        layers = text_layers(encoder) if name == "text" else image_layers(encoder)
        if count == "all":
            frozen: list[nn.Module] = [encoder]
        elif count <= len(layers):
            frozen = _with_stem(encoder, layers, count)
        else:
            raise ParamsError(
                f"train.freeze.{name} is greater than the encoder's number of layers",
                seen=count,
                allowed=f"0 to {len(layers)}, or all",
            )
        for module in frozen:
            module.requires_grad_(requires_grad=False)
            student.keep_in_eval_mode(module)


def text_layers(encoder: nn.Module) -> list[nn.Module]:
    """List the transformer layers of a Hugging Face encoder, starting at the input.

    They are the children of its longest module list.
    """
    lists = [list(module) for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def image_layers(encoder: nn.Module) -> list[nn.Module]:
    """List the blocks of an image encoder, starting at the input.

    They are the children of the outermost module that has more than one child with weights. Of
    timm's networks, which group their blocks once more, they are the members of that group too.
    """
    module = encoder
    while len(children := [c for c in module.children() if _has_weights(c)]) == 1:
        module = children[0]
    groups = [child for name, child in module.named_children() if name in _GROUPS]
    return [
        layer
        for child in children
        for layer in (filter(_has_weights, child.children()) if child in groups else [child])
    ]


def _with_stem(encoder: nn.Module, layers: list[nn.Module], count: int) -> list[nn.Module]:
    """List the first `count` layers and all modules registered before them."""
    inside = {id(module) for layer in layers for module in layer.modules()}
    last = id(layers[count - 1])
    chosen: list[nn.Module] = []
    for module in encoder.modules():
        if id(module) in inside and module not in layers:
            continue
        has_layer = any(layer is not module and layer in module.modules() for layer in layers)
        if not has_layer and _has_weights(module):
            chosen.append(module)
        if id(module) == last:
            break
    return chosen


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
