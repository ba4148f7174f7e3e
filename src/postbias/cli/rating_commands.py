"""Commands for ratings by people: `rate` and `ratings`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

_PORT = 8765


@click.command("rate")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Any but 127.0.0.1, such as 0.0.0.0 for all, opens the page to the"
    " network, with a token in the printed address.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0: any free."
)
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
def rate_command(*, host: str, port: int, browser: bool) -> None:
    """Serve a page on which people rate posts.

    Draws the posts at the first start, by the group `rating` of params.yaml, from the labelled
    posts. Each answer is stored in store/ratings.sqlite at once; stop and start again at will. See
    docs/rating.md.
    """
    from postbias.app.rating_page import serve_rating_page
    from postbias.params import load_params
    from postbias.paths import Paths

    paths = Paths.find()
    params = load_params(paths.params)
    serve_rating_page(paths, params, (host, port), click.echo, opens_browser=browser)


@click.group("ratings")
def ratings() -> None:
    """Show and export ratings by people."""


@ratings.command("show")
def ratings_show() -> None:
    """Show how far each rater has come."""
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.rating_store import RatingStore

    paths = Paths.find()
    n_raters = load_params(paths.params).rating.raters
    with RatingStore.open(paths.ratings) as store:
        names, answers = store.raters(), store.ratings()
        click.echo(f"{len(store.items())} posts to rate, {len(names)} of {n_raters} raters")
        for name in names:
            counts = Counter(rating.outcome for rating in answers if rating.rater == name)
            parts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
            click.echo(f"  {name}: {parts or 'no answers'}")


@ratings.command("export")
@click.argument("dest", type=click.Path(dir_okay=False, path_type=Path))
def ratings_export(*, dest: Path) -> None:
    """Export all answers to DEST, a CSV file for rating.file in params.yaml."""
    from postbias.params import load_params
    from postbias.paths import Paths
    from postbias.people.rating_store import RatingStore
    from postbias.people.rating_table import write_ratings
    from postbias.teacher.rubric import load_rubric

    paths = Paths.find()
    rubric = load_rubric(paths.root / load_params(paths.params).annotate.rubric)
    with RatingStore.open(paths.ratings) as store:
        n = write_ratings(dest, store.ratings(), store.items(), rubric.axes)
    click.echo(f"{n} answers written to {dest}")
