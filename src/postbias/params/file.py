"""The whole of `params.yaml`: read, checked, and flattened for MLflow.

Reads with ruamel.yaml, DVC's own parser (PyYAML reads `1e-4` as text), and checks with pydantic;
all faults are reported at once, each with its key, the value seen and what is allowed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from postbias.errors import ParamsError
from postbias.params.claims import EvaluateParams, InferParams, ReportParams
from postbias.params.group import Count, Group
from postbias.params.labelling import AnnotateParams, SampleParams
from postbias.params.students import SplitParams, TrainParams


class Params(Group):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="seed of everything random")
    threads: Count = Field(
        description="CPU threads of training and scoring; another number gives other bytes"
    )
    sample: SampleParams
    annotate: AnnotateParams
    split: SplitParams
    train: TrainParams
    evaluate: EvaluateParams
    infer: InferParams
    report: ReportParams


def load_params(path: Path) -> Params:
    """Read and check a parameter file.

    Args:
        path: The YAML file, usually `params.yaml`.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: If the file cannot be read or says anything that is not allowed; the message
            names every fault.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(
            "no parameter file", seen=str(path), do="copy one of params/*.yaml to params.yaml"
        ) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ParamsError(f"{path} is not readable YAML: {_one_line(error)}") from error
    try:
        # Through JSON: strict mode then still takes YAML's lists for tuples.
        return Params.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ParamsError(_describe(path, error)) from error
    except TypeError as error:
        raise ParamsError(f"{path} holds a value of no known type: {_one_line(error)}") from error


def flatten(group: BaseModel, prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """Flatten a group to dotted keys, as MLflow shows parameters.

    Args:
        group: Any parameter group.
        prefix: Dotted prefix of the keys.

    Returns:
        One scalar per dotted key; lists become comma-separated text.
    """
    flat: dict[str, str | int | float | bool | None] = {}
    for name in type(group).model_fields:
        value, key = getattr(group, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return flat


def _describe(path: Path, error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        seen = "" if fault["type"] == "missing" else f" (saw {fault['input']!r:.80})"
        faults.append(f"{key}: {_allowed(fault['type'], fault['msg'])}{seen}")
    known = "docs/params.md lists all keys and what they take"
    return f"{path.name} has {len(faults)} fault(s): {'; '.join(faults)}; {known}"


def _allowed(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key, remove it or check its spelling"
    if kind == "missing":
        return "missing key, add it"
    return message.removeprefix("Value error, ")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
