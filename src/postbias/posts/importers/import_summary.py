"""Summary of an import, for the terminal and for `import.json`, which marks it as complete."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from postbias.errors import SchemaError
from postbias.posts.import_history import MANIFEST
from postbias.posts.importers.media_converter import installed_extras
from postbias.posts.reasons import RejectReason
from postbias.posts.shards import count_rows

#: A larger share of unreadable records is reported by a warning and a non-zero exit code.
MAX_DAMAGED_SHARE = 0.1

# Images that are not found now but may be later.
_MISSING = (
    RejectReason.MISSING_FILE,
    RejectReason.NOT_DOWNLOADED,
    RejectReason.AMBIGUOUS_FILE,
    RejectReason.OUTSIDE_FOLDER,
)

# Records that were read but are no posts of their own; they do not mean damage.
_LEFT_OUT = (
    RejectReason.DUPLICATE_ID,
    RejectReason.OTHER_LAYOUT,
    RejectReason.REPOST,
    RejectReason.COMMENT,
    RejectReason.DELETED,
    RejectReason.NO_CONTENT,
    RejectReason.FORGOTTEN,
)

# Layouts whose CSV files `postbias fetch-images` reads; it reads no JSON of APIs.
_FETCHED_TABLES = ("4cat", "crowdtangle", "x")

# Left out of `import.json` if empty.
_OPTIONAL = (
    *("emptied_cells", "examples", "image_examples", "n_address_posts"),
    *("encoding", "notes", "reading_warning", "n_frames", "n_transcripts"),
)

POSTS_FOLDER, REJECTS_FILE = "posts", "rejects.parquet"


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
        examples: One reject of each reason.
        image_examples: One unreadable image of each reason.
        n_address_posts: Posts that name images by addresses whose files are not in the folder.
        address_column: Column of a table that has the addresses; "" for other layouts.
        encoding: Encoding of the text file, if there is one.
        notes: Remarks on the encoding and on columns.
        reading_warning: A warning if the file has far more lines than rows.
        n_transcripts: Posts with a transcript of their video.
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
    examples: dict[str, str] = field(default_factory=dict)
    image_examples: dict[str, str] = field(default_factory=dict)
    n_address_posts: int = 0
    address_column: str = ""
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    reading_warning: str | None = None
    n_frames: int = 0
    n_transcripts: int = 0

    def render(self) -> str:
        """Format as text: posts and images, then one line per reason of a fault."""
        frames = f" ({self.n_frames} of them frames of videos)" if self.n_frames else ""
        images = f"{self.n_images} images{frames}"
        counts = f"{self.n_posts} posts with {images}, {self.n_shards} shard(s)"
        is_new = self.is_new
        lines = [f"imported {counts}" if is_new else f"nothing to do: already imported {counts}"]
        if self.encoding:
            lines.append(f"  encoding: {self.encoding}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {line}" for line in self.fault_lines()]
        if self.n_rejects or self.n_missing_images:
            lines.append(f"  see {REJECTS_FILE} for details")
        return "\n".join(lines)

    def fault_lines(self) -> list[str]:
        """List what could not be read: one line per reason, with its count and an example."""
        return [
            *(
                f"rejected {n} ({reason}){_example(self.examples, reason)}"
                for reason, n in sorted(self.reasons.items())
            ),
            *(
                f"{n} images could not be read ({reason}); their posts are kept without them"
                f"{_example(self.image_examples, reason)}"
                for reason, n in sorted(self.image_reasons.items())
            ),
            *(
                f"{n} cells left empty ({field}: not a valid value); their posts are kept"
                for field, n in sorted(self.emptied_cells.items())
            ),
        ]

    @property
    def has_missing_images(self) -> bool:
        """Whether images could not be found, which may be added to the export later."""
        reasons = {*self.reasons, *self.image_reasons}
        return any(reason in reasons for reason in _MISSING)

    def warn_of_addresses(self, then: str) -> str | None:
        """Return a warning if posts name images by addresses that are not in the folder.

        Args:
            then: What to do after the images were downloaded.
        """
        if not self.n_address_posts:
            return None
        column = f" in column {self.address_column!r}" if self.address_column else ""
        return (
            f"WARNING: {self.n_address_posts} posts name images by address{column} whose files are "
            "not in the folder; they are imported by caption and other images alone: download the "
            f"images first {self._how_to_download()}, and {then}"
        )

    def _how_to_download(self) -> str:
        by_hand = "into the folder, under the file names in their addresses"
        if self.layout == "table":
            return "with `postbias fetch-images`"
        if self.layout in _FETCHED_TABLES:
            return f"with `postbias fetch-images` if they are in a CSV file, else {by_hand}"
        return by_hand

    @property
    def warning(self) -> str | None:
        """Warnings that the export is probably damaged, in one or more lines."""
        warnings = [self._damage_warning(), self.reading_warning]
        return "\n".join(warning for warning in warnings if warning) or None

    def _damage_warning(self) -> str | None:
        n_records = self.n_posts + self.n_rejects
        n_damaged = self.n_rejects - sum(self.reasons[reason] for reason in _LEFT_OUT)
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
        if not self.n_address_posts:
            del content["address_column"]
        for name in _OPTIONAL:
            if not content[name]:
                del content[name]
        if self.lacks_extra:
            content["installed_extras"] = installed_extras()
        return json.dumps(content | {"digest": digest}, indent=2, sort_keys=True) + "\n"


def _example(examples: dict[str, str], reason: str) -> str:
    return f", e.g. {examples[reason]}" if reason in examples else ""


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
        content.pop("imports", None)  # the counts cover these, too
        for name in ("reasons", "image_reasons", "emptied_cells"):
            content[name] = Counter(content.get(name, {}))
        content["notes"] = tuple(content.get("notes", ()))
        summary = ImportSummary(**content, is_new=False)
        n_rows = count_rows(sorted((dest / POSTS_FOLDER).glob("*.parquet")))
    except (SchemaError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_intact = n_rows == summary.n_posts and (dest / REJECTS_FILE).is_file()
    return summary if is_intact else None
