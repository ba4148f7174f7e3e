"""The posts that a rater gets, in an order of the rater's own, with hidden repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from postbias.people.rating_records import RatingItem, RatingTask

#: Minimum number of other posts between both presentations of a post, if there are enough posts.
MIN_GAP = 20


def list_tasks(
    items: Sequence[RatingItem], rater: str, slot: int, repeat_share: float
) -> list[RatingTask]:
    """List what a rater gets to see.

    The order depends on the rater's name only, so that it is the same after a restart. Repeated
    posts are chosen at random among those that leave room for the gap.

    Args:
        items: All posts to rate.
        rater: Pseudonym.
        slot: The rater's slot.
        repeat_share: Share of the rater's posts that are shown twice.

    Returns:
        The tasks in order.
    """
    own = [item.post_id for item in items if item.slot in (None, slot)]
    own.sort(key=lambda post_id: _uniform(rater, "order", post_id))
    gap = min(MIN_GAP, len(own) // 2)
    room = len(own) - gap
    positions = sorted(range(room), key=lambda i: _uniform(rater, "repeat", own[i]))
    placed = [(float(i), RatingTask(post_id, 1)) for i, post_id in enumerate(own)]
    for i in positions[: round(repeat_share * len(own))]:
        # After `gap` more posts at the earliest, and uniformly until the end.
        later = i + gap + 0.5 + _uniform(rater, "gap", own[i]) * (room - i - 1)
        placed.append((later, RatingTask(own[i], 2)))
    return [task for _, task in sorted(placed, key=lambda entry: entry[0])]


def _uniform(*parts: str) -> float:
    digest = blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
