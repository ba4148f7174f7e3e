"""Summary of a run of `postbias fetch-images`, for the terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from postbias.posts.reasons import RejectReason

FETCH_REJECTS = "fetch_rejects.parquet"

#: A larger share of failed addresses is reported by a non-zero exit code.
MAX_FAILED_SHARE = 0.1

# Another run may fetch these; the other reasons need another address or option.
_TEMPORARY = (
    RejectReason.RATE_LIMITED,
    RejectReason.SERVER_ERROR,
    RejectReason.TIMEOUT,
    RejectReason.DISCONNECTED,
    RejectReason.TRUNCATED,
)

_MAX_EXAMPLE_CHARS = 200


@dataclass(slots=True)
class FetchSummary:
    """Counts of a run.

    Attributes:
        table: The table.
        folder: The folder of the images.
        n_addresses: Different addresses in the table.
        n_present: Those whose file was there before.
        n_fetched: Those that were fetched.
        n_bytes: Size of the fetched files.
        command: The command that imports the table.
        other_schemes: Number of references that are neither http nor https, by scheme.
        reasons: Number of addresses that failed, by reason.
        examples: The first one of each reason.
    """

    table: Path
    folder: Path
    n_addresses: int = 0
    n_present: int = 0
    n_fetched: int = 0
    n_bytes: int = 0
    command: str = ""
    other_schemes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def count_failure(self, reason: str, example: str) -> None:
        """Count an address that failed."""
        self.reasons[reason] += 1
        self.examples.setdefault(reason, " ".join(example.split())[:_MAX_EXAMPLE_CHARS])

    @property
    def is_incomplete(self) -> bool:
        """Whether so many addresses failed that the exit code says so."""
        return self.reasons.total() > MAX_FAILED_SHARE * self.n_addresses

    def render(self) -> str:
        """Format as text: counts, then one line per reason, then what to do next."""
        size = f"{self.n_bytes / 1e6:.1f} MB"
        lines = [
            f"fetched {self.n_fetched} images ({size}); {self.n_present} were there, "
            f"{self.reasons.total()} of {self.n_addresses} failed"
        ]
        lines += [
            f"  failed {n} ({reason}), e.g. {self.examples[reason]}"
            for reason, n in sorted(self.reasons.items())
        ]
        if self.reasons:
            n_temporary = sum(self.reasons[reason] for reason in _TEMPORARY)
            retry = f"; run again to retry {n_temporary} of them" if n_temporary else ""
            lines.append(f"  see {self.folder / FETCH_REJECTS} for details{retry}")
        lines += [
            f"  not fetched: {n} references with the scheme {scheme}:"
            for scheme, n in sorted(self.other_schemes.items())
        ]
        lines.append(f"  import with: {self.command}")
        return "\n".join(lines)
