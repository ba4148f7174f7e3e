"""Rating in progress: which post a rater gets next, and what happens to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from postbias.errors import InputError
from postbias.params import RatingParams
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask, SkipReason
from postbias.people.rating_store import RatingStore
from postbias.people.rating_tasks import list_tasks
from postbias.teacher.rubric import Rubric


@dataclass(frozen=True, slots=True)
class RaterProgress:
    """Where a rater stands.

    Attributes:
        done: Number of answers.
        total: Number of tasks.
        task: What to rate next; None at the end.
        withdrawn: The rater's last answer to `task`, if it was withdrawn.
    """

    done: int
    total: int
    task: RatingTask | None
    withdrawn: Rating | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as a page sends it.

    Attributes:
        nonce: Random identifier of the answer.
        rater: Pseudonym.
        task: The post and the occasion.
        outcome: What the rater did.
        scores: By axis; empty unless `outcome` is `rated`.
        note: A `SkipReason` if the post was skipped, else empty.
        seconds: Time for which the post was visible.
    """

    nonce: str
    rater: str
    task: RatingTask
    outcome: Outcome
    scores: Mapping[str, float]
    note: str
    seconds: float


class RatingSession:
    """The posts to rate and the store of answers, for any number of raters and threads."""

    def __init__(
        self, store: Path, items: Sequence[RatingItem], rubric: Rubric, params: RatingParams
    ) -> None:
        """Open no file; each call opens the store by itself.

        Args:
            store: File of the rating store.
            items: The posts to rate.
            rubric: Axes and scales of the ratings.
            params: Number of raters, and share of repeated posts.
        """
        self.items = tuple(items)
        self.rubric = rubric
        self._store = store
        self._params = params

    def progress(self, rater: str) -> RaterProgress:
        """Register a rater if necessary, and find what to rate next.

        Raises:
            RaterLimitError: If all places for raters are taken, and this is none of the raters.
            StorageError: If the store cannot be used.
        """
        with RatingStore.open(self._store) as store:
            return self._progress(store, rater)

    def record(self, answer: Answer) -> RaterProgress:
        """Store an answer.

        Returns:
            The rater's progress, including this answer.

        Raises:
            InputError: If the answer is not one to a task of this rater, or incomplete.
            StorageError: If it cannot be stored.
        """
        self._check(answer)
        with RatingStore.open(self._store) as store:
            tasks = self._tasks(store, answer.rater)
            if answer.task not in tasks:
                raise InputError("this post is not among those of the rater", seen=answer.rater)
            store.add(self._rating(answer))
            return self._progress(store, answer.rater)

    def withdraw_last(self, rater: str, nonce: str) -> RaterProgress:
        """Withdraw a rater's last answer, so that its post comes next; without answers, do nothing.

        Args:
            rater: Pseudonym.
            nonce: Random identifier; a request that is sent twice withdraws one answer.

        Returns:
            The rater's progress.

        Raises:
            RaterLimitError: If all places for raters are taken, and this is none of the raters.
            StorageError: If the store cannot be used.
        """
        with RatingStore.open(self._store) as store:
            ratings = store.ratings(rater)
            if ratings and all(known.nonce != nonce for known in store.history()):
                task = ratings[-1].task
                store.add(self._rating(Answer(nonce, rater, task, Outcome.WITHDRAWN, {}, "", 0.0)))
            return self._progress(store, rater)

    def _progress(self, store: RatingStore, rater: str) -> RaterProgress:
        tasks = self._tasks(store, rater)
        done = {rating.task for rating in store.ratings(rater)}
        task = next((task for task in tasks if task not in done), None)
        withdrawn = None if task is None else store.withdrawn(rater, task)
        return RaterProgress(len(done.intersection(tasks)), len(tasks), task, withdrawn)

    def _tasks(self, store: RatingStore, rater: str) -> list[RatingTask]:
        slot = store.add_rater(rater, self._params.raters)
        return list_tasks(self.items, rater, slot, self._params.repeat_share)

    def _rating(self, answer: Answer) -> Rating:
        return Rating(
            nonce=answer.nonce,
            rater=answer.rater,
            task=answer.task,
            outcome=answer.outcome,
            scores=answer.scores,
            note=answer.note,
            seconds=round(answer.seconds, 2),
            rubric=self.rubric.ref,
            rated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _check(self, answer: Answer) -> None:
        if answer.outcome is Outcome.WITHDRAWN:
            raise InputError("an answer cannot be withdrawn like this")
        if answer.outcome is not Outcome.RATED:
            if answer.scores:
                raise InputError("scores are given, but the post was not rated")
            if answer.outcome is Outcome.SKIPPED and answer.note not in set(SkipReason):
                raise InputError(
                    "skipped without a reason", seen=answer.note, allowed=", ".join(SkipReason)
                )
            return
        for axis in self.rubric.axes:
            score = answer.scores.get(axis.name)
            if score not in axis.points:
                raise InputError(
                    f"no valid score of {axis.name}",
                    seen=score,
                    allowed=f"{axis.low:g} to {axis.high:g} in steps of {axis.step:g}",
                )
        if unknown := sorted(answer.scores.keys() - set(self.rubric.axis_names)):
            raise InputError("score of an unknown axis", seen=unknown[0])
