"""The commands `app` and `offline-page`."""

from __future__ import annotations

from pathlib import Path

import click

from postbias.cli.shared_options import browser_option, host_option, model_option, port_option

_PORT = 8766


@click.command("app")
@model_option
@click.option(
    "--scores",
    type=click.Path(exists=True, path_type=Path),
    help="Scores to explore, a folder or a .parquet file.  [default: build/scores]",
)
@click.option(
    "--posts",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of the posts of --scores.  [default: data/posts]",
)
@host_option
@port_option(_PORT)
@click.option(
    "--public",
    is_flag=True,
    help="Let everyone who can connect use the page, without a token, for single posts only.",
)
@browser_option
def app_command(
    *,
    model: str | None,
    scores: Path | None,
    posts: Path | None,
    host: str,
    port: int,
    public: bool,
    browser: bool,
) -> None:
    """Serve a page to try, score and explore posts without a terminal.

    Try single posts, score files, and filter, view and export the posts of a scored corpus. Nothing
    is loaded from elsewhere; files that are sent are kept in a temporary folder until the command
    ends. See docs/app.md.
    """
    from postbias.app.app_page import PageSources, serve_page

    sources = PageSources(model, scores, posts, is_public=public)
    serve_page(sources, (host, port), click.echo, opens_browser=browser)


@click.command("offline-page")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--runtime",
    required=True,
    type=click.Path(exists=True, path_type=Path, file_okay=False),
    help="Folder in which npm installed onnxruntime-web and @huggingface/tokenizers.",
)
@model_option
def offline_page_command(*, folder: Path, runtime: Path, model: str | None) -> None:
    """Write a page that scores captions in a browser, on phones too, without a network.

    FOLDER is created with static files only: any web server can send them, and nothing that is
    written on the page leaves the device. Images are not read. See docs/app.md.
    """
    from postbias.app.offline_page import write_offline_page
    from postbias.loading import find_student
    from postbias.scoring.artifact import Artifact

    size = write_offline_page(Artifact.open(find_student(model)), folder, runtime)
    click.echo(f"wrote {folder}, {size / 1e6:.1f} MB")
    click.echo(f"try it: python -m http.server --bind 127.0.0.1 --directory {folder} 8080")
