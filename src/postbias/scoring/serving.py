"""The registered model: an MLflow pyfunc around a `Scorer`.

`mlflow models serve` loads it and hands it each request; MLflow's own server is hardened first,
because it answers some garbage with a stack trace, with the input itself or with a 500. One model
object serves all threads of the server. Its own environment holds no torch. Shipped inside the
registered model: the only MLflow in `postbias.scoring`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from postbias.scoring.request import (
    MAX_BODY_BYTES,
    RequestFaultError,
    RowFaultError,
    answer_row,
    read_post,
    read_rows,
)
from postbias.scoring.scorer import PostInput, Scorer

logger = logging.getLogger(__name__)

#: Key of the artifact folder among the model's artifacts.
STUDENT = "student"

_SERVER = "mlflow.pyfunc.scoring_server"
_EXPECTED = (
    "expected a JSON object with dataframe_records, dataframe_split or inputs; see docs/serving.md"
)


class RefusedError(MlflowException):
    """What the client is told, and nothing else.

    MLflow puts the input in front of `message` and appends stack traces to other exceptions; the
    answer is built from `reason` alone.
    """

    def __init__(self, reason: str, error_code: int = BAD_REQUEST) -> None:
        """Remember the reason.

        Args:
            reason: One line that repeats nothing of the request.
            error_code: MLflow's code; it decides the HTTP status.
        """
        super().__init__(reason, error_code=error_code)
        self.reason = reason

    def serialize_as_json(self) -> str:
        """Give the body of the HTTP answer.

        Returns:
            JSON with `error_code` and `message`.
        """
        return json.dumps({"error_code": self.error_code, "message": self.reason})


class PostbiasModel(PythonModel):
    """Scores a table of posts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the student; MLflow calls this once.

        Args:
            context: Holds the path of the artifact and the model's configuration.
        """
        config = context.model_config or {}
        self.scorer = Scorer.open(
            Path(context.artifacts[STUDENT]),
            precision=config.get("precision", "int8"),
            threads=int(config.get("threads") or _threads()),
            device=config.get("device") or "cpu",
        )
        harden_server()

    def predict(
        self,
        context: Any,  # noqa: ANN401, ARG002 - MLflow's signature
        # MLflow warns of any other hint; what comes is checked by `read_rows`.
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> list[dict[str, Any]]:
        """Score a table of posts.

        Args:
            context: Not used: the model is loaded once.
            model_input: A DataFrame or a list of mappings with `caption`, `image`, `images`.
            params: Not used: what changes a score is fixed with the model.

        Returns:
            One mapping per row, in order; see `postbias.scoring.request.answer_row`.

        Raises:
            RefusedError: If the request as a whole cannot be answered.
        """
        try:
            rows = read_rows(model_input)
        except RequestFaultError as error:
            raise RefusedError(str(error)) from error
        faults: dict[int, RowFaultError] = {}
        posts: dict[int, PostInput] = {}
        for position, row in enumerate(rows):
            try:
                posts[position] = read_post(row)
            except RowFaultError as error:
                faults[position] = error
        try:
            scores = dict(zip(posts, self.scorer.score(list(posts.values())), strict=True))
        except Exception as error:
            logger.exception("scoring failed")
            raise RefusedError("the scorer failed; see the server's log", INTERNAL_ERROR) from error
        results = scores | faults
        return [answer_row(self.scorer.axes, results[position]) for position in range(len(rows))]


def _threads() -> int:
    """Give one more than there are cores: it works while another waits for Python's lock."""
    return 1 + (os.cpu_count() or 1)


def harden_server() -> None:
    """Make MLflow's scoring server refuse bad requests in one line, if it runs in this process.

    Its one function for `/invocations` is wrapped, once. Should a later MLflow not have it, scoring
    goes on unhardened and says so.
    """
    server = sys.modules.get(_SERVER)
    if server is None:
        return
    invocations = getattr(server, "invocations", None)
    if invocations is None:
        logger.warning("MLflow's scoring server has changed: its error messages are not cleaned")
    elif not hasattr(invocations, "__wrapped__"):
        server.invocations = _hardened(invocations)  # type: ignore[attr-defined] # a function of it


def _hardened(invocations: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(invocations)
    def wrapper(data: bytes, content_type: str | None, *args: Any) -> Any:  # noqa: ANN401 - MLflow's
        if not content_type:
            raise RefusedError("no Content-Type header; send application/json")
        if len(data) > MAX_BODY_BYTES:
            raise RefusedError(f"the request is over {MAX_BODY_BYTES} bytes; send fewer posts")
        try:
            return invocations(data, content_type, *args)
        except RefusedError:
            raise
        except MlflowException as error:
            raise RefusedError(_why(error)) from error
        except Exception as error:
            logger.warning("refused a request that MLflow cannot parse: %s", type(error).__name__)
            raise RefusedError(f"the request cannot be parsed; {_EXPECTED}") from error

    return wrapper


def _why(error: MlflowException) -> str:
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        return f"the body is no JSON: {cause.msg} at character {cause.pos}; {_EXPECTED}"
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not UTF-8; {_EXPECTED}"
    return f"the request has another form than agreed; {_EXPECTED}"
