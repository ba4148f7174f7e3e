"""MLflow's server function answers any request, or refuses it in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tiny_artifact import write_tiny_artifact


@pytest.fixture(scope="module")
def invocations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The hardened function behind `/invocations`, bound to a tiny student."""
    from mlflow.pyfunc import scoring_server

    from postbias.serving import PostbiasModel, RefusedError

    original = scoring_server.invocations
    folder = tmp_path_factory.mktemp("student") / "student"
    write_tiny_artifact(folder)
    model = PostbiasModel()
    context = SimpleNamespace(artifacts={"student": str(folder)}, model_config=None)
    model.load_context(context)
    served = SimpleNamespace(predict=lambda data: model.predict(None, data), metadata=None)

    def call(body: bytes, kind: str) -> tuple[int, str]:
        try:
            answer = scoring_server.invocations(body, kind, served, None)
        except RefusedError as error:
            return error.get_http_status_code(), error.serialize_as_json()
        return answer.status, answer.response

    yield call
    scoring_server.invocations = original
    model.scorer.close()


_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
_value = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)
_row = st.dictionaries(
    st.sampled_from(["caption", "image", "images", "explain", "other"]),
    _value | st.sampled_from(["QUJD", "=", '["QUJD"]']),
    max_size=4,
)
_split = st.fixed_dictionaries(
    {"columns": st.lists(st.sampled_from(["caption", "image", "x"])), "data": _value}
)
_key = st.sampled_from(["dataframe_records", "inputs", "instances", "dataframe_split", "messages"])
_body = st.one_of(
    st.binary(max_size=60),
    _value.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda key, value: json.dumps({key: value}).encode(),
        _key,
        st.lists(_row, max_size=4) | _value | _split,
    ),
)
_kind = st.sampled_from(
    ["application/json"] * 6
    + ["text/csv", "application/vnd.apache.parquet", "", "application/json; charset=latin1", ";="]
)


@given(body=_body, kind=_kind)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")
def test_every_request_is_answered_or_refused(invocations: Any, body: bytes, kind: str) -> None:
    status, text = invocations(body, kind)
    assert status in {200, 400, 415}
    assert "Traceback" not in text
    if status == 200:
        rows = json.loads(text, parse_constant=_no_constant)["predictions"]
        assert all(row["status"] == "ok" or row["bias"] is None for row in rows)
    else:
        assert "\n" not in text


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_no_post_is_explained_after_the_time_limit(
    invocations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postbias import serving

    body = json.dumps({"inputs": [{"caption": "men lift", "explain": True}] * 3}).encode()
    status, text = invocations(body, "application/json")
    rows = json.loads(text)["predictions"]
    assert (status, [len(row["explanation"]["words"]) for row in rows]) == (200, [2, 2, 2])
    monkeypatch.setattr(serving, "EXPLAIN_LIMIT_S", -1.0)
    status, text = invocations(body, "application/json")
    late = json.loads(text)["predictions"]
    assert status == 200
    for row, before in zip(late, rows, strict=True):
        assert row["bias"] == before["bias"]
        assert list(row["explanation"]) == ["notes"]
        assert "send fewer rows" in row["explanation"]["notes"][0]
