"""Write a complete student in well under a second, without torch.

Its graphs are a few hand-made nodes: the mean colour of an image, the masked mean of token
vectors, a linear head. The int8 graphs differ a little from the fp32 ones, so that tests can tell
which ones ran.
"""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from postbias.axes import Axis
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import ENCODERS, GraphPrecision, Interval, Manifest, Modality

AXES = (Axis("bias", 0.0, 10.0), Axis("orientation", 0.0, 10.0))
TEXT_DIM, IMAGE_DIM = 16, 3
_OPSET, _IR = 21, 10


def write_tiny_artifact(
    folder: Path,
    modality: Modality = "fusion",
    *,
    seed: int = 0,
    image_size: int = 16,
    with_intervals: bool = True,
    ocr: str | None = None,
    by_language: bool = False,
    is_additive: bool = False,
) -> Artifact:
    """Write an artifact; another seed gives another student with another digest.

    By language, posts with a caption in English or German have intervals of their own, and those in
    other languages another one. An additive student sums token vectors instead of averaging them:
    a score is a sum over words.
    """
    rng = np.random.default_rng(seed)
    (folder / "onnx" / "int8").mkdir(parents=True)
    encoders = ENCODERS[modality]
    for precision in ("fp32", "int8"):
        graphs = folder / "onnx" / ("int8" if precision == "int8" else "")
        nudge = 1.0 if precision == "fp32" else 1.02
        if "image" in encoders:
            onnx.save(_image_graph(nudge), graphs / "image.onnx")
        if "text" in encoders:
            table = np.random.default_rng(seed).normal(size=(256, TEXT_DIM)) * nudge
            onnx.save(_text_graph(table.astype(np.float32), is_additive), graphs / "text.onnx")
    onnx.save(_head_graph(encoders, rng), folder / "onnx" / "head.onnx")
    if "text" in encoders:
        tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "weights.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    manifest = _manifest(modality, image_size, with_intervals)
    if by_language:
        manifest = replace(manifest, language_intervals=_language_intervals())
    return write_artifact(folder, replace(manifest, ocr=ocr))


def tiny_tokenizer() -> Tokenizer:
    """Return a tokenizer whose tokens are the letters and digits."""
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), "#", "!"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _manifest(modality: Modality, image_size: int, with_intervals: bool) -> Manifest:
    encoders = ENCODERS[modality]
    groups = {"image+text": 1.5, "text": 2.0, "image": 2.5}
    intervals = {
        axis.name: {group: Interval(-width, width, 100) for group, width in groups.items()}
        for axis in AXES
    }
    shipped = {graph: GraphPrecision("int8", 0.001) for graph in encoders}
    return Manifest(
        modality=modality,
        axes=AXES,
        max_images=4,
        rubric="tiny@0",
        training_digest="0" * 64,
        n_train=100,
        text_encoder="tiny" if "text" in encoders else None,
        max_tokens=64 if "text" in encoders else None,
        image_encoder="tiny" if "image" in encoders else None,
        image_size=image_size if "image" in encoders else None,
        coverage=0.9 if with_intervals else None,
        intervals=intervals if with_intervals else {},
        precision={**shipped, "head": GraphPrecision("fp32")},
        versions={"postbias": "test"},
    )


def _language_intervals() -> dict[str, dict[str, dict[str, Interval]]]:
    widths = {"en": 0.5, "de": 1.0, "other": 3.0}
    groups = ("image+text", "text")
    fitted = {language: Interval(-width, width, 300) for language, width in widths.items()}
    return {axis.name: dict.fromkeys(groups, fitted) for axis in AXES}


def _image_graph(nudge: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "sides"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "range"], ["embedding"]),
    ]
    values = {"sides": np.array([1, 2]), "range": np.array(255.0 / nudge, np.float32)}
    pixels = _value("pixels", TensorProto.UINT8, ["n", "s", "s", 3])
    return _model(nodes, [pixels], _value("embedding", TensorProto.FLOAT, ["n", IMAGE_DIM]), values)


def _text_graph(table: np.ndarray[Any, Any], is_additive: bool) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_2d", "middle"], ["mask"]),
        helper.make_node("MatMul", ["mask", "tokens"], ["total_3d"]),
    ]
    if is_additive:
        nodes.append(helper.make_node("Squeeze", ["total_3d", "middle"], ["embedding"]))
    else:
        nodes += [
            helper.make_node("Squeeze", ["total_3d", "middle"], ["total"]),
            helper.make_node("ReduceSum", ["mask_2d", "middle"], ["count"], keepdims=1),
            helper.make_node("Div", ["total", "count"], ["embedding"]),
        ]
    values = {"table": table, "middle": np.array([1])}
    inputs = [_value(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    return _model(nodes, inputs, _value("embedding", TensorProto.FLOAT, ["n", TEXT_DIM]), values)


def _head_graph(encoders: tuple[str, ...], rng: np.random.Generator) -> onnx.ModelProto:
    dims = {"text": TEXT_DIM, "image": IMAGE_DIM}
    names = [name for graph in sorted(encoders, reverse=True) for name in (graph, f"has_{graph}")]
    widths = [dims.get(name, 1) for name in names]
    values = {
        "weight": rng.normal(size=(sum(widths), len(AXES))).astype(np.float32),
        "middle": np.full(len(AXES), 5.0, np.float32),
    }
    nodes = [
        helper.make_node("Concat", names, ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weight"], ["product"]),
        helper.make_node("Add", ["product", "middle"], ["scores"]),
    ]
    inputs = [
        _value(name, TensorProto.FLOAT, ["n", width])
        for name, width in zip(names, widths, strict=True)
    ]
    return _model(nodes, inputs, _value("scores", TensorProto.FLOAT, ["n", len(AXES)]), values)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    values: dict[str, np.ndarray[Any, Any]],
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)


def _value(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
