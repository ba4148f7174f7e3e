"""Measure what quantizing an encoder costs, on posts that neither training nor quantizing used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from postbias.scoring.manifest import Manifest
from postbias.student.epoch_metrics import point_metrics
from postbias.student.graph_inputs import caption_feeds, image_feeds
from postbias.student.network import Student
from postbias.student.onnx_export import open_session

if TYPE_CHECKING:
    from postbias.student.dataset import Examples

Metric = Literal["mae", "rmse", "spearman"]
Array = NDArray[np.float32]

_N_MEASURED = 256  # images, and captions, that the loss is measured on


@dataclass(frozen=True, slots=True)
class EncoderInputs:
    """Inputs of the encoders, taken from posts of one fold.

    Attributes:
        pixels: Decoded images, uint8 (N, S, S, 3); empty for a text student.
        token_ids: Token ids of captions, truncated to `max_tokens`; empty for an image student.
        image_labels: Main label of each image's post, (N,); None if unknown.
        caption_labels: Main label of each caption's post; None if unknown.
    """

    pixels: NDArray[np.uint8]
    token_ids: Sequence[Sequence[int]]
    image_labels: Array | None = None
    caption_labels: Array | None = None


@dataclass(frozen=True, slots=True)
class QuantizationPosts:
    """Inputs for quantizing, and other inputs for measuring its loss.

    Attributes:
        calibration: From the train fold; the ranges of activations are fitted to these.
        held_out: From the valid fold; the loss is measured on these.
        metric: Metric of the main axis in which the loss is measured.
    """

    calibration: EncoderInputs
    held_out: EncoderInputs
    metric: Metric = "mae"


@dataclass(frozen=True, slots=True)
class Int8Loss:
    """What int8 changes.

    Attributes:
        change: Mean absolute change of the scores, as a share of the range of the worst axis.
        metric_loss: Loss in the metric of the main axis, as a share of its value in fp32; negative
            if int8 is better, None if labels are unknown or the metric is not above 0.
    """

    change: float
    metric_loss: float | None


@dataclass(frozen=True, slots=True)
class Int8LossMeter:
    """Measures how much quantizing a graph changes the scores.

    Attributes:
        student: The student, of which the head is used.
        manifest: Its manifest.
        posts: Posts to measure on.
    """

    student: Student
    manifest: Manifest
    posts: QuantizationPosts

    def measure(self, name: str, model: onnx.ModelProto, quantized: onnx.ModelProto) -> Int8Loss:
        """Compare the scores of both graphs on posts that have this modality only.

        Args:
            name: `image` or `text`.
            model: The graph in fp32.
            quantized: The graph in int8.

        Returns:
            The loss; infinite if a score is not a number.
        """
        labels = self._labels(name)
        before, after = (self._score(name, self._embed(name, m)) for m in (model, quantized))
        ranges = np.array([axis.high - axis.low for axis in self.manifest.axes])
        change = float((np.abs(after - before).mean(axis=0) / ranges).max())
        if not np.isfinite(change):
            return Int8Loss(float("inf"), None)
        return Int8Loss(change, None if labels is None else self._compare(labels, before, after))

    def _compare(self, labels: NDArray[np.float64], before: Array, after: Array) -> float | None:
        """Compute the relative loss in the metric of the main axis."""
        axis, metric = self.manifest.axes[0], self.posts.metric
        fp32, int8 = (
            point_metrics(labels, scores[:, 0].clip(axis.low, axis.high).astype(np.float64))[metric]
            for scores in (before, after)
        )
        if fp32 <= 0:
            return None
        return (fp32 - int8 if metric == "spearman" else int8 - fp32) / fp32

    def _labels(self, name: str) -> NDArray[np.float64] | None:
        held_out = self.posts.held_out
        if name == "image":
            labels = held_out.image_labels
        else:
            labels = held_out.caption_labels
            if labels is not None:
                pairs = zip(labels, held_out.token_ids, strict=True)
                labels = np.array([label for label, ids in pairs if len(ids)], np.float32)
        return None if labels is None else labels[:_N_MEASURED].astype(np.float64)

    def _embed(self, name: str, model: onnx.ModelProto) -> Array:
        session = open_session(model)
        posts = self.posts.held_out
        if name == "image":
            runs = image_feeds(posts.pixels[:_N_MEASURED])
        else:
            runs = islice(caption_feeds(posts.token_ids), _N_MEASURED)
        return np.concatenate([session.run(["embedding"], dict(run))[0] for run in runs])

    def _score(self, name: str, embedding: Array) -> Array:
        """Score posts that have this modality only."""
        inputs: dict[str, Tensor | None] = {}
        for modality, dim in embedding_dims(self.student).items():
            has = modality == name
            values = embedding if has else np.zeros((len(embedding), dim), np.float32)
            flags = torch.full((len(embedding), 1), float(has))
            inputs[modality] = torch.from_numpy(values) if dim else None
            inputs[f"has_{modality}"] = flags if dim else None
        scores: Array = self.student.head(**inputs).numpy()
        return scores


def embedding_dims(student: Student) -> dict[str, int]:
    """Return the width of each encoder's embeddings; 0 without this encoder."""
    return {"text": student.text_dim, "image": student.image_dim}


def draw_encoder_inputs(examples: Examples, count: int, seed: int) -> EncoderInputs:
    """Draw images and captions of a fold at random.

    Args:
        examples: The posts of the fold.
        count: Maximum number of images, and of captions.
        seed: Seed of the draw.

    Returns:
        The inputs, in the order of the fold.
    """
    rng = np.random.default_rng(seed)

    def choose(total: int) -> NDArray[np.int64]:
        return np.sort(rng.choice(total, min(total, count), replace=False))

    posts_of_images = [post for post, rows in enumerate(examples.image_rows) for _ in rows]
    posts_of_captions = [post for post, tokens in enumerate(examples.token_ids) if tokens]
    images = choose(len(examples.pixels))
    captions = [posts_of_captions[row] for row in choose(len(posts_of_captions))]
    return EncoderInputs(
        pixels=np.ascontiguousarray(examples.pixels[images]),
        token_ids=[examples.token_ids[post] for post in captions],
        image_labels=examples.labels[[posts_of_images[image] for image in images], 0],
        caption_labels=examples.labels[captions, 0],
    )
