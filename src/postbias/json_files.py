"""JSON files with the same bytes for the same content."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def round_floats(obj: object) -> Any:  # noqa: ANN401 - any JSON value
    """Convert to JSON types with floats rounded to 6 significant digits, as `write_json` does.

    Rounding hides differences in the last bits between machines. NaN and infinity become `None`,
    since JSON lacks them.

    Args:
        obj: Mappings, iterables, numbers (including NumPy's), text, booleans and `None`.

    Returns:
        Dicts, lists, numbers, text, booleans and `None`.
    """
    if isinstance(obj, Mapping):
        return {str(key): round_floats(value) for key, value in obj.items()}
    if isinstance(obj, str) or obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, Iterable):
        return [round_floats(value) for value in obj]
    if hasattr(obj, "item"):
        return round_floats(obj.item())
    if isinstance(obj, float):
        return float(f"{obj:.6g}") if math.isfinite(obj) else None
    return obj


def write_json(path: Path, obj: object) -> None:
    """Write a JSON file atomically, with sorted keys and rounded floats; see `round_floats`.

    Args:
        path: The file; its folder is created.
    """
    text = json.dumps(
        round_floats(obj), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
