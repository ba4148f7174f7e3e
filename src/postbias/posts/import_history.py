"""Read from `import.json` which import added which shards of a corpus.

Imports are numbered from 0; the shards of a later one have higher numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from postbias.errors import InputError
from postbias.posts.shards import list_shards

MANIFEST = "import.json"


def read_imports(data: Path) -> list[dict[str, Any]]:
    """Read the entries of all imports so far.

    Args:
        data: The folder that contains `posts/`.

    Returns:
        The entries, the first one first, each with `first_shard`; one unknown import if there is no
        `import.json`.

    Raises:
        InputError: If the file is damaged.
    """
    path = data / MANIFEST
    if not path.is_file():
        return [{"first_shard": 0, "layout": None, "digest": None}]
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        first = {name: manifest.get(name) for name in ("digest", "layout", "n_shards")}
        first |= {"first_shard": 0, "n_new": manifest["n_posts"]}
        imports: list[dict[str, Any]] = list(manifest.get("imports", [first]))
        for entry in imports:
            entry["first_shard"] = int(entry["first_shard"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "the summary of the earlier imports cannot be read",
            seen=str(path),
            do="run `dvc pull --force`, or import again",
        ) from error
    return imports


def shard_number(shard: Path) -> int:
    """Return the number in the name of a shard; 0 for a name that importers do not give."""
    return int(shard.stem) if shard.stem.isdecimal() else 0


def find_import(imports: list[dict[str, Any]], shard: Path) -> int:
    """Return the number of the import that added a shard.

    Args:
        imports: Result of `read_imports`.
    """
    number = shard_number(shard)
    return max(i for i, entry in enumerate(imports) if entry["first_shard"] <= number)


def list_imported_shards(data: Path, n_imports: int | None) -> list[Path]:
    """List the shards that the first imports added.

    Args:
        data: The folder that contains `posts/`.
        n_imports: Number of imports, which may exceed that of the corpus; None for all.

    Returns:
        The shards sorted by name; never those of a later import, so that an append does not change
        the result.

    Raises:
        CorpusError: If there is no shard.
        InputError: If `import.json` is damaged.
    """
    shards = list_shards(data / "posts")
    imports = read_imports(data)
    return [s for s in shards if n_imports is None or find_import(imports, s) < n_imports]
