"""Group posts by sponsorship, publication time and language of the caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.posts.caption_chunks import Captions, iterate_chunks
from postbias.posts.languages import UNKNOWN, identify_languages
from postbias.stats.strata import Bools

#: With more months than this, a time chart is unreadable: group by quarter, then by year.
MAX_PERIODS = 36
#: Languages with a group of their own; all others share one.
MAX_LANGUAGES = 8

NOT_KNOWN, OTHER, NO_CAPTION = "not known", "other or unclear", "no caption"


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of posts and the pairs to compare.

    Attributes:
        members: Mask of posts by kind (`sponsored`, `time`, `half`, `language`) and name. (N,)
        pairs: Kind and names of two groups: the difference is the first minus the second.
    """

    members: Mapping[str, Mapping[str, Bools]]
    pairs: tuple[tuple[str, str, str], ...]


def group_posts(table: pa.Table, captions: Captions, min_posts: int) -> Groups:
    """Group posts by sponsorship, time and language.

    Args:
        table: Columns `sponsored` and `posted_at`. (N,)
        captions: Captions. (N,)
        min_posts: Languages with fewer posts are merged into `other or unclear`.

    Returns:
        Groups that have posts; a kind with fewer than two groups is left out.
    """
    kinds = {
        "sponsored": group_by_sponsorship(table["sponsored"]),
        "time": group_by_period(table["posted_at"]),
        "half": group_by_half(table["posted_at"]),
        "language": group_by_language(captions, min_posts),
    }
    members = {kind: groups for kind, groups in kinds.items() if len(groups) > 1}
    pairs = [("sponsored", "sponsored", "organic"), ("half", "later half", "earlier half")]
    first, *others = [
        name for name in members.get("language", {"": None}) if name not in {OTHER, NO_CAPTION}
    ] or [""]
    pairs += [("language", other, first) for other in others]
    present = [p for p in pairs if p[0] in members and {p[1], p[2]} <= members[p[0]].keys()]
    return Groups(members, tuple(present))


def group_by_sponsorship(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by whether the post is sponsored.

    Args:
        column: True, false or null. (N,)

    Returns:
        `sponsored`, `organic` and `not known`; groups without posts are left out.
    """
    is_known = np.asarray(column.is_valid())
    is_sponsored = np.asarray(column.fill_null(False))
    groups = {
        "sponsored": is_sponsored,
        "organic": is_known & ~is_sponsored,
        NOT_KNOWN: ~is_known,
    }
    return {name: rows for name, rows in groups.items() if rows.any()}


def group_by_period(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by month, or by quarter or year if there are more than `MAX_PERIODS` periods.

    Args:
        column: Publication time, or null. (N,)

    Returns:
        `2024-03`, `2024 Q1` or `2024`, in ascending order.
    """
    times = _as_times(column)
    is_known = ~np.isnat(times)
    months = times.astype("datetime64[M]").astype(np.int64)
    periods = {size: np.floor_divide(months, size) for size in _PERIOD_NAMES}
    found = {size: np.unique(period[is_known]).tolist() for size, period in periods.items()}
    size = next((size for size in found if len(found[size]) <= MAX_PERIODS), max(found))
    name = _PERIOD_NAMES[size]
    return {name(number): is_known & (periods[size] == number) for number in found[size]}


def group_by_half(column: pa.ChunkedArray) -> dict[str, Bools]:
    """Group by the earlier and the later half of the period that the posts cover.

    Args:
        column: Publication time, or null. (N,)

    Returns:
        `earlier half` and `later half`; empty with fewer than two distinct times.
    """
    times = _as_times(column)
    is_known = ~np.isnat(times)
    known = times[is_known]
    if not len(known) or known.min() == known.max():
        return {}
    middle = known.min() + (known.max() - known.min()) // 2
    return {"earlier half": is_known & (times <= middle), "later half": is_known & (times > middle)}


def group_by_language(captions: Captions, min_posts: int) -> dict[str, Bools]:
    """Group by the detected language of the caption.

    Args:
        captions: Captions. (N,)
        min_posts: Languages with fewer posts are merged into `other or unclear`.

    Returns:
        ISO 639-1 codes by decreasing number of posts, then `other or unclear` and `no caption`;
        groups without posts are left out.
    """
    codes = np.empty(len(captions), dtype=object)
    start = 0
    for chunk in iterate_chunks(captions):
        end = start + len(chunk)
        codes[start:end] = identify_languages(chunk)
        codes[start:end][[not caption.strip() for caption in chunk]] = NO_CAPTION
        start = end
    counts = Counter(code for code in codes.tolist() if code not in {UNKNOWN, NO_CAPTION})
    ranked = sorted(counts, key=lambda code: (-counts[code], code))[:MAX_LANGUAGES]
    kept = [code for code in ranked if counts[code] >= min_posts]
    codes[~np.isin(codes, [*kept, NO_CAPTION])] = OTHER
    groups = {name: codes == name for name in (*kept, OTHER, NO_CAPTION)}
    return {name: rows for name, rows in groups.items() if rows.any()}


def _name_month(number: int) -> str:
    return str(np.datetime64(number, "M"))


def _name_quarter(number: int) -> str:
    return f"{_name_year(number // 4)} Q{number % 4 + 1}"


def _name_year(number: int) -> str:
    return str(np.datetime64(number, "Y"))


# By number of months in a period: the name of a period by its number since 1970.
_PERIOD_NAMES = {1: _name_month, 3: _name_quarter, 12: _name_year}


def _as_times(column: pa.ChunkedArray) -> npt.NDArray[np.datetime64]:
    return np.asarray(column.cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]")
