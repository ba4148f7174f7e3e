"""Rating in Argilla: settings and records of a dataset, and the records that its client exports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from postbias.errors import InputError
from postbias.people.exchange.tool_answers import ToolAnswer, ToolAnswers, load_json
from postbias.people.exchange.tool_tasks import (
    ALTERNATIVES,
    TaskList,
    describe_axis,
    describe_score,
)
from postbias.teacher.rubric import RubricAxis

_OUTCOME, _RATED = "outcome", "rated"
# Limits of the server.
_MAX_DESCRIPTION, _MAX_GUIDELINES, _MAX_OPTION = 1_000, 10_000, 500
_RATING_VALUES = range(11)


def write_argilla_tasks(dest: Path, lists: Sequence[TaskList], axes: Sequence[RubricAxis]) -> None:
    """Write `settings.json` and `records.json`, as `Settings.to_json` and `Records.to_json` do.

    The records name image files, which Argilla's client embeds when it reads the records in the
    exported folder.

    Args:
        dest: The exported folder.
        lists: Tasks for all raters, or of each rater.
        axes: Axes of the rubric.
    """
    for tasks in lists:
        n_images = max((len(task.images) for task in tasks.tasks), default=0)
        settings = _settings(n_images, axes)
        records = [
            {
                "id": task.key,
                "fields": {
                    "caption": task.text,
                    **{f"image_{i}": name for i, name in enumerate(task.images, start=1)},
                },
                "metadata": {},
                "suggestions": {},
                "responses": {},
                "vectors": {},
            }
            for task in tasks.tasks
        ]
        for name, content in (("settings", settings), ("records", records)):
            path = dest / f"{name}{tasks.suffix}.json"
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _settings(n_images: int, axes: Sequence[RubricAxis]) -> dict[str, Any]:
    guidelines = "\n\n".join("\n\n".join((f"## {a.name}", *describe_axis(a))) for a in axes)
    options = [_RATED, *ALTERNATIVES]
    outcome = {
        "name": _OUTCOME,
        "title": "Could you score the post?",
        "description": "Choose `rated` if you gave all scores, otherwise why not.",
        # A dataset needs a required question, and those of the scores can be left out.
        "required": True,
        "type": "label_selection",
        "settings": {
            "type": "label_selection",
            "options": [{"value": option, "text": option} for option in options],
        },
    }
    images = [
        {
            "name": f"image_{i + 1}",
            "required": False,
            "type": "image",
            "settings": {"type": "image"},
        }
        for i in range(n_images)
    ]
    caption = {
        "name": "caption",
        "title": "Caption",
        "required": True,
        "type": "text",
        "settings": {"type": "text", "use_markdown": False},
    }
    return {
        "guidelines": guidelines[:_MAX_GUIDELINES],
        "fields": [*images, caption],
        "questions": [*map(_question, axes), outcome],
        "metadata": [],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def _question(axis: RubricAxis) -> dict[str, Any]:
    settings: dict[str, Any]
    if set(axis.points) <= set(_RATING_VALUES):
        settings = {"type": "rating", "options": [{"value": int(p)} for p in axis.points]}
    else:
        options = [
            {"value": f"{p:g}", "text": describe_score(axis, p)[:_MAX_OPTION]} for p in axis.points
        ]
        settings = {"type": "label_selection", "options": options}
    return {
        "name": axis.name,
        "title": axis.name,
        "description": axis.question[:_MAX_DESCRIPTION],
        "required": False,
        "type": settings["type"],
        "settings": settings,
    }


def read_argilla(src: Path) -> ToolAnswers:
    """Read records with responses, as `dataset.records(with_responses=True).to_json` writes them.

    These files do not say whether a response is a draft or was discarded.

    Args:
        src: The exported file.

    Returns:
        The answers; an annotator is a `user_id`.

    Raises:
        InputError: If the file is not such an export.
    """
    records = load_json(src)
    if not isinstance(records, list):
        raise InputError(
            f"{src} is not a list of records",
            do="export with `dataset.records(with_responses=True).to_json`",
        )
    found = ToolAnswers("argilla")
    for number, record in enumerate(records, start=1):
        place = f"{src.name}: record {number}"
        responses = record.get("responses") if isinstance(record, Mapping) else None
        if not isinstance(record, Mapping) or not isinstance(responses, Mapping):
            found.faults.append(f"{place}: no responses; export with `with_responses=True`")
            continue
        values: dict[str, dict[str, object]] = {}
        for question, entries in responses.items():
            for entry in entries if isinstance(entries, list) else [None]:
                response = entry if isinstance(entry, Mapping) else {}
                user = response.get("user_id")
                given = values.setdefault(user, {}) if isinstance(user, str) else None
                if given is None or question in given:
                    found.faults.append(f"{place}: a response without user, or two of one user")
                    continue
                given[question] = response.get("value")
        for i, (user, given) in enumerate(values.items(), start=1):
            outcome = given.pop(_OUTCOME, _RATED)
            found.answers.append(
                ToolAnswer(
                    place=f"{place}, response {i}",
                    annotator=user,
                    key=record.get("id"),
                    scores=given,
                    alternative="" if outcome == _RATED else outcome,
                    identity=user,
                )
            )
    return found
