"""Counts of an appended export, for the terminal and for the list of imports in `import.json`."""

from __future__ import annotations

from dataclasses import dataclass

from postbias.posts.importers.import_summary import ImportSummary


@dataclass(frozen=True, slots=True)
class AppendSummary:
    """What an appended export changed.

    Attributes:
        export: Counts of the export itself; its shards are not those of the corpus.
        n_new: Posts that the corpus did not have; they are in new shards.
        n_updated: Known posts whose likes or comments changed.
        n_unchanged: Known posts without a change.
        n_changed_captions: Known posts with another caption; the first one is kept.
        n_vanished: Posts that this export should contain and does not.
        n_returned: Posts that had vanished and are in this export again.
        n_unchecked: Earlier posts that may have vanished, but posts without a date cannot tell.
        n_corpus: Posts in the corpus now.
        n_gained: Known posts whose images were added; their shards were written again.
        changed_caption_example: Id of a post whose caption changed; "" if there is none.
        is_new: Whether anything was written; False if the corpus was up to date.
    """

    export: ImportSummary
    n_new: int
    n_updated: int
    n_unchanged: int
    n_changed_captions: int
    n_vanished: int
    n_returned: int
    n_unchecked: int
    n_corpus: int
    n_gained: int = 0
    changed_caption_example: str = ""
    is_new: bool = True

    def counts(self) -> dict[str, int]:
        """Return the counts by name, for `import.json`."""
        names = (
            "new",
            "updated",
            "unchanged",
            "changed_captions",
            "vanished",
            "returned",
            "gained",
        )
        return {f"n_{name}": getattr(self, f"n_{name}") for name in names}

    def render(self) -> str:
        """Format as text: what changed, then what could not be read."""
        lines = [
            f"appended {self.n_new} new posts; the corpus has {self.n_corpus}"
            if self.is_new
            else f"nothing to do: the corpus of {self.n_corpus} posts already contains this export",
            f"  known posts: {self.n_updated} with new likes or comments, "
            f"{self.n_unchanged} unchanged",
        ]
        if self.n_gained:
            lines.append(
                f"  {self.n_gained} posts gained images: their shards were rewritten and will be "
                "scored again"
            )
        if self.n_changed_captions:
            lines.append(
                f"  {self.n_changed_captions} with a changed caption; the first caption is kept, "
                f"e.g. {self.changed_caption_example}"
            )
        if self.n_vanished:
            lines.append(
                f"  {self.n_vanished} earlier posts vanished from the export; they are kept"
            )
        if self.n_returned:
            lines.append(f"  {self.n_returned} posts that had vanished are back")
        if self.n_unchecked:
            lines.append(
                f"  {self.n_unchecked} earlier posts without a date: not known if vanished"
            )
        lines += [f"  {line}" for line in self.export.fault_lines()]
        if self.export.n_rejects or self.export.n_missing_images:
            lines.append("  see rejects.parquet for details")
        return "\n".join(lines)
