"""The registered model: an MLflow pyfunc that scores posts, without torch.

`mlflow models serve` loads it; one model object serves all threads of the server.
"""

# Ships inside the registered model.

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from postbias.explanation.explain import explain_post
from postbias.explanation.faithfulness_verdicts import read_verdicts
from postbias.scoring.request import (
    EXPLAIN,
    MAX_BODY_BYTES,
    RequestFaultError,
    RowFaultError,
    answer_row,
    read_post,
    read_rows,
    wants_explanation,
)
from postbias.scoring.request_batches import RequestBatcher
from postbias.scoring.scorer import PostInput, Scorer

logger = logging.getLogger(__name__)

#: Key of the artifact folder among the model's artifacts.
STUDENT = "student"

#: After this time no further post of a request is explained; the server gives up after 60 s.
EXPLAIN_LIMIT_S = 30.0

_SERVER = "mlflow.pyfunc.scoring_server"
_EXPECTED = (
    "expected a JSON object with dataframe_records, dataframe_split or inputs; see docs/serving.md"
)


class RefusedError(MlflowException):
    """An error whose response contains the reason only.

    MLflow prepends the input to `message`, and appends stack traces to other exceptions.
    """

    def __init__(self, reason: str, error_code: int = BAD_REQUEST) -> None:
        """Store the reason.

        Args:
            reason: One line without content of the request.
            error_code: MLflow's error code, which determines the HTTP status.
        """
        super().__init__(reason, error_code=error_code)
        self.reason = reason

    def serialize_as_json(self) -> str:
        """Return the body of the HTTP response: JSON with `error_code` and `message`."""
        return json.dumps({"error_code": self.error_code, "message": self.reason})


class PostbiasModel(PythonModel):
    """Scores a table of posts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the student; called once by MLflow.

        Args:
            context: The path of the artifact and the model's configuration.
        """
        config = context.model_config or {}
        self.scorer = Scorer.open(
            Path(context.artifacts[STUDENT]),
            precision=config.get("precision", "int8"),
            threads=int(config.get("threads") or _threads()),
            device=config.get("device") or "cpu",
        )
        self.batcher = RequestBatcher(self.scorer, max_batches=os.cpu_count() or 1)
        self.verdicts = read_verdicts(self.scorer.artifact)
        harden_server()

    def predict(
        self,
        context: Any,  # noqa: ANN401, ARG002 - MLflow's signature
        # MLflow warns about any other type hint; `read_rows` checks the actual type.
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> list[dict[str, Any]]:
        """Score a table of posts.

        Args:
            context: Not used.
            model_input: A DataFrame or a list of mappings with `caption`, `image`, `images` and
                `explain`.
            params: Not used: no setting of a request may affect scores.

        Returns:
            One mapping per row, in order; see `postbias.scoring.request.answer_row`. With a column
            `explain`, each has the key `explanation`: null unless the row asked for it.

        Raises:
            RefusedError: If the request as a whole is invalid.
        """
        stop = time.monotonic() + EXPLAIN_LIMIT_S
        try:
            rows = read_rows(model_input)
        except RequestFaultError as error:
            raise RefusedError(str(error)) from error
        faults: dict[int, RowFaultError] = {}
        posts: dict[int, PostInput] = {}
        explained: list[int] = []
        for position, row in enumerate(rows):
            try:
                explained += [position] if wants_explanation(row) else []
                posts[position] = read_post(row)
            except RowFaultError as error:
                faults[position] = error
        try:
            scores = dict(zip(posts, self.batcher.score(list(posts.values())), strict=True))
            explanations = {i: self._explain(posts[i], stop) for i in explained if i in posts}
        except Exception as error:
            logger.exception("scoring failed")
            raise RefusedError("the scorer failed; see the server's log", INTERNAL_ERROR) from error
        results = scores | faults
        answers = [answer_row(self.scorer.axes, results[position]) for position in range(len(rows))]
        if any(EXPLAIN in row for row in rows):  # then every answer has the key
            for position, answer in enumerate(answers):
                answer["explanation"] = explanations.get(position)
        return answers

    def _explain(self, post: PostInput, stop: float) -> dict[str, Any] | None:
        """Explain a post; None without a score, and only a note if the time is used up."""
        if time.monotonic() > stop:
            note = f"not explained: the request took over {EXPLAIN_LIMIT_S:g} s; send fewer rows"
            return {"notes": [note]}
        explanation = explain_post(self.scorer, post, verdicts=self.verdicts)
        return explanation.as_json() if explanation.is_scored else None


def _threads() -> int:
    # One more than cores: it computes while another thread waits for the GIL.
    return 1 + (os.cpu_count() or 1)


def harden_server() -> None:
    """Make MLflow's scoring server, if it runs in this process, reject bad requests in one line.

    Unwrapped, it answers some invalid requests with a stack trace, with the input or with status
    500. Logs a warning if this MLflow has no function to wrap.
    """
    server = sys.modules.get(_SERVER)
    if server is None:
        return
    invocations = getattr(server, "invocations", None)
    if invocations is None:
        logger.warning(
            "unknown version of MLflow's scoring server: its error messages are not sanitised"
        )
    elif not hasattr(invocations, "__wrapped__"):
        server.invocations = _with_one_line_errors(invocations)  # type: ignore[attr-defined]


def _with_one_line_errors(invocations: Callable[..., Any]) -> Callable[..., Any]:
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
            raise RefusedError(_rejection_reason(error)) from error
        except Exception as error:
            logger.warning("rejected a request that MLflow cannot parse: %s", type(error).__name__)
            raise RefusedError(f"the request cannot be parsed; {_EXPECTED}") from error

    return wrapper


def _rejection_reason(error: MlflowException) -> str:
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        return f"the body is not JSON: {cause.msg} at character {cause.pos}; {_EXPECTED}"
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not UTF-8; {_EXPECTED}"
    return f"the request has an invalid structure; {_EXPECTED}"
