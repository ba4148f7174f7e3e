"""Progress bar of a labelling run: rate, cost, remaining time and rejects by reason."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tqdm import tqdm

from postbias.teacher.budget import Budget
from postbias.teacher.label_scheduler import LabelCounts


class LabellingProgress:
    """A tqdm bar on stderr; silent where stderr is not a terminal."""

    def __init__(self, total: int, counts: LabelCounts, budget: Budget) -> None:
        """Start the bar.

        Args:
            total: Requests in all, including those answered in earlier runs.
            counts: The running counts to show.
            budget: The running cost to show.
        """
        self._counts, self._budget = counts, budget
        self._start_usd = budget.spent_usd
        self._bar = tqdm(total=total, unit="post", desc="annotate", disable=None, smoothing=0.05)

    def __enter__(self) -> Self:
        """Return the bar."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show the final counts and leave the bar on the terminal."""
        self.update()
        self._bar.close()

    def extend(self, n: int) -> None:
        """Add `n` requests to the total."""
        self._bar.total = (self._bar.total or 0) + n

    def update(self) -> None:
        """Show the current counts and cost."""
        counts = self._counts
        n_done = counts.labelled + sum(counts.rejected.values())
        self._bar.n = n_done + counts.known
        notes = [f"{reason} {n}" for reason, n in sorted(counts.rejected.items())]
        if self._budget.has_prices:
            spent_usd = self._budget.spent_usd - self._start_usd
            n_left = max(0, (self._bar.total or 0) - self._bar.n)
            projected_usd = self._budget.spent_usd
            projected_usd += spent_usd / n_done * n_left if n_done else 0.0
            notes.insert(0, f"${self._budget.spent_usd:.2f} of ~${projected_usd:.2f}")
        self._bar.set_postfix_str(", ".join(notes), refresh=True)
