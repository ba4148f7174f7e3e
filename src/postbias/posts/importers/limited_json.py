"""Parse the JSON of foreign files, which must not be nested so deeply that reading it fails."""

from __future__ import annotations

import json
from typing import Any

#: pydantic's parser refuses deeper values; Python's accepts some that cannot be printed or copied.
MAX_DEPTH = 200


def parse_limited_json(text: str) -> Any:  # noqa: ANN401 - foreign JSON has any shape
    """Parse JSON text, also with lone surrogates, which pydantic's parser refuses.

    Raises:
        ValueError: If it is not JSON, or nested over `MAX_DEPTH` levels deep.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested over {MAX_DEPTH} levels deep") from error
    # Most texts have too few brackets.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(f"nested over {MAX_DEPTH} levels deep")
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
