"""All commands but those of the teacher."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postbias import __version__
from postbias.cli.command_group import CommandGroup
from postbias.cli.teacher_commands import annotate_command, replies
from postbias.cli.terminal_tables import (
    format_brands,
    format_results,
    format_score,
    format_verification,
)
from postbias.errors import InputError
from postbias.scoring.post_scores import BATCH_SIZE

if TYPE_CHECKING:
    from postbias.scoring.execution_providers import Device


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postbias")
@click.option("-v", "--verbose", is_flag=True, help="Print progress messages.")
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
    help="Layout table: name of a column, e.g. caption=text. Repeatable.",
)
@click.option("--replace", is_flag=True, help="Replace the posts of another import in DEST.")
@click.option("--frames", type=click.IntRange(1, 32), default=4, help="Images taken of a video.")
def import_command(
    *, layout: str, src: Path, dest: Path, columns: tuple[str, ...], replace: bool, frames: int
) -> None:
    """Import an export of posts.

    Writes DEST/posts and DEST/rejects.parquet.

    LAYOUT is influencer-brand, instaloader, graphql, api-v1 or table; docs/importing.md describes
    each of them. Resumable: run again to continue.
    """
    from postbias.posts.importers import import_posts, parse_columns

    summary = import_posts(
        layout, src, dest, columns=parse_columns(columns), replace=replace, n_frames=frames
    )
    click.echo(summary.render())
    if summary.warning:
        click.echo(summary.warning, err=True)
        sys.exit(1)


@main.command("score")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUT")
@click.option("--model", help="Artifact folder or models:/NAME@ALIAS.  [default: champion]")
@click.option("--layout", help="Layout of the export INPUT; see docs/importing.md.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="INPUT is a table: name of a column, e.g. caption=text. Repeatable.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="CPU threads; with Ray, per worker.  [default: all]"
)
@click.option("--batch-size", type=click.IntRange(1), default=BATCH_SIZE, help="Posts per batch.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", help="Execution backend."
)
@click.option(
    "--address", help="Ray: auto, HOST:PORT or ray://HOST:PORT.  [default: start Ray here]"
)
@click.option("--workers", type=click.IntRange(1), help="Ray: workers.  [default: as many as fit]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "coreml"]),
    default="auto",
    help="Device for the model. auto: the fastest available; with Ray, the CPU.",
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
    """Score all posts of INPUT and write OUT.

    INPUT is a folder of post shards, one shard, a table (CSV, TSV, JSONL, Parquet), or an export
    with --layout. OUT is a .parquet or .csv file, or a folder. Shards, tables and OUT may be
    s3://BUCKET/PREFIX. Resumable: run again to continue. Posts that cannot be scored keep their
    row; OUT's .rejects.parquet gives the reasons. See docs/scaling-out.md for Ray and object
    stores.
    """
    from postbias.loading import find_student, open_scorer
    from postbias.posts.importers import parse_columns
    from postbias.posts.remote_files import parse_path
    from postbias.scoring.file_scoring import ScoringJob, score_files

    job = ScoringJob(parse_path(source), parse_path(output), layout, parse_columns(columns))
    if engine == "ray":
        from postbias.scoring.artifact import Artifact
        from postbias.scoring.ray_engine import RayBackend, RayClusterOptions

        student = Artifact.open(find_student(model))
        if device == "coreml":
            raise click.UsageError("--engine ray supports --device cpu and cuda only")
        cluster = RayClusterOptions(
            address, workers, threads, "cuda" if device == "cuda" else "cpu"
        )
        summary = score_files(job, RayBackend(student, cluster, batch_size=batch_size))
    elif address is not None or workers is not None:
        raise click.UsageError("--address and --workers require --engine ray")
    else:
        from postbias.scoring.bulk import LocalBackend

        with open_scorer(model, threads, device=device) as scorer:
            summary = score_files(job, LocalBackend(scorer, batch_size=batch_size))
    click.echo(f"{summary.render()}\n  -> {output}")


@main.command("score-one")
@click.option("--caption", default="", help="Caption of the post.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image file. Repeatable.",
)
@click.option("--model", help="Artifact folder or models:/NAME@ALIAS.  [default: champion]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score_one_command(
    *, caption: str, images: tuple[Path, ...], model: str | None, as_json: bool
) -> None:
    """Score one post. Exits with code 1 if it cannot be scored."""
    from postbias.loading import as_post, open_scorer
    from postbias.scoring.request import answer_row

    post = as_post({"caption": caption, "images": list(images)})
    with open_scorer(model, threads=1) as scorer:
        (result,) = scorer.score([post])
        if as_json:
            row = answer_row(scorer.axes, result)
            click.echo(json.dumps(row, indent=2, ensure_ascii=False))
        else:
            click.echo(format_score(scorer.axes, result))
    if result.band is None:
        sys.exit(1)


@main.command("sync")
@click.option("--need-champion", is_flag=True, help="Fail if there is no champion afterwards.")
def sync_command(*, need_champion: bool) -> None:
    """Restore MLflow runs and the champion from dvc.lock.

    Restores missing runs, model versions and the alias `champion`. Matches by content, so that
    outputs restored from the DVC cache get their runs and their champion back in any clone.
    Idempotent.
    """
    from postbias.paths import Paths
    from postbias.tracking.sync import sync

    paths = Paths.find()
    click.echo(sync(paths))
    if need_champion:
        from postbias.tracking.registry import champion_artifact

        champion_artifact(paths)


@main.command("doctor")
def doctor_command() -> None:
    """Check what a run needs.

    Checks packages, disk, data, params, rubric, teacher, weights, MLflow and champion. Prints what
    is missing and what to do about it. Exits with code 1 if a run would fail.
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
    """Check that the pipeline is reproducible.

    Runs the committed pipeline twice in fresh clones and compares all outputs byte for byte. The
    outputs of sample, annotate and split must also match dvc.lock. Training may give other bytes on
    another type of machine; then the metrics must be within the committed intervals. Takes as long
    as two runs of the pipeline. Keeps the clones and exits with code 1 on a difference.
    """
    from postbias.paths import Paths
    from postbias.reproduce.verify import verify

    result = verify(Paths.find(), lambda line: click.echo(line, err=True))
    click.echo(format_verification(result))
    sys.exit(not result.is_ok)


@main.command("promote")
def promote_command() -> None:
    """Promote build/champion over a better champion.

    A student that is significantly worse than the champion on the same valid fold is not promoted
    automatically: `sync` reports it and `infer` warns. This command promotes it anyway.
    """
    from postbias.paths import Paths
    from postbias.tracking.registry import force_promotion

    result = force_promotion(Paths.find())
    replaced = "" if result.previous is None else f", replacing version {result.previous}"
    click.echo(f"champion is version {result.version}{replaced}")


@main.command("results")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def results_command(*, markdown: bool) -> None:
    """Show test metrics and the champion.

    Students and baselines are measured on the same posts of the test fold.
    """
    from postbias.evaluation.results_table import load_evaluation, markdown_table
    from postbias.paths import Paths

    path = Paths.find().reports / "evaluate.json"
    report = load_evaluation(path)
    try:
        table = markdown_table(report) if markdown else format_results(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "this report was written by another version of postbias",
            seen=str(path),
            do="run `dvc repro` (or `make repro`)",
        ) from error
    click.echo(table)


@main.command("brands")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a .csv or .parquet file.",
)
def brands_command(*, out: Path | None) -> None:
    """Show bias by brand, with 95% intervals.

    Small brands are shrunk toward the mean of all brands. Needs a scored corpus (`dvc repro`). The
    file report.brands in params.yaml lists the brands; docs/brands.md explains the columns.
    """
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.population.brands import load_and_estimate_brands, write_brands

    paths = Paths.find()
    found = load_and_estimate_brands(paths, load_params(paths.params).report)
    if out is not None:
        write_brands(found, out)
    click.echo(format_brands(found))


main.add_command(annotate_command)
main.add_command(replies)
