"""A trained student becomes an artifact: graphs that run without torch.

Each graph is exported in fp32 and checked against PyTorch (`postbias.student.onnx_export`), then
quantized (`postbias.student.quantize`); a quantized graph that moves the scores too far does not
ship, and the manifest says so. Writes into the folder it is given and nowhere else.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import MANIFEST, TOKENIZER, WEIGHTS, GraphPrecision, Manifest
from postbias.student.encoders import ImageEncoder, TextEncoder
from postbias.student.network import Student
from postbias.student.onnx_export import Export, export_graph, make_canonical, open_session
from postbias.student.quantize import quantize_image, quantize_text

logger = logging.getLogger(__name__)

#: Mean absolute change of the scores, as a share of the axis' range, that int8 may make. Beside a
#: teacher's own noise of a point or more in ten, a tenth of a point is lost.
MAX_INT8_LOSS = 0.01

_MEASURED = 64
_PER_RUN = 8


@dataclass(frozen=True, slots=True)
class Calibration:
    """What posts of the train fold look like to the encoders: enough to quantize and to measure.

    Attributes:
        pixels: Decoded pictures, uint8 (N, S, S, 3); empty for a text student.
        token_ids: Token ids of captions, cut to `max_tokens`; empty for an image student.
    """

    pixels: NDArray[np.uint8]
    token_ids: Sequence[Sequence[int]]


def export_student(
    student: Student,
    manifest: Manifest,
    tokenizer: Tokenizer | None,
    calibration: Calibration,
    folder: Path,
) -> Artifact:
    """Write a student as an artifact.

    Args:
        student: The trained student; not changed.
        manifest: What to say of it; `precision` and `files` are filled in.
        tokenizer: Its tokenizer; None for an image student.
        calibration: Posts of the train fold.
        folder: Where to write; graphs that lie there are replaced.

    Returns:
        The complete artifact.

    Raises:
        ArtifactError: If a graph does not give what PyTorch gives.
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
        precision[name] = _ship_int8(name, model, _Measure(student, manifest, calibration), folder)
    return write_artifact(folder, dataclasses.replace(manifest, precision=precision))


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is needed to say how far a quantized graph moves the scores."""

    student: Student
    manifest: Manifest
    calibration: Calibration

    def loss(self, name: str, model: onnx.ModelProto, quantized: onnx.ModelProto) -> float:
        """Give the mean absolute change of the scores in shares of the range, the worst axis."""
        before, after = (self._score(name, self._embed(name, m)) for m in (model, quantized))
        ranges = np.array([axis.high - axis.low for axis in self.manifest.axes])
        loss = float((np.abs(after - before).mean(axis=0) / ranges).max())
        return loss if np.isfinite(loss) else float("inf")

    def _embed(self, name: str, model: onnx.ModelProto) -> NDArray[np.float32]:
        session = open_session(model)
        runs: list[dict[str, NDArray[np.generic]]]
        if name == "image":
            pixels = self.calibration.pixels[:_MEASURED]
            runs = [{"pixels": pixels[i : i + _PER_RUN]} for i in range(0, len(pixels), _PER_RUN)]
        else:
            captions = [ids for ids in self.calibration.token_ids if len(ids)][:_MEASURED]
            rows = [np.array([ids], np.int64) for ids in captions]
            runs = [{"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows]
        return np.concatenate([session.run(["embedding"], run)[0] for run in runs])

    def _score(self, name: str, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score embeddings of one modality; the other one, if there is any, is missing."""
        inputs: dict[str, Tensor | None] = {}
        for other, dim in _dims(self.student).items():
            shown = other == name
            values = embedding if shown else np.zeros((len(embedding), dim), np.float32)
            inputs[other] = torch.from_numpy(values) if dim else None
            inputs[f"has_{other}"] = torch.full((len(embedding), 1), float(shown)) if dim else None
        scores: NDArray[np.float32] = self.student.head(**inputs).numpy()
        return scores


def _ship_int8(
    name: str, model: onnx.ModelProto, measure: _Measure, folder: Path
) -> GraphPrecision:
    """Quantize a graph and, if it loses little, write it; say what was done."""
    calibration = measure.calibration
    can_calibrate = {
        "image": len(calibration.pixels) > 0,
        "text": any(len(ids) for ids in calibration.token_ids),
        "head": False,  # a few thousand weights: nothing to gain
    }
    if not can_calibrate[name]:
        return GraphPrecision("fp32")
    is_image = name == "image"
    quantized = quantize_image(model, calibration.pixels) if is_image else quantize_text(model)
    quantized = make_canonical(quantized)
    loss = float(f"{measure.loss(name, model, quantized):.3g}")
    if loss > MAX_INT8_LOSS:
        logger.warning(
            "the %s graph ships as fp32: int8 would move its scores by %s of the range, allowed %s",
            name, loss, MAX_INT8_LOSS,
        )  # fmt: skip
        return GraphPrecision("fp32", loss)
    onnx.save(quantized, folder / "onnx" / "int8" / f"{name}.onnx")
    return GraphPrecision("int8", loss)


def _image_export(student: Student, manifest: Manifest) -> Export:
    assert student.image is not None
    size = manifest.image_size or 0
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (5, size, size, 3), np.uint8))
    example, check = {"pixels": noise[:2]}, {"pixels": noise[2:]}
    shipped = _ShippedImage(student.image, size)
    return Export(shipped, example, check, {0: "batch"}, "embedding", student.image)


class _ShippedImage(nn.Module):
    """A picture encoder whose normalisation is spelt out along a row of the picture.

    onnxruntime puts the channels last before it normalises, and goes through a picture three values
    at a time if that is all that the constants have: a tenth of the encoder's time.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        for name in ("mean", "sd"):
            along_row = getattr(encoder, name).expand(1, 3, 1, size).clone()
            self.register_buffer(name, along_row, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        channels_first = pixels.permute(0, 3, 1, 2).float()  # (B, 3, S, S)
        embedding: Tensor = self.backbone((channels_first - self.mean) / self.sd)
        return embedding.float()


def _text_export(student: Student, manifest: Manifest, vocabulary: int) -> Export:
    assert student.text is not None
    width = manifest.max_tokens or 0
    example = _captions(2, max(3, width // 2), vocabulary)
    check = _captions(3, width, vocabulary)
    dynamic = {0: "batch", 1: "tokens"}
    return Export(_ShippedText(student.text), example, check, dynamic, "embedding", student.text)


class _ShippedText(nn.Module):
    """A text encoder that pools by a product of matrices, one per caption.

    onnxruntime sums over tokens in an order that depends on how many captions there are, and a
    caption's embedding must not.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.backbone = encoder.backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask.unsqueeze(1).float()  # (B, 1, T)
        total: Tensor = (mask @ hidden.last_hidden_state.float()).squeeze(1)  # (B, D)
        return total / mask.sum(2).clamp(min=1.0)


def _head_export(student: Student) -> Export:
    example, check = _embeddings(_dims(student), 2), _embeddings(_dims(student), 5)
    return Export(student.head, example, check, {0: "batch"}, "scores", student.head)


def _captions(count: int, width: int, vocabulary: int) -> dict[str, Tensor]:
    """Make captions of random tokens; all but the first are shorter than the width."""
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


def _dims(student: Student) -> dict[str, int]:
    return {"text": student.text_dim, "image": student.image_dim}


def _save_weights(student: Student, path: Path) -> None:
    """Write all weights, without metadata: more than one key of it has a random order."""
    save_file({name: value.clone().contiguous() for name, value in student.state_dict().items()},
              path)  # fmt: skip


def _save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(path), pretty=False)
