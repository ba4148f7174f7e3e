"""Read and validate `params.yaml`, and flatten parameters for MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from postbias.errors import ParamsError
from postbias.params.base import Count, Group
from postbias.params.labelling import AnnotateParams, SampleParams
from postbias.params.post_images import ImagesParams
from postbias.params.rating import RatingParams
from postbias.params.referral_params import CascadeParams
from postbias.params.results import EvaluateParams, InferParams, ReportParams
from postbias.params.students import SplitParams, TrainParams
from postbias.params.variant_teachers import VariantsParams


class Params(Group):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="seed of all random numbers")
    threads: Count = Field(
        description="CPU threads for training and scoring; a different number changes the last"
        " digits of the results"
    )
    images: ImagesParams
    sample: SampleParams
    annotate: AnnotateParams
    split: SplitParams
    train: TrainParams
    evaluate: EvaluateParams
    infer: InferParams
    cascade: CascadeParams
    variants: VariantsParams
    rating: RatingParams
    report: ReportParams

    @model_validator(mode="after")
    def _learning_curve_is_of_labels(self) -> Self:
        if self.train.distil_from is not None and self.evaluate.learning_curve:
            raise ValueError("train.distil_from requires evaluate.learning_curve: [], since the"
                             " full student has learned all labels of the train fold")  # fmt: skip
        return self


def load_params(path: Path) -> Params:
    """Read and validate a parameter file.

    Args:
        path: The YAML file, usually `params.yaml`.

    Raises:
        ParamsError: If the file cannot be read or is not valid; the message lists every error with
            its key, the value seen and what is allowed.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # DVC's own parser: unlike PyYAML it reads `1e-4` as a number.
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(
            "parameter file not found",
            seen=str(path),
            do="copy one of params/*.yaml to params.yaml",
        ) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ParamsError(f"{path} is not valid YAML: {_one_line(error)}") from error
    try:
        # From JSON, because strict mode accepts lists for tuples there.
        return Params.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ParamsError(_describe(path, error)) from error
    except TypeError as error:
        raise ParamsError(f"{path} has a value of unknown type: {_one_line(error)}") from error


def flatten_params(
    group: BaseModel, prefix: str = ""
) -> dict[str, str | int | float | bool | None]:
    """Flatten a group to dotted keys, as MLflow displays parameters.

    Args:
        group: Any parameter group.
        prefix: Prefix of the keys, with its dot.

    Returns:
        One scalar per dotted key; tuples as comma-separated text.
    """
    flat: dict[str, str | int | float | bool | None] = {}
    for name in type(group).model_fields:
        value, key = getattr(group, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            flat |= flatten_params(value, f"{key}.")
        else:
            flat[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return flat


def _describe(path: Path, error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
        seen = "" if fault["type"] == "missing" else f" (saw {fault['input']!r:.80})"
        lines.append(f"{key}: {_explain(fault['type'], fault['msg'])}{seen}")
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    reference = "docs/params.md lists all keys and their allowed values"
    return f"{path.name} has {count}: {'; '.join(lines)}; {reference}"


def _explain(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key, remove it or check its spelling"
    if kind == "missing":
        return "missing key, add it"
    return message.removeprefix("Value error, ")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
