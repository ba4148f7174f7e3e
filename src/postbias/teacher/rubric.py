"""The rubric: what a teacher is asked and what its scores mean.

Reads a YAML file, checks it with pydantic and gives a frozen `Rubric`. Knows nothing of endpoints,
posts or labels. All faults of a file are reported at once.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from postbias.errors import RubricError
from postbias.posts.schema import POSTS, SAMPLE, SPLIT, labels_schema, scores_schema

#: The place in the prompt where questions, scales and anchors go.
AXES_PLACEHOLDER = "{axes}"

#: Columns of labels and scores; an axis of the same name would hide one.
_TAKEN = frozenset(
    name
    for schema in (POSTS, SAMPLE, SPLIT, labels_schema(()), scores_schema(()))
    for name in schema.names
)
_ENDINGS = ("_sd", "_lo", "_hi")
_MAX_POINTS = 201

_Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Anchor(_Part):
    """A fixed point of a scale.

    Attributes:
        score: Where it lies.
        meaning: What a post at this point is like.
        examples: Posts at this point, in words.
    """

    score: float
    meaning: _Text
    examples: Annotated[tuple[_Text, ...], Field(min_length=1)]


class RubricAxis(_Part):
    """One scored dimension.

    Attributes:
        name: Its column name.
        low: The lowest score.
        high: The highest score.
        step: Distance between two scores that a teacher may choose from.
        question: What is asked.
        anchors: Fixed points, ascending; the lowest and highest score are among them.
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
        if self.name in _TAKEN or self.name.endswith(_ENDINGS):
            faults.append(f"the name {self.name!r} is taken by a column of labels or scores")
        if not self.low < self.high:
            faults.append(f"low ({self.low:g}) must be below high ({self.high:g})")
        elif not self._is_even():
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

    def _is_even(self) -> bool:
        steps = (self.high - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9) and steps < _MAX_POINTS

    @property
    def points(self) -> tuple[float, ...]:
        """The scores that a teacher may choose from, ascending."""
        steps = round((self.high - self.low) / self.step)
        return tuple(round(self.low + i * self.step, 6) for i in range(steps + 1))

    @property
    def is_integer(self) -> bool:
        """Whether all scores to choose from are whole numbers."""
        return self.step.is_integer() and self.low.is_integer()


class ReplySpec(_Part):
    """What a reply holds beside the scores.

    Attributes:
        reason: What the teacher is told about the reason it must give.
        language: ISO 639-1 code of the language of the reason; None for any.
    """

    reason: _Text
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None


class _RubricFile(_Part):
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
            faults.append(f"the prompt must hold {AXES_PLACEHOLDER} once, where the axes go")
        if faults:
            raise ValueError("; ".join(faults))
        return self


@dataclass(frozen=True, slots=True)
class Rubric:
    """A checked rubric.

    Attributes:
        name: Its name.
        version: Its version, raised by its author.
        digest: Twelve hexadecimal digits that stand for its whole content.
        axes: The scored dimensions, the main one first.
        prompt: The instructions, with a place for the axes.
        reply: What a reply holds beside the scores.
    """

    name: str
    version: int
    digest: str
    axes: tuple[RubricAxis, ...]
    prompt: str
    reply: ReplySpec

    @property
    def ref(self) -> str:
        """Name and digest, as labels carry them."""
        return f"{self.name}@{self.digest}"

    @property
    def main(self) -> RubricAxis:
        """The axis that students are chosen by."""
        return self.axes[0]

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return tuple(axis.name for axis in self.axes)

    def render_prompt(self) -> str:
        """Write out the instructions.

        Returns:
            The prompt with questions, scales, anchors and examples in place.
        """
        return self.prompt.replace(AXES_PLACEHOLDER, "\n\n".join(map(_render_axis, self.axes)))

    def reply_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a reply: the reason first, then a score per axis.

        Returns:
            A schema that strict structured output accepts.
        """
        scores = {
            axis.name: {
                "type": "integer" if axis.is_integer else "number",
                "enum": [int(p) if axis.is_integer else p for p in axis.points],
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
    """Read and check a rubric.

    Args:
        path: The YAML file.

    Returns:
        The checked rubric.

    Raises:
        RubricError: If the file cannot be read or is no rubric; the message names every fault.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RubricError(
            "no rubric file", seen=str(path), do="set annotate.rubric to one of rubrics/*.yaml"
        ) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise RubricError(
            f"{path} is not readable YAML: {' '.join(str(error).split())[:300]}"
        ) from error
    try:
        # Through JSON: strict mode then still takes YAML's lists for tuples.
        file = _RubricFile.model_validate_json(json.dumps(data))
    except (ValidationError, TypeError) as error:
        raise RubricError(_describe(path, error), do="docs/rubric.md shows how") from error
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


def _describe(path: Path, error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return f"{path.name} holds a value of no known type: {error}"
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        message = {"extra_forbidden": "unknown key", "missing": "missing"}.get(fault["type"])
        faults.append(f"{key}: {message or fault['msg'].removeprefix('Value error, ')}")
    return f"{path.name} has {len(faults)} fault(s): {'; '.join(faults)}"
