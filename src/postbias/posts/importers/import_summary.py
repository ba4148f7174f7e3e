"""Summary of an import, for the terminal and for `import.json`, which marks it as complete."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from postbias.posts.importers.media_converter import installed_extras
from postbias.posts.reasons import RejectReason
from postbias.posts.shards import count_rows

#: A larger share of unreadable records is reported by a warning and a non-zero exit code.
MAX_DAMAGED_SHARE = 0.1

POSTS_FOLDER, REJECTS_FILE, MANIFEST = "posts", "rejects.parquet", "import.json"


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Counts of an import.

    Attributes:
        layout: Layout of the export.
        n_posts: Posts in the shards.
        n_rejects: Posts, or whole files, that could not be imported.
        reasons: Number of these by reason.
        n_images: Images in the shards.
        n_frames: Number of these that are frames of videos.
        n_missing_images: Images that posts refer to but that could not be read.
        image_reasons: Number of these by reason.
        n_shards: Number of shards.
        is_new: Whether this call imported anything; False if the import was complete before.
        emptied_cells: Number of invalid values that were left out, by field.
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
    emptied_cells: Counter[str] = field(default_factory=Counter)
    n_frames: int = 0

    def render(self) -> str:
        """Format as text: posts and images, then one line per reject reason."""
        frames = f" ({self.n_frames} of them frames of videos)" if self.n_frames else ""
        images = f"{self.n_images} images{frames}"
        counts = f"{self.n_posts} posts with {images}, {self.n_shards} shard(s)"
        is_new = self.is_new
        lines = [f"imported {counts}" if is_new else f"nothing to do: already imported {counts}"]
        lines += [f"  rejected {n} ({reason})" for reason, n in sorted(self.reasons.items())]
        lines += [
            f"  {n} images could not be read ({reason}); their posts are kept without them"
            for reason, n in sorted(self.image_reasons.items())
        ]
        lines += [
            f"  {n} cells left empty ({field}: not a valid value); their posts are kept"
            for field, n in sorted(self.emptied_cells.items())
        ]
        if self.n_rejects or self.n_missing_images:
            lines.append(f"  see {REJECTS_FILE} for details")
        return "\n".join(lines)

    @property
    def warning(self) -> str | None:
        """A warning if so many records could not be read that the export is probably damaged."""
        n_records = self.n_posts + self.n_rejects
        n_damaged = self.n_rejects - self.reasons[RejectReason.DUPLICATE_ID]
        if n_damaged <= MAX_DAMAGED_SHARE * n_records:
            return None
        return (
            f"WARNING: {n_damaged} of {n_records} records ({n_damaged / n_records:.0%}) could not "
            f"be read, more than {MAX_DAMAGED_SHARE:.0%}: check the export; {REJECTS_FILE} has the "
            "reasons"
        )

    @property
    def lacks_extra(self) -> bool:
        """Whether videos or HEIF images could not be read without an extra."""
        return RejectReason.MISSING_EXTRA in self.image_reasons | self.reasons

    def to_json(self, digest: str) -> str:
        """Serialise for `find_completed_import`.

        Args:
            digest: Covers the export, the layout and the options.

        Returns:
            Indented JSON with sorted keys.
        """
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        del content["is_new"]
        if not self.emptied_cells:
            del content["emptied_cells"]
        if not self.n_frames:
            del content["n_frames"]
        if self.lacks_extra:
            content["installed_extras"] = installed_extras()
        return json.dumps(content | {"digest": digest}, indent=2, sort_keys=True) + "\n"


def find_completed_import(dest: Path, digest: str) -> ImportSummary | None:
    """Find a complete import of the same export with the same options.

    Args:
        dest: The folder that holds the import.
        digest: Covers the export, the layout and the options.

    Returns:
        Its summary; None if there is none, a file of it is missing, or it lacks files for want of
        an extra that is now installed.
    """
    try:
        content = json.loads((dest / MANIFEST).read_text(encoding="utf-8"))
        if content.pop("digest") != digest:
            return None
        if set(installed_extras()) - set(content.pop("installed_extras", installed_extras())):
            return None  # now it can read more
        for name in ("reasons", "image_reasons", "emptied_cells"):
            content[name] = Counter(content.get(name, {}))
        summary = ImportSummary(**content, is_new=False)
        n_rows = count_rows(sorted((dest / POSTS_FOLDER).glob("*.parquet")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_intact = n_rows == summary.n_posts and (dest / REJECTS_FILE).is_file()
    return summary if is_intact else None
