"""The rubric: a YAML file with the axes, their anchors, the prompt and the form of the reply."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from postbias.errors import RubricError
from postbias.posts.schema import POSTS, SAMPLE, SPLIT, labels_schema, scores_schema

#: Replaced in the prompt by questions, scales and anchors.
AXES_PLACEHOLDER = "{axes}"

#: Columns of the posts, labels and scores; an axis must not have the name of one.
_RESERVED = frozenset(
    name
    for schema in (POSTS, SAMPLE, SPLIT, labels_schema(()), scores_schema(()))
    for name in schema.names
)
_RESERVED_SUFFIXES = ("_sd", "_lo", "_hi")
_MAX_POINTS = 201

_Text = Annotated[str, Field(min_length=1)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Anchor(_StrictModel):
    """A point of the scale with a description.

    Attributes:
        score: Its score.
        meaning: Description of a post with this score.
        examples: Posts with this score, in words.
    """

    score: float
    meaning: _Text
    examples: Annotated[tuple[_Text, ...], Field(min_length=1)]


class RubricAxis(_StrictModel):
    """One scored dimension.

    Attributes:
        name: Name of its column in labels and scores.
        low: The lowest score.
        high: The highest score.
        step: Distance between adjacent scores.
        question: The question to the teacher.
        anchors: Anchors in ascending order; the first is at `low`, the last at `high`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    low: float
    high: float
    step: Annotated[float, Field(gt=0)] = 1.0
    question: _Text
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        scores = [anchor.score for anchor in self.anchors]
        faults = []
        if self.name in _RESERVED or self.name.endswith(_RESERVED_SUFFIXES):
            faults.append(f"the name {self.name!r} is a column of posts, labels or scores")
        if not self.low < self.high:
            faults.append(f"low ({self.low:g}) must be below high ({self.high:g})")
        elif not self._has_even_steps():
            faults.append(
                f"step ({self.step:g}) must divide {self.low:g}..{self.high:g} evenly, "
                f"into at most {_MAX_POINTS} points"
            )
        if any(a >= b for a, b in pairwise(scores)):
            faults.append("anchors must ascend, each score once")
        if scores[0] != self.low or scores[-1] != self.high:
            faults.append("the first anchor must be at low and the last at high")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _has_even_steps(self) -> bool:
        steps = (self.high - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9) and steps < _MAX_POINTS

    @property
    def points(self) -> tuple[float, ...]:
        """The scores that a teacher can choose from, ascending."""
        steps = round((self.high - self.low) / self.step)
        return tuple(round(self.low + i * self.step, 6) for i in range(steps + 1))

    @property
    def has_integer_scores(self) -> bool:
        """Whether all scores on the scale are integers."""
        return self.step.is_integer() and self.low.is_integer()


class ReplySpec(_StrictModel):
    """The part of a reply beside the scores.

    Attributes:
        reason: Instructions to the teacher about the reason it must give.
        language: ISO 639-1 code of the language of the reason; None accepts any.
    """

    reason: _Text
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None


class _RubricFile(_StrictModel):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    version: Annotated[int, Field(ge=1)]
    axes: Annotated[tuple[RubricAxis, ...], Field(min_length=1)]
    prompt: _Text
    reply: ReplySpec

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [axis.name for axis in self.axes]
        faults = []
        if len(set(names)) < len(names):
            faults.append(f"axes must have different names, not {', '.join(names)}")
        if self.prompt.count(AXES_PLACEHOLDER) != 1:
            faults.append(f"the prompt must contain {AXES_PLACEHOLDER} exactly once")
        if faults:
            raise ValueError("; ".join(faults))
        return self


@dataclass(frozen=True, slots=True)
class Rubric:
    """A validated rubric.

    Attributes:
        name: Its name.
        version: Its version, raised by its author.
        digest: Twelve hexadecimal digits of the hash of its content, comments excluded.
        axes: The scored dimensions; students are chosen by the first, the main axis.
        prompt: The instructions, with a placeholder for the axes.
        reply: The part of a reply beside the scores.
    """

    name: str
    version: int
    digest: str
    axes: tuple[RubricAxis, ...]
    prompt: str
    reply: ReplySpec

    @property
    def ref(self) -> str:
        """Name and digest, as in the column `rubric` of the labels."""
        return f"{self.name}@{self.digest}"

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return tuple(axis.name for axis in self.axes)

    def render_prompt(self) -> str:
        """Return the prompt with questions, scales, anchors and examples filled in."""
        return self.prompt.replace(AXES_PLACEHOLDER, "\n\n".join(map(_render_axis, self.axes)))

    def reordered(self, n: int) -> Rubric:
        """Return the rubric with its axes rotated by `n`, and its anchors reversed from 4 on."""
        n_first = n % len(self.axes)
        axes = self.axes[n_first:] + self.axes[:n_first]
        if n // 4 % 2:
            axes = tuple(axis.model_copy(update={"anchors": axis.anchors[::-1]}) for axis in axes)
        return replace(self, axes=axes)

    def reply_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a reply, in the subset that strict structured output accepts.

        The reason comes first: a model that has written its reason scores more consistently.
        """
        scores = {
            axis.name: {
                "type": "integer" if axis.has_integer_scores else "number",
                "enum": [int(p) if axis.has_integer_scores else p for p in axis.points],
            }
            for axis in self.axes
        }
        properties = {"reason": {"type": "string", "description": self.reply.reason}, **scores}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def load_rubric(path: Path) -> Rubric:
    """Read and validate a rubric.

    Args:
        path: A YAML file.

    Returns:
        The validated rubric.

    Raises:
        RubricError: If the file cannot be read or is invalid; the message lists every fault.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RubricError(
            "rubric file not found",
            seen=str(path),
            do="set annotate.rubric to one of rubrics/*.yaml",
        ) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise RubricError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())[:300]}"
        ) from error
    try:
        # Through JSON, because strict mode accepts lists for tuples in JSON input only.
        file = _RubricFile.model_validate_json(json.dumps(data))
    except (ValidationError, TypeError) as error:
        raise RubricError(_describe_faults(path, error), do="see docs/rubric.md") from error
    content = json.dumps(file.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return Rubric(file.name, file.version, digest, file.axes, file.prompt, file.reply)


def _render_axis(axis: RubricAxis) -> str:
    lines = [
        f"Axis `{axis.name}`, from {axis.low:g} to {axis.high:g} in steps of {axis.step:g}.",
        axis.question,
    ]
    for anchor in axis.anchors:
        lines.append(f"- {anchor.score:g}: {anchor.meaning}")
        lines += [f"  Example: {example}" for example in anchor.examples]
    return "\n".join(lines)


def _describe_faults(path: Path, error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return f"{path.name} contains a value of an unsupported type: {error}"
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        message = {"extra_forbidden": "unknown key", "missing": "missing"}.get(fault["type"])
        faults.append(f"{key}: {message or fault['msg'].removeprefix('Value error, ')}")
    return f"{path.name} has {len(faults)} fault(s): {'; '.join(faults)}"
