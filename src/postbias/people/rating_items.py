"""The posts to rate: drawn at first use, then kept in the rating store."""

from __future__ import annotations

from collections.abc import Callable

from postbias.errors import InputError
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.rating_overview import describe_changed_draw, describe_draw
from postbias.people.rating_records import RatingItem
from postbias.people.rating_sample import draw_rating_sample
from postbias.people.rating_store import RatingStore
from postbias.teacher.rubric import Rubric


def open_items(
    paths: Paths, params: Params, rubric: Rubric, announce: Callable[[str], None]
) -> tuple[RatingItem, ...]:
    """Read the posts to rate from the store; draw them if it has none.

    Args:
        announce: Called with one line if posts are drawn, or if they were drawn with other params.

    Raises:
        CorpusError: If there is no post to rate.
        InputError: If the store has ratings by another rubric.
        StorageError: If the store cannot be used.
    """
    with RatingStore.open(paths.ratings) as store:
        if other := {rating.rubric for rating in store.history()} - {rubric.ref}:
            raise InputError(
                f"{paths.ratings} has ratings by another rubric",
                seen=min(other),
                allowed=rubric.ref,
                do="export them (`postbias ratings export`), then move the store away",
            )
        if not store.items():
            drawn = draw_rating_sample(paths, params)
            store.add_items(drawn, describe_draw(paths.root, params.rating))
            announce(f"{len(store.items())} posts drawn for rating")
        elif change := describe_changed_draw(store, paths.root, params.rating):
            announce(change)
        return store.items()
