"""Commands for the teacher: `annotate` and `replies`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

T = TypeVar("T", str | None, tuple[str, ...])


def _check_utf8(ctx: click.Context, param: click.Parameter, value: T) -> T:
    """Refuse text that no table can contain: click passes invalid bytes as lone surrogates."""
    for text in (value,) if isinstance(value, str) else value or ():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise click.BadParameter(f"{text!r} is not valid UTF-8", ctx, param) from error
    return value


@click.command("annotate")
@click.option(
    "--plan", "is_plan", is_flag=True, help="Send a few requests and estimate cost and time."
)
def annotate_command(*, is_plan: bool) -> None:
    """Label the sampled posts with the endpoint and store its replies, outside the pipeline.

    Needs build/sample/posts.parquet (`dvc repro sample`). A later `dvc repro` takes all replies
    from the store. Resumable: run again to continue.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.teacher.annotate import describe_labelling_plan, fill_reply_store

    paths = Paths.find()
    params = load_params(paths.params)
    click.echo((describe_labelling_plan if is_plan else fill_reply_store)(paths, params))


@click.command("next-posts")
@click.argument("n", metavar="N", type=click.IntRange(1))
def next_posts_command(*, n: int) -> None:
    """Draw the next N posts to label: those about which the champion is likely to be wrong.

    Needs sample.method: active and a finished `dvc repro`. Appends the posts, with their
    probabilities, to samples/rounds.csv; the next `dvc repro` labels them, trains again and updates
    all estimates. Earlier posts and labels stay. See docs/people.md.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.population.next_posts import draw_next_round

    paths = Paths.find()
    drawn = draw_next_round(paths, load_params(paths.params), n)
    click.echo(drawn.describe())
    click.echo("next: `dvc repro`, and commit samples/rounds.csv")


@click.group("replies")
def replies() -> None:
    """Show, export, prune and delete stored teacher replies."""


@replies.command("show")
@click.argument("post_id", required=False, callback=_check_utf8)
def replies_show(*, post_id: str | None) -> None:
    """Show what the store contains; with POST_ID, all replies about this post."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import (
        describe_post_replies,
        open_reply_store,
        summarise_store,
    )

    with open_reply_store(Paths.find()) as store:
        click.echo(describe_post_replies(store, post_id) if post_id else summarise_store(store))


@replies.command("export")
@click.argument("dest", type=click.Path(path_type=Path))
def replies_export(*, dest: Path) -> None:
    """Export all replies to DEST, a .parquet file (with raw replies) or a .csv file (without)."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import export_replies, open_reply_store

    with open_reply_store(Paths.find()) as store:
        click.echo(f"{export_replies(store, dest)} replies written to {dest}")


@replies.command("prune")
@click.option(
    "--rubric", callback=_check_utf8, help="Only replies to this rubric: its name, or name@digest."
)
@click.option("--model", callback=_check_utf8, help="Only replies of this model.")
@click.option("--failed", is_flag=True, help="Only unusable replies.")
@click.option("--yes", is_flag=True, help="Delete them; without it, only count them.")
def replies_prune(*, rubric: str | None, model: str | None, failed: bool, yes: bool) -> None:
    """Delete replies, so that their posts are labelled and paid for again."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import open_reply_store, prune_replies

    with open_reply_store(Paths.find(), is_writable=yes) as store:
        n = prune_replies(store, rubric=rubric, model=model, is_failed=failed, is_dry_run=not yes)
    click.echo(f"{n} replies deleted" if yes else f"{n} replies; add --yes to delete them")


@replies.command("delete")
@click.argument("post_ids", nargs=-1, required=True, callback=_check_utf8, metavar="POST_ID...")
def replies_delete(*, post_ids: tuple[str, ...]) -> None:
    """Delete all replies, labels and scores of posts."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import delete_posts

    deleted = delete_posts(Paths.find(), post_ids)
    click.echo(", ".join(f"{n} {kind}" for kind, n in deleted.items()) + " deleted")
    click.echo(
        "The posts are still in data/posts and build/sample, and older versions in the DVC cache "
        "and in MLflow; docs/teacher.md says how to remove them there."
    )
