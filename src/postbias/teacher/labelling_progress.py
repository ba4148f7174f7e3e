"""The progress line of a run: posts/s, cost so far and at the end, ETA, rejects by reason."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tqdm import tqdm

from postbias.teacher.budget import Budget
from postbias.teacher.scheduler import Tally


class Progress:
    """A tqdm bar on stderr; silent where stderr is no terminal."""

    def __init__(self, total: int, tally: Tally, budget: Budget) -> None:
        """Start the line.

        Args:
            total: Questions in all, answered before or not.
            tally: Counts as they grow.
            budget: Spending as it grows.
        """
        self._tally, self._budget = tally, budget
        self._before_usd = budget.spent_usd
        self._bar = tqdm(total=total, unit="post", desc="annotate", disable=None, smoothing=0.05)

    def __enter__(self) -> Self:
        """Show the line."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the line as it is."""
        self.update()
        self._bar.close()

    def extend(self, n: int) -> None:
        """Expect more questions.

        Args:
            n: How many.
        """
        self._bar.total = (self._bar.total or 0) + n

    def update(self) -> None:
        """Show the counts of now."""
        tally = self._tally
        done = tally.labelled + sum(tally.rejected.values())
        self._bar.n = done + tally.known
        notes = [f"{reason} {n}" for reason, n in sorted(tally.rejected.items())]
        if self._budget.has_prices:
            spent_usd = self._budget.spent_usd - self._before_usd
            left = max(0, (self._bar.total or 0) - self._bar.n)
            at_end_usd = self._budget.spent_usd + (spent_usd / done * left if done else 0.0)
            notes.insert(0, f"${self._budget.spent_usd:.2f} of ~${at_end_usd:.2f}")
        self._bar.set_postfix_str(", ".join(notes), refresh=True)
