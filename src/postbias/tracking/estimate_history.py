"""Compare the estimates of the report with those of an earlier revision.

A stage cannot read its own previous output. DVC keeps the outputs of every committed `dvc.lock`, so
the earlier estimates are read from there: the comparison depends on two revisions and on nothing
else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.errors import InputError, TrackingError

if TYPE_CHECKING:
    from postbias.paths import Paths

_FILE = "reports/population.json"


@dataclass(frozen=True, slots=True)
class EstimateChange:
    """An estimate for all posts, before and now.

    Attributes:
        name: The estimated quantity, such as `bias` or `share_high`.
        before: `value`, `lo` and `hi` at the earlier revision; None if it has no such estimate.
        now: The same in the working tree.
    """

    name: str
    before: dict[str, float | None] | None
    now: dict[str, float | None] | None

    @property
    def difference(self) -> float | None:
        """The value now minus the value before, if both are known."""
        if self.now is None or self.before is None:
            return None
        now, before = self.now["value"], self.before["value"]
        return None if now is None or before is None else now - before


@dataclass(frozen=True, slots=True)
class EstimateHistory:
    """Changes of the estimates since a revision.

    Attributes:
        revision: The earlier revision.
        changes: The estimates, in alphabetical order.
        counts: Numbers of posts, scored posts and labels, and of posts of later imports, which no
            estimate covers, each before and now.
        later: Changes of the plug-in numbers of posts of later imports; without intervals.
    """

    revision: str
    changes: tuple[EstimateChange, ...]
    counts: dict[str, tuple[int | None, int | None]]
    later: tuple[EstimateChange, ...] = ()


def compare_estimates(paths: Paths, revision: str) -> EstimateHistory:
    """Compare the estimates of the working tree with those of a revision.

    Args:
        paths: The repository, after the report stage.
        revision: A commit, branch or tag whose `dvc.lock` was committed.

    Raises:
        InputError: If there is no report yet.
        TrackingError: If the revision is unknown, or DVC does not have its report any more.
    """
    path = paths.reports / "population.json"
    if not path.is_file():
        raise InputError("there is no report yet", seen=str(path), do="run `dvc repro`")
    now = json.loads(path.read_text(encoding="utf-8"))
    before = _read_revision(paths, revision)
    sides = (before, now)
    later = [side.get("later_imports", {}) for side in sides]
    counts = {
        name: (before["n"].get(name), now["n"].get(name)) for name in ("posts", "scored", "labels")
    }
    if any(later):
        counts["later posts"] = (later[0].get("posts", 0), later[1].get("posts", 0))
    return EstimateHistory(
        revision,
        _compare(
            *({k: v for k, v in side["all"].items() if isinstance(v, dict)} for side in sides)
        ),
        counts,
        _compare(*map(_without_intervals, later)),
    )


def _compare(before: dict[str, Any], now: dict[str, Any]) -> tuple[EstimateChange, ...]:
    names = sorted({*before, *now})
    return tuple(EstimateChange(name, before.get(name), now.get(name)) for name in names)


def _without_intervals(later: dict[str, Any]) -> dict[str, Any]:
    means = later.get("uncorrected", {})
    return {name: {"value": mean, "lo": None, "hi": None} for name, mean in means.items()}


def _read_revision(paths: Paths, revision: str) -> dict[str, Any]:
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        content: dict[str, Any] = json.loads(
            dvc.api.read(_FILE, repo=str(paths.root), rev=revision, encoding="utf-8")
        )
    except (DvcException, SCMError, OSError, ValueError) as error:
        raise TrackingError(
            f"the report of revision {revision!r} cannot be read"
            f" ({' '.join(str(error).split())[:150]})",
            do="name a commit that contains dvc.lock, and run `dvc fetch --all-commits` if its"
            " outputs are in a remote only",
        ) from error
    return content
