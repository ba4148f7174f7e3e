"""What an import gave, on the screen and in `import.json`, the mark that it is done."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from postbias.posts.shards import count_rows

POSTS_FOLDER, REJECTS_FILE, MANIFEST = "posts", "rejects.parquet", "import.json"


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import gave.

    Attributes:
        layout: The layout it was read as.
        n_posts: Posts in the shards.
        n_rejects: Posts, or whole files, that could not be imported.
        reasons: Those by reason.
        n_images: Images in the shards.
        n_missing_images: Images that posts name and that could not be taken along.
        image_reasons: Those by reason.
        n_shards: Shards.
        is_new: Whether this call wrote anything; False if the same import was there already.
    """

    layout: str
    n_posts: int
    n_rejects: int
    reasons: Counter[str]
    n_images: int
    n_missing_images: int
    image_reasons: Counter[str]
    n_shards: int
    is_new: bool

    def render(self) -> str:
        """Say it in a few lines.

        Returns:
            Posts and rejects, then one line per reason.
        """
        done = "imported" if self.is_new else "already there, nothing to do:"
        lines = [
            f"{done} {self.n_posts} posts with {self.n_images} images, {self.n_shards} shard(s)"
        ]
        lines += [f"  rejected {n} ({reason})" for reason, n in sorted(self.reasons.items())]
        lines += [
            f"  {n} images not taken along ({reason}); their posts are kept without them"
            for reason, n in sorted(self.image_reasons.items())
        ]
        if self.n_rejects or self.n_missing_images:
            lines.append(f"  {REJECTS_FILE} lists each of them")
        return "\n".join(lines)

    def manifest(self, digest: str) -> str:
        """Write it down as `find_done` reads it.

        Args:
            digest: Of the export, the layout and the options.

        Returns:
            JSON.
        """
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        del said["is_new"]
        return json.dumps(said | {"digest": digest}, indent=2, sort_keys=True) + "\n"


def find_done(dest: Path, digest: str) -> ImportSummary | None:
    """Find out whether this very import is there already, and whole.

    Args:
        dest: Where it would be.
        digest: Of the export, the layout and the options.

    Returns:
        Its summary; None if it is not there.
    """
    try:
        said = json.loads((dest / MANIFEST).read_text(encoding="utf-8"))
        if said.pop("digest") != digest:
            return None
        for name in ("reasons", "image_reasons"):
            said[name] = Counter(said[name])
        summary = ImportSummary(**said, is_new=False)
        n_rows = count_rows(sorted((dest / POSTS_FOLDER).glob("*.parquet")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_whole = n_rows == summary.n_posts and (dest / REJECTS_FILE).is_file()
    return summary if is_whole else None
