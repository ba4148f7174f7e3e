"""`postbias app`: load a student, find the scored corpus, and serve the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from postbias.app.access import Access
from postbias.app.explored_corpus import CorpusFiles, find_corpus_files
from postbias.app.local_server import open_socket, run_server
from postbias.app.page_server import build_page_app
from postbias.app.page_session import find_brands_table, open_page_session
from postbias.errors import InputError
from postbias.loading import open_scorer
from postbias.paths import Paths


@dataclass(frozen=True, slots=True)
class PageSources:
    """What the page is started with.

    Attributes:
        model: Folder of a student, or a `models:/` or `hf://` name; None for the champion.
        scores: Scores to explore; None for those of the repository.
        posts: Folder of their posts; None for those of the repository.
        is_public: Whether everyone may use the page, for single posts only.
    """

    model: str | None = None
    scores: Path | None = None
    posts: Path | None = None
    is_public: bool = False


def serve_page(
    sources: PageSources,
    address: tuple[str, int],
    announce: Callable[[str], None],
    *,
    opens_browser: bool,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        sources: Student and corpus.
        address: Host and port to listen on.
        announce: Called with the address to open.
        opens_browser: Whether to open the page in a browser.

    Raises:
        ChampionError: If there is no such student.
        ArtifactError: If the student is damaged.
        HubError: If the student cannot be downloaded from the hub.
        InputError: If the address cannot be used, scores or posts do not exist, or a corpus was
            named for a public page.
    """
    try:
        paths: Paths | None = Paths.find()
    except InputError:
        paths = None
    if sources.is_public:
        if sources.scores is not None or sources.posts is not None:
            raise InputError("a public page shows no corpus", do="leave out --scores and --posts")
        paths, corpus, access = None, None, Access(None, is_public=True)
    else:
        corpus, access = _find_corpus(sources, paths), Access.for_host(address[0])
    with (
        open_socket(*address) as listener,
        open_scorer(sources.model, None) as scorer,
        open_page_session(scorer, paths) as session,
    ):
        if corpus is not None:
            session.library.add("corpus", corpus)
        run_server(
            build_page_app(session, access),
            listener,
            access,
            lambda url: announce(f"postbias is at {url} (Ctrl+C stops it)"),
            opens_browser=opens_browser,
        )


def _find_corpus(sources: PageSources, paths: Paths | None) -> CorpusFiles | None:
    """Return the corpus that was named, or that of the repository if it is scored."""
    if sources.scores is None and sources.posts is not None:
        raise InputError("--posts without --scores", do="name the scores of these posts, too")
    if paths is None:
        if sources.scores is None:
            return None
        if sources.posts is None:
            raise InputError("--scores without --posts", do="name the folder of the posts")
        return find_corpus_files(sources.scores.name, sources.scores, sources.posts)
    scores, posts = sources.scores or paths.scores, sources.posts or paths.posts
    if sources.scores is None and not (scores.is_dir() and posts.is_dir()):
        return None
    name = paths.root.name if sources.scores is None else scores.name
    return find_corpus_files(name, scores, posts, paths.labels, find_brands_table(paths))
