"""Into which groups posts fall by what is known of all of them: sponsoring, time, language.

Gives masks and nothing else. A group is what a post is, never who its author is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.posts.languages import UNKNOWN, identify_languages
from postbias.stats.ppi import Bools

#: Beyond so many columns a chart of time is unreadable: then quarters, then years.
MAX_PERIODS = 36
#: Languages that are shown by themselves; the others share one group.
MAX_LANGUAGES = 8

NOT_KNOWN, OTHER, NO_CAPTION = "not known", "other or unclear", "no caption"


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of posts.

    Attributes:
        members: By kind (`sponsored`, `time`, `language`) and name, which posts belong. (N,)
        pairs: Kind and names of two groups to compare: the first minus the second.
    """

    members: Mapping[str, Mapping[str, Bools]]
    pairs: tuple[tuple[str, str, str], ...]


def group_posts(table: pa.Table, min_posts: int) -> Groups:
    """Group posts by sponsoring, time and language.

    Args:
        table: Columns `sponsored`, `posted_at` and `caption`. (N,)
        min_posts: Languages with fewer posts go to `other`.

    Returns:
        The groups that have posts; a kind of which nothing is known is left out.
    """
    kinds = {
        "sponsored": group_by_sponsorship(table["sponsored"]),
        "time": group_by_period(table["posted_at"]),
        "half": group_by_half(table["posted_at"]),
        "language": group_by_language(table["caption"].to_pylist(), min_posts),
    }
    members = {kind: named for kind, named in kinds.items() if len(named) > 1}
    pairs = [("sponsored", "sponsored", "organic"), ("half", "later half", "earlier half")]
    first, *others = [
        name for name in members.get("language", {"": None}) if name not in {OTHER, NO_CAPTION}
    ] or [""]
    pairs += [("language", other, first) for other in others]
    known = [p for p in pairs if p[0] in members and {p[1], p[2]} <= members[p[0]].keys()]
    return Groups(members, tuple(known))


def group_by_sponsorship(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by whether somebody paid for the post.

    Args:
        column: True, false or null. (N,)

    Returns:
        `sponsored`, `organic` and `not known`, those that have posts.
    """
    values = np.asarray(column.to_pylist(), dtype=object)
    named = {"sponsored": values == True, "organic": values == False}  # noqa: E712 - null is neither
    named[NOT_KNOWN] = values == None  # noqa: E711 - element by element
    return {name: rows for name, rows in named.items() if rows.any()}


def group_by_period(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by month; by quarter or year where there would be too many months.

    Args:
        column: When each post was published, or null. (N,)

    Returns:
        `2024-03`, `2024 Q1` or `2024` by ascending time.
    """
    times = _times(column)
    months = times.astype("datetime64[M]")
    known = ~np.isnat(times)
    year = months.astype("datetime64[Y]")
    quarter = (months - year).astype(np.int64) // 3 + 1
    forms = (
        months.astype(str),
        np.char.add(np.char.add(year.astype(str), " Q"), quarter.astype(str)),
        year.astype(str),
    )
    for names in forms:
        periods = np.unique(names[known])
        if len(periods) <= MAX_PERIODS:
            break
    return {str(period): known & (names == period) for period in periods}


def group_by_half(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by the earlier and later half of the time that the posts span.

    Args:
        column: When each post was published, or null. (N,)

    Returns:
        `earlier half` and `later half`; empty where no two times differ.
    """
    times = _times(column)
    known = times[~np.isnat(times)]
    if not len(known) or known.min() == known.max():
        return {}
    middle = known.min() + (known.max() - known.min()) // 2
    is_known = ~np.isnat(times)
    return {"earlier half": is_known & (times <= middle), "later half": is_known & (times > middle)}


def group_by_language(captions: Sequence[str], min_posts: int) -> dict[str, Bools]:
    """Group by the language that is detected in the caption.

    Args:
        captions: Captions. (N,)
        min_posts: Languages with fewer posts go to `other or unclear`.

    Returns:
        The languages by descending number of posts as ISO 639-1 codes, then `other or unclear`
        and `no caption`, those that have posts.
    """
    found = np.asarray(identify_languages(captions), dtype=object)
    found[[not caption.strip() for caption in captions]] = NO_CAPTION
    counts = Counter(code for code in found.tolist() if code not in {UNKNOWN, NO_CAPTION})
    ranked = sorted(counts, key=lambda code: (-counts[code], code))[:MAX_LANGUAGES]
    kept = [code for code in ranked if counts[code] >= min_posts]
    found[~np.isin(found, [*kept, NO_CAPTION])] = OTHER
    named = {name: found == name for name in (*kept, OTHER, NO_CAPTION)}
    return {name: rows for name, rows in named.items() if rows.any()}


def _times(column: pa.ChunkedArray) -> npt.NDArray[np.datetime64]:
    return np.asarray(column.cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]")
