"""Freezing: what is frozen stays as it is to the bit, what is not learns."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, DistilBertConfig, XLMRobertaConfig

from postbias.errors import ParamsError
from postbias.student.encoders import ImageEncoder, TextEncoder
from postbias.student.freezing import Frozen, freeze, image_layers, text_layers
from postbias.student.network import Student

_WIDE = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
TEXT_CONFIGS = {
    "bert": BertConfig(num_hidden_layers=3, **_WIDE),
    "distilbert": DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_heads=2, n_layers=3),
    "xlm-roberta": XLMRobertaConfig(num_hidden_layers=3, **_WIDE),
}
# Blocks that torchvision's networks are made of: its own attributes say which they are.
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


def learn_once(student: Student) -> dict[str, Tensor]:
    """Take a large step on two posts; return what the state was before."""
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
@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_the_first_text_layers_and_the_embeddings_stay(text: str, wanted: int) -> None:
    student = make_student(text)
    freeze(student, text=wanted, image=0)
    moved = {n for n in changed(student, learn_once(student)) if n.startswith("text.")}
    layers = {int(n.split("layer.")[1].split(".")[0]) for n in moved if "layer." in n}
    assert not any("embeddings" in name for name in moved)
    assert layers == set(range(wanted, 3))


@pytest.mark.parametrize("image", IMAGE_BLOCKS)
def test_image_layers_are_the_networks_own_blocks(image: str) -> None:
    network = make_student(image=image).image
    assert network is not None
    names = {id(module): name for name, module in network.backbone.named_modules()}
    assert [names[id(block)] for block in image_layers(network)] == IMAGE_BLOCKS[image]


@pytest.mark.parametrize("image", IMAGE_BLOCKS)
@pytest.mark.parametrize("wanted", [1, 3])
def test_the_first_image_blocks_stay_with_their_batch_statistics(image: str, wanted: int) -> None:
    student = make_student(image=image)
    freeze(student, text=0, image=wanted)
    moved = {n for n in changed(student, learn_once(student)) if n.startswith("image.")}
    kept, free = IMAGE_BLOCKS[image][:wanted], IMAGE_BLOCKS[image][wanted:]
    of_block = {b: {n for n in moved if n.startswith(f"image.backbone.{b}.")} for b in kept + free}
    assert not any(of_block[block] for block in kept)
    assert all(of_block[block] for block in free)
    assert any("running_mean" in name for name in moved)


@pytest.mark.parametrize(("text", "image"), [("all", 0), (0, "all"), ("all", "all")])
def test_a_whole_encoder_stays(text: Frozen, image: Frozen) -> None:
    student = make_student()
    freeze(student, text=text, image=image)
    moved = {name.split(".")[0] for name in changed(student, learn_once(student))}
    free = {name for name, frozen in (("text", text), ("image", image)) if frozen == 0}
    assert moved == {"head"} | free
    assert student.encoders_are_frozen is (not free)


def test_nothing_is_frozen_unless_asked() -> None:
    student = make_student()
    freeze(student, text=0, image=0)
    assert all(p.requires_grad for p in student.parameters())


def test_frozen_parts_have_no_dropout_while_the_rest_trains() -> None:
    student = make_student()
    freeze(student, text=2, image=0)
    student.train()
    assert student.text is not None
    modes = [layer.training for layer in text_layers(student.text)]
    assert modes == [False, False, True]


@pytest.mark.parametrize(("text", "image"), [(4, 0), (0, 7)])
def test_more_layers_than_there_are_is_an_error_that_says_how_many(text: int, image: int) -> None:
    with pytest.raises(ParamsError, match=r"train\.freeze\.(text|image).*0 to [36], or all"):
        freeze(make_student(), text=text, image=image)
