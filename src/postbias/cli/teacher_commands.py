"""The commands about the teacher: ask it outside of a pipeline run, look after its replies."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("annotate")
@click.option("--plan", "is_plan", is_flag=True, help="Measure a few requests; say what all take.")
def annotate_command(*, is_plan: bool) -> None:
    """Ask the endpoint about the sampled posts and keep its replies, outside of a pipeline run.

    Needs build/sample/posts.parquet (`dvc repro sample`). `dvc repro` then finds every answer in
    the reply store. Interrupted, it goes on where it stopped when it is run again.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.teacher.annotate import fill_reply_store, describe_labelling_plan

    paths = Paths.find()
    params = load_params(paths.params)
    click.echo(describe_labelling_plan(paths, params) if is_plan else fill_reply_store(paths, params))


@click.group("replies")
def replies() -> None:
    """Look into the store of teacher replies, copy it out, thin it, forget posts."""


@replies.command("show")
@click.argument("post_id", required=False)
def replies_show(*, post_id: str | None) -> None:
    """Show what the store holds; with POST_ID, all replies about this post."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import describe_post_replies, open_reply_store, summarize_store

    with open_reply_store(Paths.find()) as store:
        click.echo(describe_post_replies(store, post_id) if post_id else summarize_store(store))


@replies.command("export")
@click.argument("dest", type=click.Path(path_type=Path))
def replies_export(*, dest: Path) -> None:
    """Copy all replies to DEST, a .parquet file (with the raw replies) or a .csv file."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import export_replies, open_reply_store

    with open_reply_store(Paths.find()) as store:
        click.echo(f"{export(store, dest)} replies written to {dest}")


@replies.command("prune")
@click.option("--rubric", help="Only those given by this rubric: its name, or name@digest.")
@click.option("--model", help="Only those of this model.")
@click.option("--failed", is_flag=True, help="Only those that could not be used.")
@click.option("--yes", is_flag=True, help="Do it; without, only say how many there are.")
def replies_prune(*, rubric: str | None, model: str | None, failed: bool, yes: bool) -> None:
    """Throw replies away, so that their posts are asked again. They were paid for."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import open_reply_store, prune_replies

    with open_reply_store(Paths.find(), is_changed=yes) as store:
        n = prune_replies(store, rubric=rubric, model=model, failed=failed, dry_run=not yes)
    click.echo(f"{n} replies thrown away" if yes else f"{n} replies; add --yes to throw them away")


@replies.command("delete")
@click.argument("post_ids", nargs=-1, required=True, metavar="POST_ID...")
def replies_delete(*, post_ids: tuple[str, ...]) -> None:
    """Forget posts: delete their replies, labels and scores."""
    from postbias.paths import Paths
    from postbias.teacher.store_maintenance import delete_posts

    gone = delete_posts(Paths.find(), post_ids)
    click.echo(", ".join(f"{n} {what}" for what, n in gone.items()) + " deleted")
    click.echo(
        "The posts themselves are still in data/posts, and older versions in DVC's cache and in "
        "MLflow: docs/teacher.md says how to remove them there too."
    )
