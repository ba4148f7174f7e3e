"""The command that downloads the images of a table."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from postbias import __version__
from postbias.cli.table_options import column_option, encoding_option


@click.command("fetch-images")
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@column_option("", "images=photo_url")
@encoding_option("TABLE", "detected")
@click.option("--concurrency", type=click.IntRange(1, 256), default=8, help="Requests in flight.")
@click.option(
    "--per-host", type=click.IntRange(1, 64), default=2, help="Requests in flight to one host."
)
@click.option("--timeout", type=click.FloatRange(0.1), default=30.0, help="Seconds without data.")
@click.option(
    "--retries", type=click.IntRange(0, 20), default=3, help="Retries after a temporary failure."
)
@click.option(
    "--allow-port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="Allow a port besides 80 and 443. Repeatable.",
)
@click.option("--allow-private", is_flag=True, help="Allow private and loopback addresses.")
@click.option("--user-agent", help="User-Agent, e.g. with an e-mail address.")
def fetch_images_command(
    *,
    table: Path,
    folder: Path,
    columns: tuple[str, ...],
    encoding: str | None,
    concurrency: int,
    per_host: int,
    timeout: float,
    retries: int,
    ports: tuple[int, ...],
    allow_private: bool,
    user_agent: str | None,
) -> None:
    """Download the images that TABLE names by address.

    Writes them to FOLDER, inside the folder of TABLE, where `postbias import table` finds them, and
    FOLDER/fetch_rejects.parquet with the addresses that failed. Resumable: run again to fetch what
    is missing. Exits with code 1 if more than 10% failed. Ask for permission where you need it.
    """
    from postbias.posts.fetching.fetch_failures import FetchLimits
    from postbias.posts.fetching.fetch_run import fetch_images
    from postbias.posts.importers import ReadingOptions, parse_columns

    limits = FetchLimits(
        concurrency=concurrency,
        per_host=per_host,
        timeout_s=timeout,
        n_retries=retries,
        ports=FetchLimits().ports | frozenset(ports),
        allows_private=allow_private,
        user_agent=user_agent or f"postbias/{__version__}",
    )
    options = ReadingOptions(parse_columns(columns), encoding)
    summary = fetch_images(table, folder, options=options, limits=limits)
    click.echo(summary.render())
    if summary.is_incomplete:
        sys.exit(1)
