"""How far each rater has come, and whether the posts were drawn with the present params."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from postbias.params import RatingParams
from postbias.people.rating_records import Outcome
from postbias.people.rating_store import RatingStore
from postbias.people.rating_tasks import list_tasks

_WORDS: Mapping[Outcome, str] = {
    Outcome.RATED: "rated",
    Outcome.CANNOT_TELL: "cannot tell",
    Outcome.SKIPPED: "skipped",
}


def describe_draw(root: Path, rating: RatingParams) -> dict[str, str]:
    """Return the params that a draw depends on, as text that is equal if they are.

    Args:
        root: Folder that `rating.include` is relative to.
        rating: `n`, `overlap` and `include` are used.

    Returns:
        Values by key; a file is described by its name and a digest of its content.
    """
    include = "null"
    if rating.include is not None:
        path = root / rating.include
        data = path.read_bytes() if path.is_file() else b""
        include = f"{rating.include}@{sha256(data).hexdigest()[:12]}"
    return {
        "rating.n": str(rating.n),
        "rating.overlap": f"{rating.overlap:g}",
        "rating.include": include,
    }


def describe_changed_draw(store: RatingStore, root: Path, rating: RatingParams) -> str | None:
    """Say that posts were drawn with other params.

    Args:
        store: The rating store.
        root: Folder that `rating.include` is relative to.
        rating: The group of params.yaml.

    Returns:
        One line; None if the params are the same, if nothing was drawn, or if the store does not
        say with which params.
    """
    drawn, now = store.draw(), describe_draw(root, rating)
    changed = [name for name in now if name in drawn and drawn[name] != now[name]]
    n_posts = len(store.items())
    if not changed or not n_posts:
        return None
    parts = ", ".join(f"{name} is {now[name]}, was {drawn[name]}" for name in changed)
    return (
        f"the earlier draw ({n_posts} posts) is used, although params.yaml has changed ({parts}); "
        "to draw anew, export the answers (`postbias ratings export`) and move "
        "store/ratings.sqlite away"
    )


def describe_raters(store: RatingStore, rating: RatingParams) -> list[str]:
    """Describe how far each rater has come.

    Args:
        store: The rating store.
        rating: `raters` and `repeat_share` are used.

    Returns:
        Lines: the posts and raters, then one line per rater.
    """
    items, names = store.items(), store.raters()
    if not items:
        return ["no posts have been drawn yet: `postbias rate` draws them"]
    answers = store.ratings()
    lines = [f"{len(items)} posts to rate, {len(names)} of {rating.raters} raters have begun"]
    for slot, name in enumerate(names):
        tasks = set(list_tasks(items, name, slot, rating.repeat_share))
        n_again = sum(task.occasion == 2 for task in tasks)
        own = [answer for answer in answers if answer.rater == name]
        counts = Counter(answer.outcome for answer in own)
        n_done = sum(answer.task in tasks for answer in own)
        parts = ", ".join(f"{counts[outcome]} {word}" for outcome, word in _WORDS.items())
        # Other tools repeat other posts if all raters share one set of files.
        n_others = len(own) - n_done
        more = f", of which {n_others} beyond these tasks" if n_others else ""
        lines.append(
            f"  {name}: {n_done} of {len(tasks)} tasks answered ({len(tasks) - n_again} posts and "
            f"{n_again} repeat{'s' * (n_again != 1)}): {parts}{more}"
        )
    return lines
