"""All commands but those of the teacher.

Every command imports what it needs inside its body, so that `postbias --help` answers at once.
Results go to stdout, progress and errors to stderr; a `PostbiasError` is one line and exit code 1.
Options say where, what and how many; whatever changes a result is a parameter in params.yaml.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postbias import __version__
from postbias.cli.teacher_commands import annotate, replies
from postbias.errors import InputError, PostbiasError
from postbias.scoring.post_scores import BATCH_SIZE

if TYPE_CHECKING:
    from postbias.scoring.execution_providers import Device


class _Main(click.Group):
    """A group whose commands end in one clear line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except PostbiasError as error:
            click.echo(f"postbias: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postbias")
@click.option("-v", "--verbose", is_flag=True, help="Say more about what is going on.")
def main(*, verbose: bool) -> None:
    """Score gender bias in social-media posts, and know how far to trust the scores."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@main.command("import")
@click.argument("layout")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="Layout table: the name of a column, e.g. caption=text. May be given several times.",
)
@click.option("--replace", is_flag=True, help="Replace the posts of another import in DEST.")
def import_command(
    *, layout: str, src: Path, dest: Path, columns: tuple[str, ...], replace: bool
) -> None:
    """Import an export into DEST/posts and DEST/rejects.parquet.

    LAYOUT is influencer-brand, instaloader, graphql, api-v1 or table; docs/importing.md shows what
    each of them reads. Interrupted, it goes on where it stopped when it is run again.
    """
    from postbias.posts.importers import columns_of, import_posts

    summary = import_posts(layout, src, dest, columns=columns_of(columns), replace=replace)
    click.echo(summary.render())


@main.command("score")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUT")
@click.option("--model", help="Folder of a student, or models:/NAME@ALIAS.  [default: champion]")
@click.option("--layout", help="INPUT is an export of this layout; docs/importing.md lists them.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="INPUT is a table: the name of a column, e.g. caption=text. May be given several times.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="Cores to use; with Ray, of a worker.  [default: all]"
)
@click.option("--batch-size", type=click.IntRange(1), default=BATCH_SIZE, help="Posts per batch.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", help="Who computes."
)
@click.option("--address", help="Ray: auto, HOST:PORT or ray://HOST:PORT.  [default: start one]")
@click.option("--workers", type=click.IntRange(1), help="Ray: processes.  [default: all that fit]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "coreml"]),
    default="auto",
    help="Where the graphs run. auto is the best there is; with Ray, the CPU.",
)
def score_command(
    *,
    source: str,
    output: str,
    model: str | None,
    layout: str | None,
    columns: tuple[str, ...],
    threads: int | None,
    batch_size: int,
    engine: str,
    address: str | None,
    workers: int | None,
    device: Device,
) -> None:
    """Score every post of INPUT into OUT.

    INPUT is a folder of post shards, one shard, a table (CSV, TSV, JSONL, Parquet), or an export
    with --layout. OUT is a .parquet or .csv file, or a folder. Shards, tables and OUT may be
    s3://BUCKET/PREFIX. Interrupted, it goes on where it stopped when it is run again. Posts without
    a score keep their row, and OUT's .rejects.parquet says why. docs/scaling-out.md shows Ray and
    object stores.
    """
    from postbias.loading import find_student, open_scorer
    from postbias.posts.importers import columns_of
    from postbias.posts.remote_files import place_of
    from postbias.scoring.file_scoring import Job, score_files

    job = Job(place_of(source), place_of(output), layout, columns_of(columns))
    if engine == "ray":
        from postbias.scoring.artifact import Artifact
        from postbias.scoring.ray_engine import Cluster, RayEngine

        student = Artifact.open(find_student(model))
        if device == "coreml":
            raise click.UsageError("with --engine ray, --device is cpu or cuda")
        cluster = Cluster(address, workers, threads, "cuda" if device == "cuda" else "cpu")
        summary = score_files(job, RayEngine(student, cluster, batch_size=batch_size))
    elif address is not None or workers is not None:
        raise click.UsageError("--address and --workers are for --engine ray")
    else:
        from postbias.scoring.bulk import LocalEngine

        with open_scorer(model, threads, device=device) as scorer:
            summary = score_files(job, LocalEngine(scorer, batch_size=batch_size))
    click.echo(f"{summary.render()}\n  -> {output}")


@main.command("score-one")
@click.option("--caption", default="", help="The text of the post.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An image file. May be given several times.",
)
@click.option("--model", help="Folder of a student, or models:/NAME@ALIAS.  [default: champion]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def score_one_command(
    *, caption: str, images: tuple[Path, ...], model: str | None, as_json: bool
) -> None:
    """Score one post; exit code 1 if it cannot be scored."""
    from postbias.loading import as_post, open_scorer
    from postbias.scoring.request import render_one
    from postbias.scoring.scorer import OK

    post = as_post({"caption": caption, "images": list(images)})
    with open_scorer(model, threads=1) as scorer:
        (result,) = scorer.score([post])
        click.echo(render_one(scorer, result, as_json=as_json))
    if result.status != OK:
        sys.exit(1)


@main.command()
@click.option("--need-champion", is_flag=True, help="Fail if there is no champion afterwards.")
def sync(*, need_champion: bool) -> None:
    """Bring MLflow in step with DVC: make missing runs, model versions and the alias again.

    Everything is found by content: what DVC restored from its cache gets its runs and its champion
    back, in any clone. Running it twice does nothing more.
    """
    from postbias.paths import Paths
    from postbias.tracking.sync import sync as bring_in_step

    paths = Paths.find()
    click.echo(bring_in_step(paths))
    if need_champion:
        from postbias.tracking.registry import champion_artifact

        champion_artifact(paths)


@main.command()
def doctor() -> None:
    """Look at what a run needs, and say what is missing and what to do.

    Packages, disk, data, params.yaml, rubric, labels or endpoint, weights, MLflow, champion. Exit
    code 1 if something is missing that a run cannot do without.
    """
    from postbias.paths import Paths
    from postbias.reproduce.doctor import examine

    is_ready = True
    for finding in examine(Paths.find()):
        click.echo(finding)
        is_ready = is_ready and finding.status != "missing"
    sys.exit(not is_ready)


@main.command("verify")
def verify_command() -> None:
    """Prove that the committed pipeline gives the same bytes again, twice, in fresh clones.

    Every output of both runs must be equal, those of sample, annotate and split also to dvc.lock.
    Training may give other bytes on another machine; then the metrics must agree. Takes two runs of
    the pipeline. The clones are kept if something differs. Exit code 1 says that something does.
    """
    from postbias.paths import Paths
    from postbias.reproduce.verify import verify

    result = verify(Paths.find(), lambda line: click.echo(line, err=True))
    click.echo(result)
    sys.exit(not result.is_ok)


@main.command()
def promote() -> None:
    """Make the pipeline's student champion although the one before was better.

    A new student does not become champion by itself if it is worse than the champion on the same
    test fold, beyond chance: `sync` then says so, and `infer` stops. This takes it all the same.
    """
    from postbias.paths import Paths
    from postbias.tracking.registry import promote as take_all_the_same

    done = take_all_the_same(Paths.find())
    instead = "" if done.previous is None else f" instead of version {done.previous}"
    click.echo(f"champion is version {done.version}{instead}")


@main.command("results")
@click.option("--markdown", is_flag=True, help="As Markdown, for a README.")
def results_command(*, markdown: bool) -> None:
    """Show how the students did on the test fold, beside the baselines, and who is champion."""
    from postbias.evaluation.results_table import load_report, markdown_table, result_table
    from postbias.paths import Paths

    path = Paths.find().reports / "evaluate.json"
    report = load_report(path)
    try:
        table = markdown_table(report) if markdown else result_table(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "this result is not of this version of postbias",
            seen=str(path),
            do="run `dvc repro` (or `make repro`)",
        ) from error
    click.echo(table)


@main.command("brands")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the brands here, as CSV or Parquet by the ending.",
)
def brands_command(*, out: Path | None) -> None:
    """Show bias by brand: estimates with intervals, small brands pulled to the mean.

    Needs a scored corpus (`dvc repro`). Which brands there are is said by report.brands in
    params.yaml; docs/brands.md explains the columns.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.population.brands import brand_lines, describe_brands_of, write_brands

    paths = Paths.find()
    found = describe_brands_of(paths, load_params(paths.params).report)
    if out is not None:
        write_brands(found, out)
    click.echo(brand_lines(found))


main.add_command(annotate)
main.add_command(replies)
