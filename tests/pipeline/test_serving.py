"""The registered model behind a real `mlflow models serve`, and in a separate environment."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.pipeline.servers import BIN, free_port, serving
from tests.tiny_artifact import write_tiny_artifact

from postbias.paths import Paths
from postbias.scoring.request import MAX_BODY_BYTES, MAX_ROWS
from postbias.tracking.database import connect, database
from postbias.tracking.packaging import MODULES, write_package
from postbias.tracking.registry import champion_artifact, register_champion

JSON = "application/json"
SECRET = "a-secret-of-the-client"  # noqa: S105 - what must not come back


def _image() -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 90)).save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode()


IMAGE = _image()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlruns_template: Path) -> Paths:
    """A checkout whose registered champion is a tiny fusion student."""
    root = tmp_path_factory.mktemp("serving")
    shutil.copytree(mlruns_template, root / "mlruns")
    paths = Paths(root, root)
    write_tiny_artifact(paths.champion)
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    run = MlflowClient().create_run(experiment_id, run_name="evaluate")
    register_champion(paths, run.info.run_id)
    return paths


@pytest.fixture(scope="module")
def model(home: Paths) -> Path:
    """The registered model's folder."""
    return champion_artifact(home).parents[1]


@pytest.fixture(scope="module")
def server(home: Paths) -> Iterator[int]:
    """A server of it, started as `make serve` does."""
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", "models:/postbias@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    uri = f"sqlite:///{database(home)}"
    with serving(command, port, "/ping", home.root / "log", MLFLOW_TRACKING_URI=uri):
        yield port


def _post(port: int, body: bytes, content_type: str | None = JSON) -> tuple[int, str]:
    headers = {} if content_type is None else {"Content-Type": content_type}
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/invocations", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _score(server: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    status, text = _post(server, json.dumps({"dataframe_records": rows}).encode())
    assert status == 200, text
    predictions: list[dict[str, Any]] = json.loads(text)["predictions"]
    return predictions


def test_a_caption_an_image_and_both_are_scored(server: int) -> None:
    rows = _score(
        server,
        [
            {"caption": "hello"},
            {"image": IMAGE},
            {"caption": "hello", "images": [IMAGE, IMAGE]},
        ],
    )
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert [row["modalities"] for row in rows] == ["text", "image", "image+text"]
    assert [row["n_images"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["bias_lo"] <= row["bias"] <= row["bias_hi"]
        assert row["band"] in {"low", "moderate", "high"}


def test_every_accepted_shape_gives_the_same_answer(server: int) -> None:
    rows = [{"caption": "one"}, {"caption": "two"}]
    expected = _score(server, rows)
    shapes = [
        ({"inputs": rows}, JSON),
        ({"dataframe_split": {"columns": ["caption"], "data": [["one"], ["two"]]}}, JSON),
    ]
    for body, content_type in shapes:
        status, text = _post(server, json.dumps(body).encode(), content_type)
        assert (status, json.loads(text)["predictions"]) == (200, expected)
    status, text = _post(server, b"caption\none\ntwo\n", "text/csv")
    assert (status, json.loads(text)["predictions"]) == (200, expected)


def test_a_bad_row_does_not_affect_the_other_rows(server: int) -> None:
    bad = [{"image": SECRET}, {"caption": None}, {"image": base64.b64encode(b"x").decode()}]
    alone = _score(server, [{"caption": "good"}])[0]
    rows = _score(server, [*bad, {"caption": "good"}])
    assert [row["status"] for row in rows] == ["broken_row", "no_content", "unreadable", "ok"]
    assert rows[-1] == alone
    assert all(row["bias"] is None and row["detail"] for row in rows[:-1])


def test_a_row_that_asks_for_it_is_explained(server: int) -> None:
    post = {"caption": "real men lift", "image": IMAGE}
    plain = _score(server, [post])[0]
    rows = _score(
        server,
        [
            {**post, "explain": True},
            {**post, "explain": False},
            {"explain": True},
            {**post, "explain": "yes"},
        ],
    )
    explanation = rows[0].pop("explanation")
    assert rows[0] == plain
    assert [word["text"] for word in explanation["words"]] == ["real", "men", "lift"]
    assert {region["image"] for region in explanation["regions"]} == {0}
    assert sum(explanation["shares"].values()) == pytest.approx(plain["bias"], abs=1e-3)
    assert explanation["n_calls"] <= 60
    assert [row.get("explanation") for row in rows[1:]] == [None] * 3
    assert [row["status"] for row in rows] == ["ok", "ok", "no_content", "broken_row"]
    assert rows[3]["detail"] == "explain is str, not true or false"
    assert "explanation" not in plain


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"{" + SECRET.encode(), JSON, "not JSON"),
        (b"\xff\xfe\x00", JSON, "not UTF-8"),
        (b"", JSON, "not JSON"),
        (b"{}", JSON, "invalid structure"),
        (b"[1, 2]", JSON, "invalid structure"),
        (b"5", JSON, "invalid structure"),
        (b'{"dataframe_records": []}', JSON, "no rows"),
        (b'{"dataframe_records": 5}', JSON, "invalid structure"),
        (b'{"dataframe_records": [{}]}', JSON, "no columns"),
        (b'{"dataframe_records": [{"a-secret-of-the-client": 1}]}', JSON, "1 unknown column"),
        (b'{"dataframe_split": {"data": [["a-secret-of-the-client"]]}}', JSON, "unknown column"),
        (b'{"inputs": "a-secret-of-the-client"}', JSON, "not a table"),
        (b'{"instances": [{"caption": "a"}, {"image": "b"}]}', JSON, "not a table"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', JSON, "not a table"),
        (b'{"dataframe_records": [{"caption": "x"}]}', None, "Content-Type"),
        (b"a-secret-of-the-client", "application/vnd.apache.parquet", "invalid structure"),
        (b'caption\n"a-secret-of-the-client', "text/csv", "invalid structure"),
    ],
)
def test_a_bad_request_is_a_400_that_states_only_the_reason(
    server: int, body: bytes, content_type: str | None, why: str
) -> None:
    status, text = _post(server, body, content_type)
    assert status == 400
    answer = json.loads(text)
    assert why in answer["message"]
    assert set(answer) == {"error_code", "message"}
    assert SECRET not in text
    assert "Traceback" not in text
    assert str(BIN.parent) not in text


def test_oversized_requests_are_refused(server: int) -> None:
    rows = json.dumps({"dataframe_records": [{"caption": "x"}] * (MAX_ROWS + 1)}).encode()
    status, text = _post(server, rows)
    assert (status, "too many rows" in text) == (400, True)
    status, text = _post(server, b" " * (MAX_BODY_BYTES + 1))
    assert (status, "send fewer posts" in text) == (400, True)


def test_twenty_concurrent_clients_get_their_own_answers(server: int) -> None:
    posts = [{"caption": f"post number {n}", "image": IMAGE} for n in range(20)]
    alone = [_score(server, [post])[0] for post in posts]
    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(lambda post: _score(server, [post])[0], posts))
    assert together == alone


def test_the_model_contains_every_module_that_it_imports(model: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import postbias.serving, json;"
        "print(json.dumps([m for m in sys.modules if m.partition('.')[0] in"
        " ('postbias', 'torch', 'transformers', 'pyarrow', 'pydantic', 'psutil')]))"
    )
    command = [sys.executable, "-I", "-c", code, str(model / "code")]
    loaded = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    ours = {name for name in loaded if name.startswith("postbias")}
    packed = {
        f"postbias.{name}".removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name in MODULES
    }
    assert ours == packed
    assert not {"torch", "transformers"} & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("by_language", [False, True])
def test_the_model_loads_where_only_its_requirements_are_installed(
    model: Path, tmp_path: Path, by_language: bool
) -> None:
    if by_language:
        artifact = write_tiny_artifact(tmp_path / "student", by_language=True)
        model = tmp_path / "model"
        write_package(artifact, model, precision="int8")
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    requirements = str(model / "requirements.txt")
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    install = ["uv", "pip", "install", "-q", "--python", str(python), "-r", requirements]
    subprocess.run(install, check=True, env=os.environ | {"UV_LINK_MODE": "hardlink"})
    code = (
        "import sys, json, importlib.util, mlflow.pyfunc\n"
        "assert not importlib.util.find_spec('torch')\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(model.predict(json.load(sys.stdin))))\n"
    )
    caption = "She leads the team every morning."
    rows = json.dumps([{"caption": caption}, {"image": IMAGE}, {"image": "?"}])
    command = [str(python), "-I", "-W", "ignore", "-c", code, str(model)]
    answer = subprocess.run(command, input=rows, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    assert [row["status"] for row in found] == ["ok", "ok", "broken_row"]
    width = 0.5 if by_language else 2.0
    ends = max(0, found[0]["bias"] - width), min(10, found[0]["bias"] + width)
    assert (found[0]["bias_lo"], found[0]["bias_hi"]) == pytest.approx(ends, abs=1e-4)
