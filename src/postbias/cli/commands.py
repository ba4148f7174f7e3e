"""All commands but those of the teacher."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postbias import __version__
from postbias.cli.app_commands import app_command, offline_page_command
from postbias.cli.command_group import CommandGroup
from postbias.cli.comparison_commands import report_diff_command
from postbias.cli.explain_commands import explain_command, print_explanation
from postbias.cli.fetch_commands import fetch_images_command
from postbias.cli.hub_commands import publish_command, publish_dataset_command
from postbias.cli.import_commands import import_command
from postbias.cli.package_commands import package_command
from postbias.cli.privacy_commands import forget_command
from postbias.cli.rating_commands import plan_command, rate_command, ratings
from postbias.cli.result_commands import brands_command, methods_command, results_command
from postbias.cli.shared_options import caption_option, image_option, model_option
from postbias.cli.table_options import (
    column_option,
    encoding_option,
    null_values_option,
    transcripts_option,
)
from postbias.cli.teacher_commands import annotate_command, next_posts_command, replies
from postbias.cli.terminal_tables import format_score, format_verification
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


@main.command("score")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUT")
@model_option
@click.option("--layout", help="Layout of the export INPUT; see import --list.  [default: auto]")
@column_option("INPUT is a table: ")
@encoding_option("INPUT", "detected for each file")
@null_values_option("INPUT is a table: ")
@transcripts_option()
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
    encoding: str | None,
    null_values: tuple[str, ...],
    transcripts: bool,
    threads: int | None,
    batch_size: int,
    engine: str,
    address: str | None,
    workers: int | None,
    device: Device,
) -> None:
    """Score all posts of INPUT and write OUT.

    INPUT is a folder of post shards, one shard, a table (CSV, JSON, Parquet, Excel, also
    compressed), or an export, whose layout is found out as by import auto. OUT is a .parquet or
    .csv file, or a folder. Shards, tables and OUT may be s3://BUCKET/PREFIX. Resumable: run again
    to continue. Posts that cannot be scored keep their row; OUT's .rejects.parquet gives the
    reasons. Exits with code 1 if INPUT is not a post shard and more than 10% of its records could
    not be read. See docs/scaling-out.md for Ray and object stores.
    """
    from postbias.loading import find_student, open_scorer
    from postbias.posts.importers import ReadingOptions, parse_columns
    from postbias.posts.remote_files import parse_path
    from postbias.scoring.file_scoring import ScoringJob, score_files
    from postbias.scoring.post_sources import identify_source

    options = ReadingOptions(
        parse_columns(columns), encoding, null_values=null_values, transcripts=transcripts
    )
    found = identify_source(parse_path(source), layout, options)
    if found.evidence:
        click.echo(found.evidence, err=True)
    job = ScoringJob(found.path, parse_path(output), found.layout, options)
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
    if summary.import_warning:
        click.echo(summary.import_warning, err=True)
        sys.exit(1)


@main.command("score-one")
@caption_option
@image_option
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--explain", "is_explained", is_flag=True, help="Explain the score, as explain does.")
def score_one_command(
    *,
    caption: str,
    images: tuple[Path, ...],
    model: str | None,
    as_json: bool,
    is_explained: bool,
) -> None:
    """Score one post. Exits with code 1 if it cannot be scored."""
    if is_explained:
        given = {"caption": caption, "images": list(images)}
        print_explanation(given, None, model, as_json=as_json)
        return
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


main.add_command(import_command)
main.add_command(fetch_images_command)
main.add_command(forget_command)
main.add_command(report_diff_command)
main.add_command(explain_command)
main.add_command(results_command)
main.add_command(methods_command)
main.add_command(brands_command)
main.add_command(annotate_command)
main.add_command(next_posts_command)
main.add_command(replies)
main.add_command(app_command)
main.add_command(offline_page_command)
main.add_command(rate_command)
main.add_command(plan_command)
main.add_command(ratings)
main.add_command(package_command)
main.add_command(publish_command)
main.add_command(publish_dataset_command)
