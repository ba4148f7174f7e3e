"""What `student.json` says of one trained student.

Parses, checks and renders it; opens no file (see `postbias.scoring.artifact`). Shipped inside the
registered model, so it imports the standard library only.
"""

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

#: What to do about a damaged artifact.
REMAKE = "run `dvc repro` or `dvc pull` to make it again"


@dataclass(frozen=True, slots=True)
class Interval:
    """How far below and above a score its interval reaches, and from how many posts that is known.

    Attributes:
        lo: Added to the score for the lower end; usually negative.
        hi: Added to the score for the upper end.
        n: Posts of the calib fold behind the two.
    """

    lo: float
    hi: float
    n: int


@dataclass(frozen=True, slots=True)
class GraphPrecision:
    """In which precision a graph ships.

    Attributes:
        ships: `int8`, or `fp32` where int8 was not tried or lost too much.
        loss: Mean absolute change of the scores that int8 makes, as a share of the axis' range,
            the worst axis; none where int8 was not tried.
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
    """What `student.json` says.

    Attributes:
        modality: What the student looks at.
        axes: The axes it scores, the main one first.
        max_images: Images of a carousel that are looked at.
        rubric: `name@digest` of the rubric behind the labels.
        training_digest: sha256 over labels and split of the train and valid folds.
        n_train: Posts of the train fold.
        text_encoder: Its name; none for an image student.
        max_tokens: Tokens of a caption that are read; none for an image student.
        image_encoder: Its name; none for a text student.
        image_size: Side of the square the image is resized to; none for a text student.
        coverage: Nominal coverage of the intervals; none before calibration.
        intervals: By axis, then by group of modalities present (`image+text`, `text`, `image`).
        reference: Profile of the posts that the student knows, to notice when others come
            (`postbias.scoring.drift`); empty before calibration.
        precision: By graph; filled in by the export.
        versions: Of the packages that made it.
        files: Every other file by relative path; filled in by `write_artifact`.
    """

    modality: Modality
    axes: tuple[Axis, ...]
    max_images: int
    rubric: str
    training_digest: str
    n_train: int
    text_encoder: str | None = None
    max_tokens: int | None = None
    image_encoder: str | None = None
    image_size: int | None = None
    coverage: float | None = None
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
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
        """Whether the student looks at images."""
        return "image" in ENCODERS[self.modality]

    @property
    def graphs(self) -> tuple[str, ...]:
        """The student's graphs: its encoders, then `head`."""
        return (*ENCODERS[self.modality], "head")

    def graph_file(self, graph: str, precision: Precision) -> str:
        """Name the file that runs a graph in a precision.

        Args:
            graph: `image`, `text` or `head`.
            precision: What was asked for; a graph that ships as fp32 only gives that.

        Returns:
            Its path relative to the folder.
        """
        shipped = self.precision.get(graph)
        is_int8 = precision == "int8" and shipped is not None and shipped.ships == "int8"
        return f"onnx/int8/{graph}.onnx" if is_int8 else f"onnx/{graph}.onnx"

    def runtime_files(self, precision: Precision) -> list[str]:
        """List what scoring in a precision reads besides the manifest.

        Args:
            precision: `int8` or `fp32`.

        Returns:
            Relative paths, sorted.
        """
        names = {self.graph_file(graph, precision) for graph in self.graphs}
        return sorted(names | ({TOKENIZER} if self.has_text else set()))

    def required_files(self) -> list[str]:
        """List every file that the artifact must have besides the manifest.

        Returns:
            Relative paths, sorted.
        """
        names = {*self.runtime_files("fp32"), *self.runtime_files("int8"), WEIGHTS}
        return sorted(names)

    def to_json(self) -> str:
        """Render as the text of `student.json`: sorted keys, one newline at the end.

        Returns:
            The same text for the same manifest.
        """
        data = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse and check the text of a `student.json`.

        Args:
            text: What the file says.

        Returns:
            The manifest.

        Raises:
            ArtifactError: If it is no manifest of this version, or says anything impossible.
        """
        try:
            data = json.loads(text)
            version = data.pop("format_version")
            if version != FORMAT_VERSION:
                raise ArtifactError(
                    f"{MANIFEST} has an unknown format_version",
                    seen=version,
                    allowed=FORMAT_VERSION,
                    do="use the postbias version that made it, or train again",
                )
            manifest = _parse(data)
            manifest.check()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fault = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ArtifactError(f"{MANIFEST} is damaged ({fault})", do=REMAKE) from error
        return manifest

    def check(self) -> None:
        """Check that the parts fit together.

        Raises:
            ArtifactError: If they do not, naming the part.
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
            "image_size": self.modality in ENCODERS and self.has_image == (self.image_size is None),
            "intervals": bool(self.intervals) and sorted(self.intervals) != sorted(names),
            "files": any(_escapes(name) for name in self.files),
        }
        faults = [part for part, is_wrong in wrong.items() if is_wrong]
        if faults:
            raise ArtifactError(f"{MANIFEST} makes no sense in {', '.join(faults)}", do=REMAKE)


def _parse(data: dict[str, Any]) -> Manifest:
    data["axes"] = tuple(_axis(**axis) for axis in data["axes"])
    data["intervals"] = {
        axis: {group: Interval(**ends) for group, ends in groups.items()}
        for axis, groups in data["intervals"].items()
    }
    data["precision"] = {name: GraphPrecision(**says) for name, says in data["precision"].items()}
    data["files"] = {name: FileRecord(**record) for name, record in data["files"].items()}
    return Manifest(**data)


def _axis(name: str, low: float, high: float) -> Axis:
    return Axis(name, float(low), float(high))


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def _escapes(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
