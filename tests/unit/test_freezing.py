"""Freezing: frozen layers keep their weights to the bit, all others are trained."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, DistilBertConfig, XLMRobertaConfig

from postbias.errors import ParamsError
from postbias.params.students import FrozenLayers
from postbias.student.encoders import ImageEncoder, TextEncoder
from postbias.student.freezing import freeze, image_layers, text_layers
from postbias.student.network import Student

_WIDE = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
TEXT_CONFIGS = {
    "bert": BertConfig(num_hidden_layers=3, **_WIDE),
    "distilbert": DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_heads=2, n_layers=3),
    "xlm-roberta": XLMRobertaConfig(num_hidden_layers=3, **_WIDE),
}
# Attributes of torchvision's networks that are their blocks.
IMAGE_BLOCKS = {
    "resnet18": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"],
    "mobilenet_v3_small": [f"features.{i}" for i in range(13)],
    "shufflenet_v2_x0_5": ["conv1", "stage2", "stage3", "stage4", "conv5"],
}


def make_student(text: str = "bert", image: str = "resnet18") -> Student:
    torch.manual_seed(0)
    backbone = AutoModel.from_config(TEXT_CONFIGS[text])
    if hasattr(backbone, "pooler"):
        backbone.pooler = None
    network = torchvision.models.get_model(image, weights=None)
    last = "fc" if hasattr(network, "fc") else "classifier"
    setattr(network, last, nn.Identity())
    dim = network(torch.zeros(2, 3, 32, 32)).shape[1]
    return Student(
        TextEncoder(backbone, 16), ImageEncoder(network, dim), hidden=8, n_axes=1, dropout=0.0
    )


def train_step(student: Student) -> dict[str, Tensor]:
    """Make a large update on two posts; return the state before it."""
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.train()
    weights = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    scores = student(
        input_ids=torch.tensor([[5, 6, 7], [8, 9, 3]]),
        attention_mask=torch.ones(2, 3, dtype=torch.int64),
        pixels=torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8),
        image_of=torch.tensor([0, 0, 1, 1]),
        has_text=torch.ones(2, 1),
        has_image=torch.ones(2, 1),
    )
    scores.square().sum().backward()
    optimizer.step()
    return before


def changed(student: Student, before: dict[str, Tensor]) -> set[str]:
    after = student.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("text", TEXT_CONFIGS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_text_layers_and_the_embeddings_are_frozen(text: str, count: int) -> None:
    student = make_student(text)
    freeze(student, text=count, image=0)
    trained = {n for n in changed(student, train_step(student)) if n.startswith("text.")}
    layers = {int(n.split("layer.")[1].split(".")[0]) for n in trained if "layer." in n}
    assert not any("embeddings" in name for name in trained)
    assert layers == set(range(count, 3))


@pytest.mark.parametrize("image", IMAGE_BLOCKS)
def test_image_layers_are_the_networks_own_blocks(image: str) -> None:
    network = make_student(image=image).image
    assert network is not None
    names = {id(module): name for name, module in network.backbone.named_modules()}
    assert [names[id(block)] for block in image_layers(network)] == IMAGE_BLOCKS[image]


@pytest.mark.parametrize("image", IMAGE_BLOCKS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_first_image_blocks_are_frozen_with_their_batch_statistics(
    image: str, count: int
) -> None:
    student = make_student(image=image)
    freeze(student, text=0, image=count)
    trained = {n for n in changed(student, train_step(student)) if n.startswith("image.")}
    blocks = IMAGE_BLOCKS[image]
    by_block = {b: {n for n in trained if n.startswith(f"image.backbone.{b}.")} for b in blocks}
    assert not any(by_block[block] for block in blocks[:count])
    assert all(by_block[block] for block in blocks[count:])
    assert any("running_mean" in name for name in trained)


@pytest.mark.parametrize(("text", "image"), [("all", 0), (0, "all"), ("all", "all")])
def test_a_whole_encoder_is_frozen(text: FrozenLayers, image: FrozenLayers) -> None:
    student = make_student()
    freeze(student, text=text, image=image)
    trained = {name.split(".")[0] for name in changed(student, train_step(student))}
    free = {name for name, frozen in (("text", text), ("image", image)) if frozen == 0}
    assert trained == {"head"} | free
    assert student.encoders_are_frozen is (not free)


def test_zero_layers_freeze_nothing() -> None:
    student = make_student()
    freeze(student, text=0, image=0)
    assert all(p.requires_grad for p in student.parameters())


def test_frozen_layers_stay_in_evaluation_mode_while_the_others_train() -> None:
    student = make_student()
    freeze(student, text=2, image=0)
    student.train()
    assert student.text is not None
    modes = [layer.training for layer in text_layers(student.text)]
    assert modes == [False, False, True]


@pytest.mark.parametrize(("text", "image"), [(4, 0), (0, 7)])
def test_too_many_layers_is_an_error_that_states_the_maximum(text: int, image: int) -> None:
    with pytest.raises(ParamsError, match=r"train\.freeze\.(text|image).*0 to [36], or all"):
        freeze(make_student(), text=text, image=image)
