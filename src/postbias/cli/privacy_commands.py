"""The command `forget`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from postbias.privacy.forget import ForgetReport

_ADVICE = """\
Next: `dvc add data`, `dvc repro`, and commit. Old versions are removed by
  dvc gc --workspace                     DVC's cache; add --cloud for the remote
  git reflog expire --expire=now --all   if a tracked file contained a post: rewrite the history
  git gc --prune=now                     with git filter-repo first
Students that were trained with these posts stay as they are until `dvc repro` trains again.
Backups, other clones and the export itself are not searched."""


@click.command("forget")
@click.argument("post_ids", nargs=-1, metavar="[POST_ID]...")
@click.option("--author", "authors", multiple=True, help="All posts of an author. Repeatable.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the corpus.  [default: data]",
)
@click.option("--yes", is_flag=True, help="Erase them; without it, only search for them.")
def forget_command(
    *, post_ids: tuple[str, ...], authors: tuple[str, ...], data: Path | None, yes: bool
) -> None:
    """Erase posts from the repository, and prove it.

    Erases posts from the shards, sample, labels, scores, teacher replies, caches, reports and
    MLflow, then searches all files of data, build, store, reports and mlruns for their ids and
    captions. An import leaves them out from then on. Can be repeated after an interruption. Exits
    with code 1 if something remains. See docs/your-own-posts.md.
    """
    from postbias.paths import Paths
    from postbias.privacy.forget import forget_posts

    if not post_ids and not authors:
        raise click.UsageError("name posts, or an author with --author")
    report = forget_posts(
        Paths.find(), post_ids, authors, data=data and data.resolve(), is_dry_run=not yes
    )
    click.echo(_render(report))
    if yes:
        click.echo(_ADVICE)
    if report.remaining:
        sys.exit(1)


def _render(report: ForgetReport) -> str:
    is_done = report.remaining is not None
    lines = [f"{report.n_posts} posts in the corpus; found in {len(report.found)} files"]
    lines += [f"  {name}" for name in report.found]
    lines += [f"  {name}/ (whole cache)" for name in report.caches]
    if report.n_skipped:
        lines.append(f"{report.n_skipped} captions are too short or too common to be searched for")
    if not is_done:
        lines.append("nothing was changed; add --yes to erase the posts")
    elif report.remaining:
        lines.append(f"ERASED, BUT STILL IN {len(report.remaining)} FILES:")
        lines += [f"  {name}" for name in report.remaining]
    else:
        lines.append("erased: no file of the working folders contains them")
    for folder, n in report.versions.items():
        lines.append(f"old versions in {folder}: {n} files; `dvc gc --workspace` removes them")
    return "\n".join(lines)
