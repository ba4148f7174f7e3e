"""Ratings as a CSV file: one row per answer, with the inclusion probability of its post.

The file holds all that agreement and estimates need; it is what `rating.file` names, and what is
kept under version control.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from postbias.errors import InputError
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask
from postbias.posts.shards import atomic_write
from postbias.teacher.rubric import RubricAxis

_BEFORE = ("post_id", "rater", "occasion", "outcome")
_AFTER = (
    "note", "seconds", "rated_at", "stratum", "stratum_posts", "probability", "slot", "rubric",
)  # fmt: skip
_REQUIRED = ("post_id", "rater")


@dataclass(frozen=True, slots=True)
class RatedPost:
    """One answer with the sampling information of its post."""

    rating: Rating
    item: RatingItem


@dataclass(frozen=True, slots=True)
class RecordedRatings:
    """Ratings read from a file.

    Attributes:
        source: Name and digest of the file.
        rows: The valid answers, in the order of the file.
        faults: What is wrong with each other row, as `FILE:LINE: fault`.
    """

    source: str
    rows: tuple[RatedPost, ...]
    faults: tuple[str, ...]


def write_ratings(
    path: Path, ratings: Iterable[Rating], items: Sequence[RatingItem], axes: Sequence[RubricAxis]
) -> int:
    """Write answers to a CSV file.

    Args:
        path: The file.
        ratings: The answers.
        items: The posts to rate.
        axes: The rated axes.

    Returns:
        Number of rows.

    Raises:
        StorageError: If the file cannot be written.
    """
    by_id = {item.post_id: item for item in items}
    names = [axis.name for axis in axes]
    n = 0
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_BEFORE, *names, *_AFTER))
        for rating in ratings:
            item = by_id.get(rating.task.post_id)
            if item is None:
                continue
            task = rating.task
            scores = ["" if s is None else f"{s:g}" for s in map(rating.scores.get, names)]
            n += 1
            writer.writerow(
                (
                    task.post_id, rating.rater, task.occasion, rating.outcome, *scores,
                    rating.note, f"{rating.seconds:g}", rating.rated_at, item.stratum,
                    item.stratum_posts, repr(item.probability),
                    "" if item.slot is None else item.slot, rating.rubric,
                )
            )  # fmt: skip
    return n


def read_ratings(path: Path, axes: Sequence[RubricAxis]) -> RecordedRatings:
    """Read recorded ratings.

    Required columns are `post_id`, `rater` and one per axis. A file without sampling information
    (ratings made elsewhere) counts as a simple random sample of the labelled posts.

    Args:
        path: A CSV file as `write_ratings` writes it.
        axes: The rated axes, with their scales.

    Returns:
        The valid answers; a second answer to the same task and a row that is not valid are faults.

    Raises:
        InputError: If the file cannot be read, or a column is missing.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"ratings cannot be read: {error}",
            seen=str(path),
            do="set rating.file to a file that `postbias ratings export` wrote, or to null",
        ) from error
    reader = csv.DictReader(lines, strict=True)
    required = (*_REQUIRED, *(axis.name for axis in axes))
    if missing := [name for name in required if name not in (reader.fieldnames or ())]:
        raise InputError(
            f"{path} has no column {', '.join(missing)}", seen=", ".join(reader.fieldnames or ())
        )
    rows: list[RatedPost] = []
    faults: list[str] = []
    seen: set[tuple[str, RatingTask]] = set()
    for number, row in _numbered(reader, path, faults):
        try:
            parsed = _parse_row(row, axes, f"{path.name}:{number}")
        except ValueError as error:
            faults.append(f"{path.name}:{number}: {error}")
            continue
        key = parsed.rating.rater, parsed.rating.task
        if key in seen:
            faults.append(f"{path.name}:{number}: a second answer to the same post and occasion")
            continue
        seen.add(key)
        rows.append(parsed)
    digest = sha256(data).hexdigest()[:12]
    return RecordedRatings(f"{path.name}@{digest}", tuple(rows), tuple(faults))


def _numbered(
    reader: csv.DictReader[str], path: Path, faults: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.append(f"{path.name}:{reader.line_num}: {error}")
            continue
        yield reader.line_num, {k: v for k, v in row.items() if k and isinstance(v, str)}


def _parse_row(row: Mapping[str, str], axes: Sequence[RubricAxis], place: str) -> RatedPost:
    """Parse one row.

    Raises:
        ValueError: If a value is missing or not allowed.
    """
    post_id, rater = row.get("post_id", ""), row.get("rater", "").strip()
    if not post_id or not rater:
        raise ValueError("no post_id or no rater")
    outcome = Outcome(row.get("outcome") or Outcome.RATED)
    scores = {}
    if outcome is Outcome.RATED:
        for axis in axes:
            score = float(row.get(axis.name) or "nan")
            if not axis.low <= score <= axis.high:  # ratings from elsewhere may lie between points
                raise ValueError(
                    f"{axis.name} is {row.get(axis.name)!r}; allowed: {axis.low:g} to {axis.high:g}"
                )
            scores[axis.name] = score
    occasion = int(row.get("occasion") or 1)
    if occasion not in (1, 2):
        raise ValueError(f"occasion is {occasion}; allowed: 1 and 2")
    probability = float(row.get("probability") or "nan")
    if not (math.isnan(probability) or 0 < probability <= 1):
        raise ValueError(f"probability is {probability:g}; allowed: above 0, at most 1")
    rating = Rating(
        nonce=place,
        rater=rater,
        task=RatingTask(post_id, occasion),
        outcome=outcome,
        scores=scores,
        note=row.get("note", ""),
        seconds=float(row.get("seconds") or 0),
        rubric=row.get("rubric", ""),
        rated_at=row.get("rated_at", ""),
    )
    slot = int(row["slot"]) if row.get("slot") else None
    stratum_posts = int(row.get("stratum_posts") or 0)
    stratum = row.get("stratum") or "all"
    return RatedPost(rating, RatingItem(post_id, stratum, stratum_posts, probability, slot))
