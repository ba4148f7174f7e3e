"""The command `forget`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from postbias.privacy.forget import ForgetReport

_ADVICE = """\
Next steps, in this order:
1. Make the outputs again (this trains new students; the present ones learned from the posts):
     dvc add data
     dvc repro
2. Commit, without the names of posts or authors in the message:
     git add --all
     git commit --message "Forget posts"
3. Remove the old versions from DVC's cache, and from the remote if you have one:
     dvc gc --workspace
     dvc gc --workspace --cloud
4. Only if git tracked a file that contained a post: remove each such FILE from its history:
     git filter-repo --force --invert-paths --path FILE
     git reflog expire --expire=now --all
     git gc --prune=now
Backups, other clones, other folders of posts and the export itself are not searched."""


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
    captions. All imports in this repository leave them out from then on (forgotten.json). Can be
    repeated after an interruption. Exits with code 1 if something remains, or if no post was
    found anywhere; then nothing is changed. See docs/your-own-posts.md.
    """
    from postbias.paths import Paths
    from postbias.privacy.forget import forget_posts

    if not post_ids and not authors:
        raise click.UsageError("name posts, or an author with --author")
    report = forget_posts(
        Paths.find(), post_ids, authors, data=data and data.resolve(), is_dry_run=not yes
    )
    click.echo(_render(report))
    if yes and not report.is_empty:
        click.echo(_ADVICE)
    if report.remaining or report.is_empty:
        sys.exit(1)


def _render(report: ForgetReport) -> str:
    is_done = report.remaining is not None
    lines = [f"no such post in the corpus: {post_id}" for post_id in report.missing_ids]
    lines += [f"no post by this author in the corpus: {name}" for name in report.missing_authors]
    lines.append(f"{report.n_posts} posts in the corpus; found in {len(report.found)} files")
    lines += [f"  {name}" for name in report.found]
    caches = [] if report.is_empty else report.caches
    lines += [f"  {name}/ (whole cache)" for name in caches]
    if report.n_skipped:
        lines.append(f"{report.n_skipped} captions are too short or too common to be searched for")
    if report.is_empty:
        lines.append("NOTHING FOUND: no file of the working folders contains what was named")
        lines.append("nothing was changed")
    elif not is_done:
        lines.append("nothing was changed; add --yes to erase the posts")
    elif report.remaining:
        lines.append(f"ERASED, BUT STILL IN {len(report.remaining)} FILES:")
        lines += [f"  {name}" for name in report.remaining]
    else:
        lines.append("erased: no file of the working folders contains them")
    for folder, n in report.versions.items():
        lines.append(f"old versions in {folder}: {n} files")
    return "\n".join(lines)
