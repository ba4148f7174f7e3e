"""Answers from other tools: checked against rubric and drawn posts, then added to the store.

Tools know their annotators by name, e-mail address or number. None of that is stored: an annotator
becomes `rater-N`, recognised at the next import by answers that are in the store already.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

from postbias.errors import InputError
from postbias.people.exchange.tool_tasks import ALTERNATIVES, tasks_by_key
from postbias.people.rating_records import Outcome, Rating, RatingTask
from postbias.people.rating_store import RatingStore
from postbias.teacher.rubric import Rubric

_MAX_BYTES = 512 * 2**20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # as on the rating page
_MAX_SEEN = 40


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """One answer in a tool's file; values are as found there.

    Attributes:
        place: Where it is, without anything about the annotator.
        annotator: How the tool identifies who answered; never stored.
        key: Key of the task.
        scores: By axis.
        alternative: A key of `ALTERNATIVES`; empty if scores were given.
        seconds: Time spent; 0 if unknown.
        rated_at: Time of the answer, ISO 8601; empty if unknown.
        identity: What distinguishes this answer from all others in the tool.
    """

    place: str
    annotator: str
    key: object
    scores: Mapping[str, object]
    alternative: object = ""
    seconds: float = 0.0
    rated_at: str = ""
    identity: str = ""


@dataclass(slots=True)
class ToolAnswers:
    """What a tool's files contain.

    Attributes:
        tool: Name of the tool.
        answers: The answers.
        faults: What cannot be used, as `PLACE: fault`.
    """

    tool: str
    answers: list[ToolAnswer] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AnswersSummary:
    """Outcome of an import.

    Attributes:
        added: Number of answers added.
        known: Number of answers to tasks that the rater had answered before.
        raters: Pseudonyms of the raters in the files.
        faults: What could not be used, as `PLACE: fault`.
    """

    added: int
    known: int
    raters: tuple[str, ...]
    faults: tuple[str, ...]


def read_bytes(path: Path) -> bytes:
    """Read a tool's file.

    Raises:
        InputError: If it cannot be read or is too large.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(
                f"{path} is too large", seen=path.stat().st_size, allowed=f"{_MAX_BYTES} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", do="name a file") from error


def load_json(path: Path) -> object:
    """Read a JSON file.

    Raises:
        InputError: If it cannot be read, or is not JSON.
    """
    try:
        content: object = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    return content


def show(value: object) -> str:
    """Return a value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= _MAX_SEEN else f"{text[:_MAX_SEEN]}..."


def parse_time(value: object) -> str:
    """Return an ISO 8601 time in UTC; empty if the value is none."""
    if not isinstance(value, str):
        return ""
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return ""
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    try:
        return time.astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError:
        return ""


def parse_seconds(value: object) -> float:
    """Return a time in seconds; 0 if the value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return round(float(value), 2) if 0 <= value < math.inf else 0.0


def store_answers(
    store: RatingStore, found: ToolAnswers, rubric: Rubric, max_raters: int, rater: str | None
) -> AnswersSummary:
    """Add a tool's answers to the store; nothing in the store is changed.

    Args:
        store: The store, with the drawn posts.
        found: The tool's answers.
        rubric: Axes and scales.
        max_raters: Number of raters (`rating.raters`).
        rater: Pseudonym of the only annotator; None for `rater-N`.

    Returns:
        What was added and what not. An answer to a task that its rater has answered is not added.

    Raises:
        InputError: If there are no drawn posts, the pseudonym is not valid, or it is given for
            several annotators.
        StorageError: If the store cannot be used.
    """
    tasks = tasks_by_key(store.items())
    if not tasks:
        raise InputError(
            "no posts were drawn, so no answer can be assigned to one",
            do="write the tasks with `postbias ratings tasks` first",
        )
    faults = list(found.faults)
    ratings: dict[str, list[tuple[str, Rating]]] = {}
    for answer in found.answers:
        try:
            rating = _to_rating(answer, found.tool, tasks, rubric)
        except ValueError as error:
            faults.append(f"{answer.place}: {error}")
            continue
        ratings.setdefault(answer.annotator, []).append((answer.place, rating))
    if rater is not None:
        _check_name(rater, ratings)
    used: list[str] = []
    added = known = 0
    for placed in ratings.values():
        name = rater or _recognise(store, [rating for _, rating in placed], used)
        try:
            store.add_rater(name, max_raters)
        except InputError as error:
            faults.extend(f"{place}: {error}" for place, _ in placed)
            continue
        used.append(name)
        nonces = {rating.nonce for rating in store.history()}
        answered = {rating.task for rating in store.ratings(name)}
        seen: set[RatingTask] = set()
        for place, rating in placed:
            if rating.task in seen:
                faults.append(f"{place}: a second answer to the same post and occasion")
                continue
            seen.add(rating.task)
            if rating.task in answered or rating.nonce in nonces:
                known += 1
                continue
            store.add(_renamed(rating, name))
            added += 1
    return AnswersSummary(added, known, tuple(used), tuple(faults))


def _check_name(name: str, ratings: Mapping[str, object]) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            "not a pseudonym", seen=name, allowed="1 to 32 letters, digits, hyphens or underscores"
        )
    if len(ratings) > 1:
        raise InputError(
            "a pseudonym was given, but the file has answers of several annotators",
            seen=len(ratings),
            do="leave --rater out; annotators are then called rater-1, rater-2 and so on",
        )


def _recognise(store: RatingStore, ratings: Sequence[Rating], used: Sequence[str]) -> str:
    """Return the pseudonym of whoever gave one of these answers before, else a new one."""
    nonces = {rating.nonce for rating in ratings}
    for known in store.history():
        if known.nonce in nonces:
            return known.rater
    taken = {*store.raters(), *used}
    return next(name for n in count(1) if (name := f"rater-{n}") not in taken)


def _renamed(rating: Rating, name: str) -> Rating:
    return Rating(
        rating.nonce, name, rating.task, rating.outcome, rating.scores, rating.note,
        rating.seconds, rating.rubric, rating.rated_at,
    )  # fmt: skip


def _to_rating(
    answer: ToolAnswer, tool: str, tasks: Mapping[str, RatingTask], rubric: Rubric
) -> Rating:
    """Check an answer; its rater is still empty.

    Raises:
        ValueError: If it cannot be used.
    """
    task = tasks.get(answer.key) if isinstance(answer.key, str) else None
    if task is None:
        raise ValueError(f"no post that was drawn for rating has the key {show(answer.key)}")
    given = {name: score for name, score in answer.scores.items() if score not in (None, "")}
    outcome, note, scores = Outcome.RATED, "", {}
    if answer.alternative not in (None, ""):
        if not isinstance(answer.alternative, str) or answer.alternative not in ALTERNATIVES:
            allowed = ", ".join(ALTERNATIVES)
            raise ValueError(f"{show(answer.alternative)} in place of scores; allowed: {allowed}")
        if given:
            raise ValueError(f"scores are given, and also {answer.alternative!r}")
        outcome, note = ALTERNATIVES[answer.alternative]
    else:
        scores = _parse_scores(given, rubric)
    identity = "\0".join((tool, answer.identity, str(answer.key))).encode()
    return Rating(
        nonce=blake2b(identity, digest_size=16, person=b"imported rating").hexdigest(),
        rater="",
        task=task,
        outcome=outcome,
        scores=scores,
        note=note,
        seconds=answer.seconds,
        rubric=rubric.ref,
        rated_at=answer.rated_at,
    )


def _parse_scores(given: Mapping[str, Any], rubric: Rubric) -> dict[str, float]:
    scores = {}
    for axis in rubric.axes:
        if axis.name not in given:
            raise ValueError(f"no score of {axis.name}")
        value = given[axis.name]
        try:
            score = math.nan if isinstance(value, bool) else round(float(value), 6)
        except (TypeError, ValueError, OverflowError):
            score = math.nan
        if score not in axis.points:
            raise ValueError(
                f"{axis.name} is {show(value)}; "
                f"allowed: {axis.low:g} to {axis.high:g} in steps of {axis.step:g}"
            )
        scores[axis.name] = score
    if unknown := sorted(given.keys() - set(rubric.axis_names)):
        raise ValueError(f"score of an unknown axis: {show(unknown[0])}")
    return scores
