"""Rating in Label Studio: tasks and labelling interface for a project, and its JSON export."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from PIL import Image, ImageDraw

from postbias.errors import InputError
from postbias.people.exchange.tool_answers import (
    ToolAnswer,
    ToolAnswers,
    load_json,
    parse_seconds,
    parse_time,
)
from postbias.people.exchange.tool_tasks import (
    ALTERNATIVES,
    IMAGES,
    MAX_CHOICES,
    TaskList,
    describe_axis,
    describe_score,
)
from postbias.teacher.rubric import RubricAxis

_INSTEAD = "instead"
_NO_IMAGE = f"{IMAGES}/none.jpg"
_LOCAL_FILES = "/data/local-files/?d="
_INSTEAD_LABEL = "If the post cannot be scored, instead of scores:"


def write_label_studio_tasks(
    dest: Path, lists: Sequence[TaskList], axes: Sequence[RubricAxis]
) -> None:
    """Write `tasks.json` and `interface.xml`, the labelling interface.

    Args:
        dest: The exported folder.
        lists: Tasks for all raters, or of each rater.
        axes: Axes of the rubric.
    """
    # Label Studio 1.23 does not open a task with an empty list of images.
    card = Image.new("RGB", (480, 80), "white")
    ImageDraw.Draw(card).text((20, 32), "This post has no image to show.", fill="black")
    card.save(dest / _NO_IMAGE, "JPEG")
    for tasks in lists:
        content = [
            {
                "data": {
                    "task": task.key,
                    "caption": task.text,
                    "images": [f"{_LOCAL_FILES}{name}" for name in task.images or (_NO_IMAGE,)],
                }
            }
            for task in tasks.tasks
        ]
        path = dest / f"tasks{tasks.suffix}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    (dest / "interface.xml").write_text(_render_interface(axes), encoding="utf-8")


def _render_interface(axes: Sequence[RubricAxis]) -> str:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="images", valueList="$images")
    ET.SubElement(view, "Text", name="caption", value="$caption")
    for place, axis in enumerate(axes):
        ET.SubElement(view, "Header", value=f"{axis.name}: {axis.question}", size="5")
        if len(axis.points) <= MAX_CHOICES:
            choices = _add_choices(view, axis.name)
            for point in axis.points:
                choice = ET.SubElement(choices, "Choice", value=f"{point:g}")
                choice.set("hint", describe_score(axis, point))
                if place == 0 and point in range(10):
                    choice.set("hotkey", f"{point:g}")
        else:
            scale = {"min": f"{axis.low:g}", "max": f"{axis.high:g}", "step": f"{axis.step:g}"}
            ET.SubElement(view, "Number", scale, name=axis.name, toName="caption")
        help_text = ET.SubElement(view, "Collapse")
        panel = ET.SubElement(help_text, "Panel", value=f"{axis.name}: the scale with examples")
        for line in describe_axis(axis)[1:]:
            ET.SubElement(panel, "Header", value=line, size="6")
    ET.SubElement(view, "Header", value=_INSTEAD_LABEL, size="5")
    choices = _add_choices(view, _INSTEAD)
    for alternative in ALTERNATIVES:
        ET.SubElement(choices, "Choice", value=alternative)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _add_choices(view: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(
        view, "Choices", name=name, toName="caption", choice="single-radio", showInline="true"
    )


def read_label_studio(src: Path) -> ToolAnswers:
    """Read a project's export in the format `JSON`.

    An annotation is identified by its `unique_id`, an annotator by `completed_by`. A skipped task
    is one that was skipped for another reason.

    Args:
        src: The exported file.

    Returns:
        The answers.

    Raises:
        InputError: If the file is not such an export.
    """
    tasks = load_json(src)
    if not isinstance(tasks, list):
        raise InputError(
            f"{src} is not a list of tasks", do="export the project in the format JSON"
        )
    found = ToolAnswers("label-studio")
    for number, task in enumerate(tasks, start=1):
        place = f"{src.name}: task {number}"
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            found.faults.append(f"{place}: no data; export the project in the format JSON")
            continue
        annotations = task.get("annotations")
        if not isinstance(annotations, list):
            found.faults.append(f"{place}: no list of annotations; export in the format JSON")
            continue
        for i, annotation in enumerate(annotations, start=1):
            where = f"{place}, annotation {i}"
            try:
                found.answers.append(_parse_annotation(where, task["data"].get("task"), annotation))
            except ValueError as error:
                found.faults.append(f"{where}: {error}")
    return found


def _parse_annotation(place: str, key: object, annotation: object) -> ToolAnswer:
    """Parse an annotation.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(annotation, Mapping):
        raise ValueError("not an annotation")
    annotator = _find_annotator(annotation.get("completed_by"))
    identity = annotation.get("unique_id") or annotation.get("id")
    if annotator is None or not isinstance(identity, str | int):
        raise ValueError("no annotator (completed_by) or no id")
    values: dict[str, object] = dict(_values(annotation.get("result")))
    alternative = values.pop(_INSTEAD, "")
    if annotation.get("was_cancelled") is True:
        values, alternative = {}, alternative or "skip: other"
    return ToolAnswer(
        place=place,
        annotator=annotator,
        key=key,
        scores=values,
        alternative=alternative,
        seconds=parse_seconds(annotation.get("lead_time")),
        rated_at=parse_time(annotation.get("created_at")),
        identity=str(identity),
    )


def _find_annotator(completed_by: object) -> str | None:
    """Return what distinguishes the annotator: a number, or with more details an object."""
    if isinstance(completed_by, Mapping):
        completed_by = completed_by.get("id") or completed_by.get("email")
    is_known = isinstance(completed_by, str | int) and not isinstance(completed_by, bool)
    return str(completed_by) if is_known else None


def _values(results: object) -> Iterator[tuple[str, object]]:
    if not isinstance(results, list):
        raise ValueError("no list of results")
    for result in results:
        value: Any = result.get("value") if isinstance(result, Mapping) else None
        name = result.get("from_name") if isinstance(result, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(name, str):
            raise ValueError("a result without name and value")
        choices = value.get("choices")
        if isinstance(choices, list) and len(choices) == 1:
            yield name, choices[0]
        elif "number" in value:
            yield name, value["number"]
        else:
            raise ValueError("a result that is neither one choice nor a number")
