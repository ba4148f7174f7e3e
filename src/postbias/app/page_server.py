"""The server of `postbias app`: the page, single posts, files to score, and corpora to explore."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from postbias.app.access import Access
from postbias.app.explore_requests import ExploreHandlers
from postbias.app.file_requests import FileHandlers
from postbias.app.other_pages import PageLinks
from postbias.app.page_language import LanguagePages
from postbias.app.page_session import PageSession
from postbias.app.request_bodies import read_json_body
from postbias.app.single_posts import (
    Json,
    describe_student,
    explain_single_post,
    read_try_post,
    score_single_post,
)
from postbias.errors import InputError, PostbiasError

_STATIC = Path(__file__).with_name("static")


def build_page_app(session: PageSession, access: Access) -> FastAPI:
    """Build the web application.

    Args:
        session: What it works with.
        access: Who may use the server.

    Returns:
        An ASGI application.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(access)
    app.exception_handler(PostbiasError)(_refuse)
    app.exception_handler(RequestValidationError)(_refuse_invalid)
    LanguagePages("app.html.j2").add_to(app)
    single = _SinglePostHandlers(session, has_posts_only=access.is_public)
    app.get("/api/student")(single.student)
    app.post("/api/score")(single.score)
    app.post("/api/explanation")(single.explain)
    # Files and corpora are shared by all who use the page, so strangers get single posts only.
    if not access.is_public:
        FileHandlers(session).add_to(app)
        ExploreHandlers(session).add_to(app)
        PageLinks(session.paths, session.rating, is_local=access.is_local).add_to(app)
    app.mount("/static", StaticFiles(directory=_STATIC))
    return app


def _refuse(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 400 if isinstance(error, InputError) else 503)


def _refuse_invalid(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong without repeating the input, which may be no JSON, such as NaN."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"detail": f"the request is not valid: {place}: {first['msg']}"}, 422)


class _SinglePostHandlers:
    def __init__(self, session: PageSession, *, has_posts_only: bool) -> None:
        self._scorer, self._paths = session.scorer, session.paths
        self._has_posts_only = has_posts_only

    def student(self) -> Json:
        described = describe_student(self._scorer, self._paths)
        return described | {"has_posts_only": self._has_posts_only}

    async def score(self, request: Request) -> Json:
        post = read_try_post(await read_json_body(request))
        return await run_in_threadpool(score_single_post, self._scorer, post)

    async def explain(self, request: Request) -> Json:
        post = read_try_post(await read_json_body(request))
        return await run_in_threadpool(explain_single_post, self._scorer, post)
