"""Records of the rating store: the posts to rate, and the answers of raters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a rater did with a post."""

    RATED = "rated"
    CANNOT_TELL = "cannot_tell"
    SKIPPED = "skipped"
    WITHDRAWN = "withdrawn"


class SkipReason(StrEnum):
    """Why a rater skipped a post."""

    LANGUAGE = "language"
    NOT_SHOWN = "not_shown"
    DISTRESSING = "distressing"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RatingItem:
    """A post to rate.

    Attributes:
        post_id: The post.
        stratum: Band of its score when it was drawn; `all` if there were no scores, and `included`
            for a post that was named rather than drawn.
        stratum_posts: Posts in its stratum of the sampling frame.
        probability: Inclusion probability with respect to the corpus: that of the sample of
            labelled posts times that of the rating sample.
        slot: Number of the only rater who gets it, from 0; None if every rater does.
    """

    post_id: str
    stratum: str
    stratum_posts: int
    probability: float
    slot: int | None


@dataclass(frozen=True, slots=True)
class RatingTask:
    """A post to show to a rater.

    Attributes:
        post_id: The post.
        occasion: 1, or 2 if the rater has rated it before.
    """

    post_id: str
    occasion: int


@dataclass(frozen=True, slots=True)
class Rating:
    """A rater's answer.

    Attributes:
        nonce: Random identifier from the rater's page; an answer that is sent twice is stored once.
        rater: Pseudonym.
        task: The post and the occasion.
        outcome: What the rater did.
        scores: By axis; empty unless `outcome` is `rated`.
        note: A `SkipReason`, or empty.
        seconds: Time for which the post was visible.
        rubric: Reference of the rubric, `name@digest`.
        rated_at: Time of the answer, ISO 8601 in UTC.
    """

    nonce: str
    rater: str
    task: RatingTask
    outcome: Outcome
    scores: Mapping[str, float]
    note: str
    seconds: float
    rubric: str
    rated_at: str
