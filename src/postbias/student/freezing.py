"""Which layers of pretrained encoders keep their weights.

Counted from the input: the lower layers of a pretrained network fit any text or picture, the upper
ones its old task. Knows the shapes of networks, nothing of training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from postbias.errors import ParamsError

if TYPE_CHECKING:
    from postbias.student.network import Student

#: How many layers from the input keep their weights, or the whole encoder.
Frozen = int | Literal["all"]


def freeze(student: Student, *, text: Frozen, image: Frozen) -> None:
    """Keep layers from changing: no gradients, no dropout, batch statistics as they are.

    Args:
        student: The student, changed in place.
        text: Of the text encoder; its embeddings are frozen with the first layer.
        image: Of the image encoder: blocks of a torchvision network (for ResNet: stem convolution,
            its normalisation, four stages).

    Raises:
        ParamsError: If an encoder has fewer layers.
    """
    for name, encoder, wanted in (("text", student.text, text), ("image", student.image, image)):
        if encoder is None or wanted == 0:
            continue
        layers = text_layers(encoder) if name == "text" else image_layers(encoder)
        if wanted == "all":
            chosen: list[nn.Module] = [encoder]
        elif wanted <= len(layers):
            chosen = _with_stem(encoder, layers, wanted)
        else:
            raise ParamsError(
                f"train.freeze.{name} asks for more layers than the encoder has",
                seen=wanted,
                allowed=f"0 to {len(layers)}, or all",
            )
        for module in chosen:
            module.requires_grad_(requires_grad=False)
            student.keep_in_eval_mode(module)


def text_layers(encoder: nn.Module) -> list[nn.Module]:
    """Return the transformer layers of a text encoder, from the input on.

    Args:
        encoder: A Hugging Face encoder.

    Returns:
        The children of its longest module list.
    """
    lists = [list(module) for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def image_layers(encoder: nn.Module) -> list[nn.Module]:
    """Return the blocks of an image encoder, from the input on.

    Args:
        encoder: A torchvision classifier without its last layer.

    Returns:
        The first modules with several children that have weights.
    """
    module = encoder
    while len(children := [c for c in module.children() if _has_weights(c)]) == 1:
        module = children[0]
    return children


def _with_stem(encoder: nn.Module, layers: list[nn.Module], wanted: int) -> list[nn.Module]:
    """Return the first layers and every smaller module that is registered before them."""
    inside = {id(module) for layer in layers for module in layer.modules()}
    last = id(layers[wanted - 1])
    chosen: list[nn.Module] = []
    for module in encoder.modules():
        if id(module) in inside and module not in layers:
            continue
        holds_layer = any(layer is not module and layer in module.modules() for layer in layers)
        if not holds_layer and _has_weights(module):
            chosen.append(module)
        if id(module) == last:
            break
    return chosen


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
