"""Find out how a pretrained text encoder is meant to be used: its pooling and its prefix.

The files of a sentence-transformers model state both; other models have a convention by family.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, cast

from postbias.errors import ParamsError
from postbias.scoring.manifest_records import DEFAULT_CONVENTION, Pooling, TextConvention

#: Value of `text_encoder` that asks for random weights.
SCRATCH = "scratch"
#: Value of `text_pooling` that asks for the encoder's own.
AUTO = "auto"

# Of these, sqrt-of-length pooling differs from the mean in scale only, which the head normalises.
_POOLINGS: dict[str, Pooling] = {
    "cls": "cls", "cls_token": "cls",
    "mean": "mean", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean",
}  # fmt: skip

# E5 encoders put "query: " before texts that are classified; their files do not say so.
_E5 = re.compile(r"(^|[-_.])e5([-_.]|$)")


def read_convention(
    name: str, pooling: Literal["auto", "mean", "cls"], prefix: str | None
) -> TextConvention:
    """Determine pooling and prefix of a text encoder.

    Args:
        name: Hub name or folder; `scratch` for an encoder with random weights.
        pooling: `auto` for the encoder's own.
        prefix: None for the encoder's own.

    Returns:
        The convention: params if they decide, else the encoder's files, else its family's.

    Raises:
        ParamsError: If the encoder pools in a way that is not supported.
    """
    if name == SCRATCH:
        own_pooling, own_prefix = DEFAULT_CONVENTION.pooling, DEFAULT_CONVENTION.prefix
    else:
        own_pooling = _read_pooling(name) if pooling == AUTO else "mean"
        own_prefix = _read_prefix(name) if prefix is None else ""
    return TextConvention(
        pooling=own_pooling if pooling == AUTO else cast("Pooling", pooling),
        prefix=own_prefix if prefix is None else prefix,
    )


def read_model_json(name: str, file: str) -> Any:  # noqa: ANN401 - any JSON
    """Read a JSON file of a model; None if it has none.

    Args:
        name: Hub name or folder.
        file: Relative path of the file.

    Returns:
        The content.
    """
    path = find_model_file(name, file)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def find_model_file(name: str, file: str) -> Path | None:
    """Find a file of a model in its folder, in the hub's cache, or on the hub.

    Args:
        name: Hub name or folder.
        file: Relative path of the file.

    Returns:
        Its path; None if there is no such file or the hub cannot be reached.
    """
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):
        return None
    return None if found is None else Path(found)


def find_module(name: str, kind: str) -> str | None:
    """Find the folder of a module of a sentence-transformers model.

    Args:
        name: Hub name or folder.
        kind: The module's class, for example `Pooling`.

    Returns:
        The folder's relative path, possibly empty; None without such a module.
    """
    modules = read_model_json(name, "modules.json")
    for module in modules if isinstance(modules, list) else []:
        if isinstance(module, dict) and str(module.get("type", "")).rpartition(".")[2] == kind:
            return str(module.get("path", ""))
    return None


def _read_pooling(name: str) -> Pooling:
    folder = find_module(name, "Pooling")
    config = None if folder is None else read_model_json(name, f"{folder}/config.json".lstrip("/"))
    if isinstance(config, dict):
        return _choose_pooling(name, config)
    config = read_model_json(name, "config.json")
    # ModernBERT and its relatives name the pooling that their classifiers use.
    own = config.get("classifier_pooling") if isinstance(config, dict) else None
    return _POOLINGS.get(str(own), DEFAULT_CONVENTION.pooling)


def _choose_pooling(name: str, config: dict[str, Any]) -> Pooling:
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or [])
    start = "pooling_mode_"
    modes += [key.removeprefix(start) for key, value in config.items()
              if key.startswith(start) and value is True]  # fmt: skip
    if not modes:
        return DEFAULT_CONVENTION.pooling
    if len(modes) == 1 and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]]
    raise ParamsError(
        f"the text encoder {name} pools in a way that is not supported",
        seen=" and ".join(map(str, modes)),
        allowed="mean, cls",
        do="set train.text_pooling to mean or cls, or choose another encoder",
    )


def _read_prefix(name: str) -> str:
    config = read_model_json(name, "config_sentence_transformers.json")
    config = config if isinstance(config, dict) else {}
    given = config.get("prompts")
    prompts = {str(key).lower(): str(value) for key, value in given.items()} if given else {}
    default = str(config.get("default_prompt_name") or "").lower()
    for key in (default, "classification"):
        if prompts.get(key):
            return prompts[key]
    # A prompt for queries alone is for searching: the texts that are searched have none.
    if prompts.get("query") and any(prompts.get(key) for key in ("document", "passage")):
        return prompts["query"]
    return "query: " if not prompts and _E5.search(Path(name).name.lower()) else ""
