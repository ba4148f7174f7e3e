"""Parse, check and render `student.json`, which describes one trained student."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from postbias.axes import Axis
from postbias.errors import ArtifactError
from postbias.posts.image_preprocessing import DEFAULT_PREPROCESSING, ImagePreprocessing
from postbias.scoring.manifest_records import (
    DEFAULT_CONVENTION,
    POOLINGS,
    DistilledFrom,
    TextConvention,
)

Precision = Literal["int8", "fp32"]
Modality = Literal["fusion", "text", "image"]

FORMAT_VERSION = 1
MANIFEST = "student.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"

#: Encoder graphs of each modality; every student has the graph `head` too.
ENCODERS: Mapping[str, tuple[str, ...]] = {
    "fusion": ("image", "text"),
    "text": ("text",),
    "image": ("image",),
}

#: Remedy for a damaged artifact.
REMAKE = "run `dvc repro` or `dvc pull` to restore it"


@dataclass(frozen=True, slots=True)
class Interval:
    """The interval around a score.

    Attributes:
        lo: Offset of the lower bound; usually negative.
        hi: Offset of the upper bound.
        n: Number of held-out posts that the offsets were estimated from.
    """

    lo: float
    hi: float
    n: int


@dataclass(frozen=True, slots=True)
class GraphPrecision:
    """The precision in which a graph ships.

    Attributes:
        ships: `int8`, or `fp32` if int8 was not tried or lost too much.
        loss: Mean absolute change of the scores with int8, as a share of the range of the worst
            axis; None if int8 was not tried.
    """

    ships: Precision
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and content of one file of the artifact."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `student.json`.

    Attributes:
        modality: Modalities that the student reads.
        axes: Axes that it scores, the main one first.
        max_images: Maximum number of images read per post.
        rubric: `name@digest` of the rubric of the labels.
        training_digest: SHA-256 over labels and split of the train and valid folds.
        n_train: Posts of the train fold.
        text_encoder: Name of the text encoder; None for an image student.
        max_tokens: Maximum number of tokens per caption; None for an image student.
        ocr: Engine and models that read the text inside images, which the student sees after the
            caption; None if it sees captions only. Left out of `student.json` if None.
        image_encoder: Name of the image encoder; None for a text student.
        image_size: Side in pixels of the square images; None for a text student.
        image_preprocessing: How images are decoded for the image encoder. Left out of
            `student.json` if it is the default, which older artifacts were made with.
        text_layers: Number of its layers that are kept; left out of `student.json` if None: all.
        text_convention: How the text encoder pools, and the prefix that `tokenizer.json` puts
            before captions; left out of `student.json` if it is mean pooling without a prefix.
        cross_fit: Number of cross-fitted students whose residuals the intervals were fitted to;
            left out of `student.json` if None: the calib fold was used.
        distilled_from: The full student that it learned from; left out of `student.json` if None.
        coverage: Nominal coverage of the intervals; None before calibration.
        intervals: By axis, then by modalities present (`image+text`, `text`, `image`).
        language_intervals: By axis, modalities and language of the caption, `other` for languages
            that are not listed; replace `intervals`. Left out of `student.json` if empty.
        reference: Profile of the training posts, for `postbias.scoring.drift`; empty before
            calibration.
        precision: Precision by graph; set by the export.
        versions: Versions of the packages that built the student.
        files: All other files by relative path; set by `write_artifact`.
    """

    modality: Modality
    axes: tuple[Axis, ...]
    max_images: int
    rubric: str
    training_digest: str
    n_train: int
    text_encoder: str | None = None
    max_tokens: int | None = None
    ocr: str | None = None
    image_encoder: str | None = None
    image_size: int | None = None
    image_preprocessing: ImagePreprocessing = DEFAULT_PREPROCESSING
    text_convention: TextConvention = DEFAULT_CONVENTION
    text_layers: int | None = None
    cross_fit: int | None = None
    distilled_from: DistilledFrom | None = None
    coverage: float | None = None
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    language_intervals: Mapping[str, Mapping[str, Mapping[str, Interval]]] = field(
        default_factory=dict
    )
    reference: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, GraphPrecision] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def has_text(self) -> bool:
        """Whether the student reads captions."""
        return "text" in ENCODERS[self.modality]

    @property
    def has_image(self) -> bool:
        """Whether the student reads images."""
        return "image" in ENCODERS[self.modality]

    @property
    def reads_images(self) -> bool:
        """Whether scoring needs the images of a post: for an image encoder, or for their text."""
        return self.has_image or self.ocr is not None

    @property
    def graphs(self) -> tuple[str, ...]:
        """The student's graphs: its encoders, then `head`."""
        return (*ENCODERS[self.modality], "head")

    def graph_file(self, graph: str, precision: Precision) -> str:
        """Return the relative path of a graph.

        Args:
            graph: `image`, `text` or `head`.
            precision: Requested precision; a graph that ships in fp32 only ignores it.
        """
        shipped = self.precision.get(graph)
        is_int8 = precision == "int8" and shipped is not None and shipped.ships == "int8"
        return f"onnx/int8/{graph}.onnx" if is_int8 else f"onnx/{graph}.onnx"

    def runtime_files(self, precision: Precision) -> list[str]:
        """List the relative paths of the files that scoring needs besides the manifest, sorted."""
        names = {self.graph_file(graph, precision) for graph in self.graphs}
        return sorted(names | ({TOKENIZER} if self.has_text else set()))

    def required_files(self) -> list[str]:
        """List the relative paths of all files of the artifact besides the manifest, sorted."""
        names = {*self.runtime_files("fp32"), *self.runtime_files("int8"), WEIGHTS}
        return sorted(names)

    def to_json(self) -> str:
        """Render as the text of `student.json`; equal manifests give equal text."""
        data = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        for name, default in _LEFT_OUT.items():
            if getattr(self, name) == default:  # the file of such a student stays as it always was
                del data[name]
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse and check the text of a `student.json`.

        Raises:
            ArtifactError: If the format version is unknown or the content is invalid.
        """
        try:
            data = json.loads(text)
            version = data.pop("format_version")
            if version != FORMAT_VERSION:
                raise ArtifactError(
                    f"{MANIFEST} has an unknown format_version",
                    seen=version,
                    allowed=FORMAT_VERSION,
                    do="use the postbias version that wrote it, or train again",
                )
            manifest = _parse(data)
            manifest.check()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fault = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ArtifactError(f"{MANIFEST} is damaged ({fault})", do=REMAKE) from error
        return manifest

    def check(self) -> None:
        """Check that the fields are valid and consistent.

        Raises:
            ArtifactError: If they are not; names the fields.
        """
        names = [axis.name for axis in self.axes]
        wrong = {
            "modality": self.modality not in ENCODERS,
            "axes": not names
            or len(set(names)) != len(names)
            or any(
                not axis.low < axis.high or not _finite(axis.low, axis.high) for axis in self.axes
            ),
            "max_images": self.max_images < 1,
            "max_tokens": self.modality in ENCODERS and self.has_text == (self.max_tokens is None),
            "cross_fit": self.cross_fit is not None and not self.cross_fit >= 2,
            "text_layers": self.text_layers is not None
            and not (self.has_text and self.text_layers >= 1),
            "ocr": self.ocr is not None
            and not (isinstance(self.ocr, str) and self.ocr and self.has_text),
            "image_size": self.modality in ENCODERS and self.has_image == (self.image_size is None),
            "text_convention": self.text_convention.pooling not in POOLINGS,
            "image_preprocessing": not self.image_preprocessing.is_valid,
            "intervals": bool(self.intervals) and sorted(self.intervals) != sorted(names),
            "language_intervals": not self.language_intervals.keys() <= self.intervals.keys(),
            "files": any(_escapes(name) for name in self.files),
        }
        faults = [part for part, is_wrong in wrong.items() if is_wrong]
        if faults:
            raise ArtifactError(f"{MANIFEST} has invalid fields: {', '.join(faults)}", do=REMAKE)


# Optional keys of `student.json`, and what their absence means.
_LEFT_OUT: Mapping[str, Any] = {
    "ocr": None,
    "cross_fit": None,
    "distilled_from": None,
    "text_layers": None,
    "image_preprocessing": DEFAULT_PREPROCESSING,
    "text_convention": DEFAULT_CONVENTION,
    "language_intervals": {},
}


def _parse(data: dict[str, Any]) -> Manifest:
    if "image_preprocessing" in data:
        fields = data["image_preprocessing"]
        channels = {name: tuple(map(float, fields[name])) for name in ("mean", "sd")}
        data["image_preprocessing"] = ImagePreprocessing(**{**fields, **channels})
    if "text_convention" in data:
        data["text_convention"] = TextConvention(**data["text_convention"])
    if "distilled_from" in data:
        data["distilled_from"] = DistilledFrom(**data["distilled_from"])
    data["axes"] = tuple(_axis(**axis) for axis in data["axes"])
    data["intervals"] = {axis: _intervals(found) for axis, found in data["intervals"].items()}
    data["language_intervals"] = {
        axis: {group: _intervals(found) for group, found in groups.items()}
        for axis, groups in data.get("language_intervals", {}).items()
    }
    data["precision"] = {
        name: GraphPrecision(**fields) for name, fields in data["precision"].items()
    }
    data["files"] = {name: FileRecord(**record) for name, record in data["files"].items()}
    return Manifest(**data)


def _intervals(found: dict[str, dict[str, Any]]) -> dict[str, Interval]:
    return {name: Interval(**ends) for name, ends in found.items()}


def _axis(name: str, low: float, high: float) -> Axis:
    return Axis(name, float(low), float(high))


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def _escapes(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
