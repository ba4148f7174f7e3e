"""Export a trained student as an artifact: ONNX graphs in fp32 and int8, which run without torch.

A quantized graph that changes the scores too much is left out; the manifest records this.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import MANIFEST, TOKENIZER, WEIGHTS, GraphPrecision, Manifest
from postbias.student.encoders import ImageEncoder, TextEncoder
from postbias.student.int8_loss import Int8LossMeter, QuantizationPosts, embedding_dims
from postbias.student.network import Student
from postbias.student.onnx_export import GraphExport, export_graph, make_canonical
from postbias.student.quantize import quantize_image, quantize_text

logger = logging.getLogger(__name__)

#: Maximum mean absolute change of the scores by int8, as a share of the axis' range. On a scale of
#: 10 this is a tenth of a point, where a teacher's own noise is a point or more.
MAX_INT8_LOSS = 0.01

#: Maximum relative loss in the metric by which epochs are selected, over all encoders.
MAX_METRIC_LOSS = 0.01


def export_student(
    student: Student,
    manifest: Manifest,
    tokenizer: Tokenizer | None,
    posts: QuantizationPosts,
    folder: Path,
) -> Artifact:
    """Write a student as an artifact.

    Args:
        student: The trained student; not changed.
        manifest: Its manifest, to which `precision` and `files` are added.
        tokenizer: Its tokenizer; None for an image student.
        posts: Inputs for quantizing the graphs and for measuring the loss.
        folder: Folder to write to; graphs in it are replaced.

    Raises:
        ArtifactError: If a graph's output differs from PyTorch's.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder / "onnx", ignore_errors=True)
    (folder / "onnx" / "int8").mkdir(parents=True)
    student = copy.deepcopy(student).cpu().eval().requires_grad_(requires_grad=False)
    _save_weights(student, folder / WEIGHTS)
    exports = {"head": _head_export(student)}
    if student.text is not None:
        assert tokenizer is not None
        _save_tokenizer(tokenizer, folder / TOKENIZER)
        exports["text"] = _text_export(student, manifest, tokenizer.get_vocab_size())
    if student.image is not None:
        exports["image"] = _image_export(student, manifest)
    precision = {}
    for name, export in exports.items():
        model = export_graph(export)
        onnx.save(model, folder / "onnx" / f"{name}.onnx")
        precision[name] = _write_int8(name, model, Int8LossMeter(student, manifest, posts), folder)
    return write_artifact(folder, dataclasses.replace(manifest, precision=precision))


def _write_int8(
    name: str, model: onnx.ModelProto, meter: Int8LossMeter, folder: Path
) -> GraphPrecision:
    """Quantize a graph, and write it if its loss is small enough."""
    if name == "head":  # a few thousand weights: int8 would save nothing
        return GraphPrecision("fp32")
    is_image = name == "image"
    calibration, held_out = meter.posts.calibration, meter.posts.held_out
    if not all(
        len(posts.pixels) if is_image else any(posts.token_ids) for posts in (calibration, held_out)
    ):
        logger.warning("the %s graph ships in fp32: no input to measure the loss of int8 on", name)
        return GraphPrecision("fp32")
    if is_image:
        quantized = quantize_image(model, calibration.pixels)
    else:
        quantized = quantize_text(model, calibration.token_ids)
    quantized = make_canonical(quantized)
    measured = meter.measure(name, model, quantized)
    loss = float(f"{measured.change:.3g}")
    if loss > MAX_INT8_LOSS:
        logger.warning(
            "the %s graph ships in fp32: int8 changes the scores by %s of the range, allowed: %s",
            name, loss, MAX_INT8_LOSS,
        )  # fmt: skip
        return GraphPrecision("fp32", loss)
    allowed = MAX_METRIC_LOSS / (len(meter.manifest.graphs) - 1)
    if measured.metric_loss is not None and measured.metric_loss > allowed:
        logger.warning(
            "the %s graph ships in fp32: int8 loses %.2g of the %s of posts with %s only, allowed:"
            " %.2g", name, measured.metric_loss, meter.posts.metric, name, allowed,
        )  # fmt: skip
        return GraphPrecision("fp32", loss)
    onnx.save(quantized, folder / "onnx" / "int8" / f"{name}.onnx")
    return GraphPrecision("int8", loss)


def _image_export(student: Student, manifest: Manifest) -> GraphExport:
    assert student.image is not None
    size = manifest.image_size or 0
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (5, size, size, 3), np.uint8))
    example, check = {"pixels": noise[:2]}, {"pixels": noise[2:]}
    module = _ExportedImageEncoder(student.image, size)
    return GraphExport(module, example, check, {0: "batch"}, "embedding", student.image)


class _ExportedImageEncoder(nn.Module):
    """An image encoder with the normalisation constants repeated along a row of the image.

    onnxruntime moves the channels last before it normalises, and then works on as many values at a
    time as the constants have. With only three, that takes a tenth of the encoder's time.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.backbone = _fuse_branches(encoder.backbone)
        for name in ("mean", "sd"):
            repeated = getattr(encoder, name).expand(1, 3, 1, size).clone()
            self.register_buffer(name, repeated, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        channels_first = pixels.permute(0, 3, 1, 2).float()  # (B, 3, S, S)
        embedding: Tensor = self.backbone((channels_first - self.mean) / self.sd)
        return embedding.float()


def _fuse_branches(backbone: nn.Module) -> nn.Module:
    """Fuse branches that exist for training only, as in FastViT and MobileOne, to one layer."""
    kinds = ("reparameterize", "fuse")
    if not any(hasattr(module, kind) for module in backbone.modules() for kind in kinds):
        return backbone
    from timm.utils.model import reparameterize_model

    fused: nn.Module = reparameterize_model(backbone, inplace=False)
    return fused


def _text_export(student: Student, manifest: Manifest, vocabulary: int) -> GraphExport:
    assert student.text is not None
    width = manifest.max_tokens or 0
    example = _captions(2, max(3, width // 2), vocabulary)
    check = _captions(3, width, vocabulary)
    dynamic = {0: "batch", 1: "tokens"}
    module = _ExportedTextEncoder(student.text)
    return GraphExport(module, example, check, dynamic, "embedding", student.text)


class _ExportedTextEncoder(nn.Module):
    """A text encoder that pools with a matrix product per caption.

    In onnxruntime, the order in which a sum over tokens is evaluated depends on the number of
    captions in the batch. With the product, a caption's embedding does not depend on its batch.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.pooling = encoder.pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        if self.pooling == "cls":
            first: Tensor = hidden.last_hidden_state[:, 0].float()
            return first
        mask = attention_mask.unsqueeze(1).float()  # (B, 1, T)
        total: Tensor = (mask @ hidden.last_hidden_state.float()).squeeze(1)  # (B, D)
        return total / mask.sum(2).clamp(min=1.0)


def _head_export(student: Student) -> GraphExport:
    example, check = (
        _embeddings(embedding_dims(student), 2),
        _embeddings(embedding_dims(student), 5),
    )
    return GraphExport(student.head, example, check, {0: "batch"}, "scores", student.head)


def _captions(count: int, width: int, vocabulary: int) -> dict[str, Tensor]:
    """Draw captions of random tokens; all but the first are shorter than the width."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, width - 2 * np.arange(count))
    mask = np.arange(width) < lengths[:, None]
    ids = rng.integers(0, vocabulary, (count, width))
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
    }


def _embeddings(dims: Mapping[str, int], count: int) -> dict[str, Tensor | None]:
    rng = np.random.default_rng(0)
    inputs: dict[str, Tensor | None] = {}
    for name, dim in dims.items():
        values = rng.normal(size=(count, dim)).astype(np.float32)
        has = (np.arange(count) % 2 == 0).astype(np.float32)[:, None]
        inputs[name] = torch.from_numpy(values) if dim else None
        inputs[f"has_{name}"] = torch.from_numpy(has) if dim else None
    return inputs


def _save_weights(student: Student, path: Path) -> None:
    """Write all weights; no metadata, because safetensors writes its keys in random order."""
    save_file({name: value.clone().contiguous() for name, value in student.state_dict().items()},
              path)  # fmt: skip


def _save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(path), pretty=False)
