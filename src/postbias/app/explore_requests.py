"""Requests of `Explore`: select posts, look at them, and export them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from postbias.app.corpus_exports import ExportFormat, build_export, write_export
from postbias.app.corpus_images import LARGE_PX, THUMBNAIL_PX
from postbias.app.corpus_library import OpenCorpus
from postbias.app.corpus_query import PostFilter, PostOrder, describe_options, describe_rows
from postbias.app.page_session import PageSession
from postbias.app.single_posts import explain_single_post
from postbias.errors import InputError
from postbias.posts.schema import REJECTS
from postbias.posts.shards import read_table
from postbias.scoring.post_scores import PostInput

Json = dict[str, Any]

_CARD_CHARS, _DETAIL_CHARS = 220, 20_000
_MAX_REJECTS_SHOWN = 200
_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".parquet": "application/vnd.apache.parquet",
}


class _SelectionBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filter: PostFilter = PostFilter()
    order: PostOrder = PostOrder()


class _PageBody(_SelectionBody):
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 60


class _ExportBody(_SelectionBody):
    format: ExportFormat


class ExploreHandlers:
    """The handlers of these requests, run in threads."""

    def __init__(self, session: PageSession) -> None:
        """Use the corpora of a session."""
        self._session = session
        self._exports: dict[str, Path] = {}

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.get("/api/corpora")(self.names)
        app.get("/api/corpora/{corpus}")(self.describe)
        app.get("/api/corpora/{corpus}/topics")(self.topics)
        app.get("/api/corpora/{corpus}/rejects")(self.rejects)
        app.post("/api/corpora/{corpus}/selection")(self.select)
        app.get("/api/corpora/{corpus}/posts/{row}")(self.post)
        app.get("/api/corpora/{corpus}/posts/{row}/images/{number}")(self.image)
        app.post("/api/corpora/{corpus}/posts/{row}/explanation")(self.explain)
        app.post("/api/corpora/{corpus}/exports")(self.export)
        app.post("/api/corpora/{corpus}/rejects/exports")(self.export_rejects)
        app.get("/api/exports/{export}/{name}")(self.download)

    def names(self) -> list[Json]:
        """List the corpora."""
        return self._session.library.names()

    def describe(self, corpus: str) -> Json:
        """Describe what a corpus can be filtered by."""
        return describe_options(self._open(corpus).corpus)

    def topics(self, corpus: str) -> Json:
        """Return the languages and brands, or how many captions have been read."""
        opened = self._open(corpus)
        status = opened.topics
        counts = status.topics.counts() if status.topics is not None else {}
        progress = {"state": status.state, "message": status.message, "done": status.done}
        return progress | counts | {"total": len(opened.corpus)}

    def rejects(self, corpus: str) -> Json:
        """List what could not be read or scored."""
        path = self._open(corpus).rejects
        if path is None:
            return {"total": 0, "rows": []}
        table = read_table(path, REJECTS)
        return {"total": table.num_rows, "rows": table.slice(0, _MAX_REJECTS_SHOWN).to_pylist()}

    def select(self, corpus: str, body: _PageBody) -> Json:
        """Return one page of the selected posts, and a summary of all of them."""
        opened = self._open(corpus)
        selection = opened.select(body.filter, body.order)
        rows = selection.rows[body.offset : body.offset + body.limit]
        return {
            "summary": selection.summary,
            "posts": describe_rows(opened.corpus, rows, _CARD_CHARS),
        }

    def post(self, corpus: str, row: int) -> Json:
        """Return one post in full."""
        opened = self._open(corpus)
        _check_row(opened, row)
        (described,) = describe_rows(opened.corpus, np.array([row]), _DETAIL_CHARS)
        return described | {"images": len(opened.images.files(row))}

    def image(
        self, corpus: str, row: int, number: int, size: Literal["small", "large"] = "small"
    ) -> Response:
        """Return one image as JPEG."""
        opened = self._open(corpus)
        _check_row(opened, row)
        side_px = THUMBNAIL_PX if size == "small" else LARGE_PX
        data = opened.images.read(row, number, side_px) if number >= 0 else None
        if data is None:
            raise HTTPException(404)
        return Response(data, media_type="image/jpeg")

    def explain(self, corpus: str, row: int) -> Json:
        """Explain the score of one post, if the student of the page gave it."""
        opened = self._open(corpus)
        _check_row(opened, row)
        scorer, champion = self._session.scorer, opened.corpus.champion
        if champion != scorer.artifact.digest:
            raise InputError(
                "these posts were scored by another model",
                seen=champion[:12],
                allowed=scorer.artifact.digest[:12],
                do="start the page with that one: `postbias app --model`",
            )
        caption = opened.corpus.captions[row].as_py()
        post = PostInput(caption, tuple(opened.images.files(row)))
        return explain_single_post(scorer, post)

    def export(self, corpus: str, body: _ExportBody) -> Json:
        """Write the selected posts to a file, and return the address to download it from."""
        opened = self._open(corpus)
        rows = opened.select(body.filter, body.order).rows
        if not len(rows):
            raise InputError("no post is selected", do="remove a filter")
        name = f"postbias-{len(rows)}-posts.{body.format}"
        return self._write(name, build_export(opened.corpus, rows), opened.rejects)

    def export_rejects(self, corpus: str) -> Json:
        """Write what could not be read or scored to a CSV file."""
        path = self._open(corpus).rejects
        if path is None:
            raise InputError("there are no rejects")
        return self._write("postbias-rejects.csv", read_table(path, REJECTS))

    def _write(self, name: str, table: pa.Table, rejects: Path | None = None) -> Json:
        export = secrets.token_hex(8)
        folder = self._session.scratch / "exports"
        folder.mkdir(exist_ok=True)
        path = folder / f"{export}{Path(name).suffix}"
        write_export(table, path, rejects)
        self._exports[export] = path
        return {"address": f"/api/exports/{export}/{name}", "name": name, "rows": table.num_rows}

    def download(self, export: str, name: str) -> FileResponse:
        """Send an export once, and delete it."""
        path = self._exports.pop(export, None)
        if path is None:
            raise HTTPException(404)
        return FileResponse(
            path,
            media_type=_MEDIA_TYPES[path.suffix],
            filename=f"{Path(name).stem}{path.suffix}",
            background=BackgroundTask(path.unlink, missing_ok=True),
        )

    def _open(self, corpus: str) -> OpenCorpus:
        return self._session.library.open(corpus)


def _check_row(opened: OpenCorpus, row: int) -> None:
    if not 0 <= row < len(opened.corpus):
        raise HTTPException(404)
