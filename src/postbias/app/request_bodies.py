"""Read bodies of requests with a limit."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from postbias.app.upload_limits import MAX_REQUEST_BYTES
from postbias.errors import InputError


async def read_json_body(request: Request) -> Any:  # noqa: ANN401 - any JSON
    """Read a body of JSON.

    Args:
        request: The request.

    Raises:
        InputError: If it is too large or no JSON.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise InputError(
                "the images are too large together",
                allowed=f"about {MAX_REQUEST_BYTES * 3 // 4 // 2**20} MiB",
                do="leave some out, or make them smaller",
            )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON") from error
