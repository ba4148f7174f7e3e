"""Rating in potato: data, configuration, and the annotations that its server writes.

potato is a separate program under the GPLv3; only files are exchanged with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from postbias.errors import InputError
from postbias.people.exchange.tool_answers import (
    ToolAnswer,
    ToolAnswers,
    load_json,
    parse_seconds,
    parse_time,
    read_bytes,
)
from postbias.people.exchange.tool_tasks import (
    ALTERNATIVES,
    IMAGES,
    MAX_CHOICES,
    TaskList,
    describe_score,
)
from postbias.teacher.rubric import RubricAxis

_INSTEAD = "instead"
_STATE, _HISTORY = "user_state.json", "annotation_history.jsonl"


def write_potato_tasks(dest: Path, lists: Sequence[TaskList], axes: Sequence[RubricAxis]) -> None:
    """Write `tasks.jsonl` and `config.yaml`; with a list per rater, one of each per rater.

    Args:
        dest: The exported folder.
        lists: Tasks for all raters, or of each rater.
        axes: Axes of the rubric.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 10_000
    for tasks in lists:
        data = f"tasks{tasks.suffix}.jsonl"
        with (dest / data).open("w", encoding="utf-8") as file:
            for task in tasks.tasks:
                images = [f"/media/{name.removeprefix(f'{IMAGES}/')}" for name in task.images]
                # potato 2.12 runs scripts in captions, and shows escaped ones as they are escaped.
                caption = task.text.replace("<", "\uff1c")
                row = {"task": task.key, "caption": caption, "images": images}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        config = {
            "annotation_task_name": "Posts",
            "task_dir": ".",
            "data_files": [data],
            "output_annotation_dir": f"annotation_output{tasks.suffix}",
            "media_directory": IMAGES,
            "item_properties": {"id_key": "task", "text_key": "caption"},
            # So that a repeated post is shown well after its first presentation.
            "assignment_strategy": "fixed_order",
            "require_password": False,
            "user_config": {"allow_all_users": True, "users": []},
            "instance_display": {
                "fields": [{"key": "images", "type": "gallery"}, {"key": "caption", "type": "text"}]
            },
            "annotation_schemes": [*map(_scheme, axes), _instead_scheme()],
        }
        with (dest / f"config{tasks.suffix}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(config, file)


def _scheme(axis: RubricAxis) -> dict[str, Any]:
    scheme: dict[str, Any] = {"name": axis.name, "description": f"{axis.name}: {axis.question}"}
    if len(axis.points) > MAX_CHOICES:
        bounds = {"min_value": axis.low, "max_value": axis.high, "step": axis.step}
        return scheme | {"annotation_type": "number"} | bounds
    labels = [{"name": f"{p:g}", "tooltip": describe_score(axis, p)} for p in axis.points]
    return scheme | {"annotation_type": "radio", "horizontal": True, "labels": labels}


def _instead_scheme() -> dict[str, Any]:
    return {
        "name": _INSTEAD,
        "description": "If the post cannot be scored, instead of scores:",
        "annotation_type": "radio",
        "labels": [{"name": name} for name in ALTERNATIVES],
    }


def read_potato(src: Path, rater: str | None) -> ToolAnswers:
    """Read the annotations that potato writes, in a folder for each annotator.

    Scores are in `user_state.json`. Annotators are recognised at the next import by the ids of
    their actions in `annotation_history.jsonl`.

    Args:
        src: The folder `annotation_output`, or the folder of one annotator in it.
        rater: Pseudonym of the only annotator; None if there are several.

    Returns:
        The answers.

    Raises:
        InputError: If there are no annotations, or no history and no pseudonym.
    """
    states = [src / _STATE] if (src / _STATE).is_file() else sorted(src.glob(f"*/{_STATE}"))
    if not states:
        raise InputError(
            f"no annotations of potato: no {_STATE} in this folder, nor in one in it",
            seen=str(src),
            do="name the folder annotation_output",
        )
    found = ToolAnswers("potato")
    for number, path in enumerate(states, start=1):
        # The folder has the name of the annotator, which no message may repeat.
        place = f"annotator {number}"
        try:
            state = load_json(path)
        except InputError:
            found.faults.append(f"{place}: {_STATE} cannot be read")
            continue
        labels = state.get("instance_id_to_label_to_value") if isinstance(state, Mapping) else None
        if not isinstance(state, Mapping) or not isinstance(labels, Mapping):
            found.faults.append(f"{place}: no labels in {_STATE}")
            continue
        actions = _read_history(path.with_name(_HISTORY))
        spent = state.get("instance_id_to_behavioral_data")
        for i, (key, values) in enumerate(labels.items(), start=1):
            where = f"{place}, post {i}"
            action = actions.get(key)
            if action is None and rater is None:
                found.faults.append(f"{where}: not in {_HISTORY}; give --rater for one annotator")
                continue
            try:
                scores = dict(_labels(values))
            except ValueError as error:
                found.faults.append(f"{where}: {error}")
                continue
            alternative = scores.pop(_INSTEAD, "")
            if not scores and not alternative:
                continue
            identity, rated_at = action or (str(rater), "")
            seconds = _seconds(spent.get(key)) if isinstance(spent, Mapping) else 0.0
            found.answers.append(
                ToolAnswer(
                    where, path.parent.name, key, scores, alternative, seconds, rated_at, identity
                )
            )
    return found


def _labels(values: object) -> Iterator[tuple[str, object]]:
    """Iterate over scheme and value of `[[{"schema": ..., "name": ...}, value], ...]`.

    Raises:
        ValueError: If the values have another form.
    """
    if not isinstance(values, list):
        raise ValueError("no list of labels")
    names = set()
    for entry in values:
        label = entry[0] if isinstance(entry, list) and len(entry) == 2 else None
        name = label.get("schema") if isinstance(label, Mapping) else None
        if not isinstance(name, str) or name in names:
            raise ValueError("a label without scheme, or two of one scheme")
        names.add(name)
        yield name, entry[1]


def _read_history(path: Path) -> dict[str, tuple[str, str]]:
    """Return the id of the first action and the time of the last one, by post."""
    try:
        lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    except InputError:
        return {}
    actions: dict[str, tuple[str, str]] = {}
    for line in lines:
        try:
            action: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(action, Mapping):
            continue
        key, identity = action.get("instance_id"), action.get("action_id")
        if isinstance(key, str) and isinstance(identity, str):
            first, _ = actions.get(key, (identity, ""))
            # Local time without an offset, of the machine that ran potato.
            actions[key] = first, parse_time(action.get("timestamp"))
    return actions


def _seconds(behaviour: object) -> float:
    time = behaviour.get("total_time_ms") if isinstance(behaviour, Mapping) else None
    return parse_seconds(time / 1000) if isinstance(time, int | float) else 0.0
