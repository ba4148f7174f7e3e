"""The server of `postbias rate`: a page, the posts to rate, and answers into the rating store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from postbias.app.access import Access
from postbias.app.page_language import LanguagePages
from postbias.errors import InputError, RaterLimitError, StorageError
from postbias.people.rating_posts import RatingPost
from postbias.people.rating_records import Outcome, RatingTask
from postbias.people.rating_session import Answer, RaterProgress, RatingSession
from postbias.teacher.rubric import Rubric

logger = logging.getLogger(__name__)

_STATIC = Path(__file__).with_name("static")

RaterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
_Nonce = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _RaterBody(_Body):
    rater: RaterName


class _UndoBody(_RaterBody):
    nonce: _Nonce


class _AnswerBody(_UndoBody):
    post: Annotated[int, Field(ge=0)]
    occasion: Annotated[int, Field(ge=1, le=2)]
    outcome: Outcome
    scores: Annotated[dict[str, float], Field(max_length=50)]
    note: Annotated[str, Field(max_length=50)]
    seconds: Annotated[float, Field(ge=0, le=1e6)]


def build_rating_app(
    session: RatingSession, posts: Mapping[str, RatingPost], access: Access
) -> FastAPI:
    """Build the web application.

    Args:
        session: The posts to rate and the store.
        posts: What is shown of each post, by id.
        access: Who may use the server.

    Returns:
        An ASGI application.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(access)
    app.exception_handler(InputError)(_refuse)
    app.exception_handler(StorageError)(_refuse)
    handlers = _Handlers(session, posts)
    LanguagePages("rate.html.j2").add_to(app)
    app.get("/images/{post}/{number}")(handlers.image)
    app.get("/api/rubric")(handlers.rubric)
    app.post("/api/session")(handlers.begin)
    app.post("/api/answers")(handlers.answer)
    app.post("/api/undo")(handlers.undo)
    app.mount("/static", StaticFiles(directory=_STATIC))
    return app


class _Handlers:
    """The handlers of requests, run in threads, because SQLite waits for the disk.

    Posts are named by their place among the items, so that ids of posts do not reach the page.
    """

    def __init__(self, session: RatingSession, posts: Mapping[str, RatingPost]) -> None:
        self._session = session
        self._ids = [item.post_id for item in session.items]
        self._posts = [posts[post_id] for post_id in self._ids]

    def image(self, post: int, number: int) -> FileResponse:
        images: Sequence[Path | None] = ()
        if 0 <= post < len(self._posts):
            images = self._posts[post].images
        file = images[number] if 0 <= number < len(images) else None
        if file is None:
            raise HTTPException(404)
        return FileResponse(file, media_type="image/jpeg")

    def rubric(self) -> dict[str, Any]:
        return describe_rubric(self._session.rubric)

    def begin(self, body: _RaterBody) -> dict[str, Any]:
        return self._describe(self._session.progress(body.rater))

    def answer(self, body: _AnswerBody) -> dict[str, Any]:
        if body.post >= len(self._ids):
            raise InputError("no such post", seen=body.post, allowed=f"0 to {len(self._ids) - 1}")
        task = RatingTask(self._ids[body.post], body.occasion)
        fields = body.model_dump(exclude={"post", "occasion"})
        return self._describe(self._session.record(Answer(task=task, **fields)))

    def undo(self, body: _UndoBody) -> dict[str, Any]:
        return self._describe(self._session.withdraw_last(body.rater, body.nonce))

    def _describe(self, progress: RaterProgress) -> dict[str, Any]:
        task, withdrawn, described = progress.task, progress.withdrawn, None
        if task is not None:
            place = self._ids.index(task.post_id)
            post = self._posts[place]
            described = {
                "post": place,
                "occasion": task.occasion,
                "caption": post.caption,
                "images": [image is not None for image in post.images],
                "withdrawn": None
                if withdrawn is None
                else {"outcome": withdrawn.outcome, "scores": dict(withdrawn.scores)},
            }
        return {"done": progress.done, "total": progress.total, "task": described}


def _refuse(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RaterLimitError):
        # The message names the other raters and speaks to whoever runs the study.
        logger.warning("%s", error)
        detail = (
            "All places for raters of this study are taken. Use the name that you began with, or "
            "ask the person who runs the study."
        )
        return JSONResponse({"detail": detail}, 400)
    return JSONResponse({"detail": str(error)}, 400 if isinstance(error, InputError) else 503)


def describe_rubric(rubric: Rubric) -> dict[str, Any]:
    """Describe axes and scales for the page."""
    axes = []
    for axis in rubric.axes:
        anchors = [anchor.model_dump(mode="json") for anchor in axis.anchors]
        axes.append({"name": axis.name, "question": axis.question, "points": list(axis.points)})
        axes[-1]["anchors"] = anchors
    return {"name": rubric.name, "version": rubric.version, "axes": axes}
