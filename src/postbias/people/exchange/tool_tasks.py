"""The posts to rate as other tools get them: opaque keys, captions, and images as JPEG files.

A key stands for a post and an occasion. It is the only identifier in a tool's files, so that
neither post ids nor repetitions show, and an answer from another project has an unknown key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path

from postbias.errors import InputError
from postbias.params import RatingParams
from postbias.people.rating_posts import RatingPost, load_rating_posts
from postbias.people.rating_records import Outcome, RatingItem, RatingTask, SkipReason
from postbias.people.rating_tasks import list_tasks
from postbias.teacher.rubric import RubricAxis

#: Folder of the images, relative to the exported folder.
IMAGES = "images"

#: What a rater can choose in place of scores, and its outcome and note.
ALTERNATIVES: Mapping[str, tuple[Outcome, str]] = {
    "cannot tell": (Outcome.CANNOT_TELL, ""),
    **{
        f"skip: {reason.replace('_', ' ')}": (Outcome.SKIPPED, str(reason)) for reason in SkipReason
    },
}

#: Scales with more points are entered as numbers, not chosen from a list.
MAX_CHOICES = 21


@dataclass(frozen=True, slots=True)
class ToolTask:
    """A post to rate in another tool.

    Attributes:
        key: Stands for the post and the occasion.
        text: The caption, with a remark about missing parts.
        images: Its images, relative to the exported folder.
    """

    key: str
    text: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskList:
    """Tasks in the order in which they are rated.

    Attributes:
        rater: Pseudonym of the only rater; None if all raters get these posts.
        tasks: The tasks.
    """

    rater: str | None
    tasks: tuple[ToolTask, ...]

    @property
    def suffix(self) -> str:
        """What distinguishes the names of its files: `-NAME`, or nothing."""
        return f"-{self.rater}" if self.rater else ""


def task_key(task: RatingTask) -> str:
    """Return the key of a task.

    It starts with a letter, so that no spreadsheet takes it for a number or a formula.
    """
    content = f"{task.post_id}\0{task.occasion}".encode()
    return "t" + blake2b(content, digest_size=8, person=b"rating task").hexdigest()


def tasks_by_key(items: Sequence[RatingItem]) -> dict[str, RatingTask]:
    """Return the tasks of all posts to rate, both occasions, by their keys."""
    tasks = (RatingTask(item.post_id, occasion) for item in items for occasion in (1, 2))
    return {task_key(task): task for task in tasks}


def prepare_tasks(
    items: Sequence[RatingItem],
    raters: Sequence[str],
    params: RatingParams,
    folders: tuple[Path, Path],
    *,
    per_rater: bool,
) -> list[TaskList]:
    """Write the images, and list the tasks.

    Args:
        items: The posts to rate.
        raters: Pseudonyms of raters who have begun, in the order of their slots.
        params: Number of raters and share of repeated posts.
        folders: Posts, and the exported folder.
        per_rater: Whether each rater needs an order of their own; if some posts go to one rater
            only, there is a list per rater anyway.

    Returns:
        One list per rater, or one for all.

    Raises:
        CorpusError: If a post is missing.
        InputError: If the exported folder has files already.
        SchemaError: If a shard is damaged.
    """
    posts_folder, dest = folders
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise InputError(
            "the folder for the tasks is not empty", seen=str(dest), do="name a new folder"
        )
    (dest / IMAGES).mkdir(parents=True)
    posts = load_rating_posts(posts_folder, [item.post_id for item in items], dest / IMAGES)
    if not per_rater and all(item.slot is None for item in items):
        shared = list_tasks(items, "", 0, params.repeat_share)
        return [TaskList(None, tuple(_to_tool(task, posts) for task in shared))]
    # Raters who have not begun get the first names that are free.
    free = (name for n in count(1) if (name := f"rater-{n}") not in raters)
    names = [*raters, *islice(free, max(0, params.raters - len(raters)))]
    return [
        TaskList(
            name,
            tuple(
                _to_tool(task, posts) for task in list_tasks(items, name, slot, params.repeat_share)
            ),
        )
        for slot, name in enumerate(names)
    ]


def _to_tool(task: RatingTask, posts: Mapping[str, RatingPost]) -> ToolTask:
    post = posts[task.post_id]
    images = tuple(f"{IMAGES}/{file.name}" for file in post.images if file is not None)
    text = post.caption or "[no caption]"
    if missing := len(post.images) - len(images):
        text = f"{text}\n\n[{missing} of {len(post.images)} images cannot be shown]"
    return ToolTask(task_key(task), text, images)


def describe_axis(axis: RubricAxis) -> list[str]:
    """Return the question, the scale and the anchors with examples, a line each."""
    anchors = (describe_score(axis, anchor.score) for anchor in axis.anchors)
    scale = f"Scores: {axis.low:g} to {axis.high:g} in steps of {axis.step:g}."
    return [axis.question, scale, *anchors]


def describe_score(axis: RubricAxis, score: float) -> str:
    """Return a score, with its description and examples if it is an anchor."""
    anchors = (anchor for anchor in axis.anchors if anchor.score == score)
    anchor = next(anchors, None)
    if anchor is None:
        return f"{score:g}"
    return f"{score:g}: {anchor.meaning} For example: {' '.join(anchor.examples)}"
