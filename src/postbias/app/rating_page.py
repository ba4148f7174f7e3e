"""`postbias rate`: draw the posts to rate if necessary, load them and serve the page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from postbias.app.access import Access
from postbias.app.local_server import open_socket, run_server
from postbias.app.rating_server import build_rating_app
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.rating_items import open_items
from postbias.people.rating_posts import load_rating_posts
from postbias.people.rating_session import RatingSession
from postbias.teacher.rubric import load_rubric


def serve_rating_page(
    paths: Paths,
    params: Params,
    address: tuple[str, int],
    announce: Callable[[str], None],
    *,
    opens_browser: bool,
) -> None:
    """Serve the rating page until it is interrupted.

    Args:
        address: Host and port to listen on.
        announce: Called with one line of progress at a time, the last with the address to open.
        opens_browser: Whether to open the page in a browser.

    Raises:
        CorpusError: If there is no post to rate.
        InputError: If the address cannot be used, or the store has ratings by another rubric.
        StorageError: If the store cannot be used.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    items = open_items(paths, params, rubric, announce)
    access = Access.for_host(address[0])
    with (
        open_socket(*address) as listener,
        tempfile.TemporaryDirectory(prefix="postbias-rate-") as scratch,
    ):
        posts = load_rating_posts(paths.posts, [item.post_id for item in items], Path(scratch))
        session = RatingSession(paths.ratings, items, rubric, params.rating)
        run_server(
            build_rating_app(session, posts, access),
            listener,
            access,
            lambda url: announce(f"Rate posts at {url} (Ctrl+C stops; answers are stored at once)"),
            opens_browser=opens_browser,
        )
