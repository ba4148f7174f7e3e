"""10,000 random and mutated requests over real HTTP: no 500, no hang, nothing leaks."""

from __future__ import annotations

import base64
import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.pipeline.servers import BIN, free_port, serving
from tests.tiny_artifact import write_tiny_artifact

from postbias.tracking.packaging import write_package

REQUESTS, CLIENTS = 10_000, 8
_ANSWER_TIMEOUT_S = 60
_KINDS = ["application/json"] * 8 + [
    "text/csv", "application/vnd.apache.parquet", "application/jsonlines", "text/plain", "",
    "application/json; charset=latin1", "application/json;;=", "multipart/form-data",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, -1, 1e308, "", " ", "\x00", "\ud800", "../../etc/passwd", "file:///etc/passwd",
    "http://127.0.0.1:1/x.jpg", "=", "QUJD", [], {}, [[]], ["QUJD"], {"a": 1}, "x" * 30_000,
    '["QUJD"]', "[" * 3000, 10**40, "NaN",
]  # fmt: skip


def _seeds() -> list[bytes]:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 90)).save(file, "JPEG")
    image = base64.b64encode(file.getvalue()).decode()
    rows = [{"caption": "hello", "image": image}, {"caption": None, "images": [image] * 2}]
    bodies: list[Any] = [
        {"dataframe_records": rows},
        {"inputs": rows},
        {"instances": rows},
        {"dataframe_split": {"columns": ["caption", "image"], "data": [["a", image]]}},
        {"inputs": {"caption": ["a", "b"]}},
        {"messages": [{"role": "user", "content": "x"}]},
        {"dataframe_records": rows, "params": {"threads": 4}},
    ]
    return [json.dumps(body).encode() for body in bodies] + [b"caption\none\n", b"", b"\x00"]


def _mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Mutate a valid request: its bytes, a value, a key, its length, or all of it."""
    body = bytearray(rng.choice(seeds))
    how = rng.randrange(6)
    if how == 0:
        return rng.randbytes(rng.randrange(200))
    if how == 1:
        for _ in range(rng.randrange(1, 6)):
            if body:
                body[rng.randrange(len(body))] = rng.randrange(256)
        return bytes(body)
    if how == 2:
        start = rng.randrange(len(body) + 1)
        return bytes(body[:start] + body[start + rng.randrange(20) :])
    if how == 3:
        return bytes(body[: rng.randrange(len(body) + 1)])
    if how == 4:
        key = rng.choice(["dataframe_records", "inputs", "instances", "dataframe_split", "x"])
        row = {
            rng.choice(["caption", "image", "images", "y"]): rng.choice(_VALUES)
            for _ in range(rng.randrange(4))
        }
        made = rng.choice(
            [[row], row, [row] * 300, [row, 5], {"columns": ["caption"], "data": row}]
        )
        return json.dumps({key: made}).encode()
    return json.dumps(rng.choice(_VALUES)).encode()


def _faults(port: int, seed: int, count: int) -> tuple[dict[int, int], list[str]]:
    """Send requests; return the number of answers by status, and all faults found."""
    rng, seeds = random.Random(seed), _seeds()  # noqa: S311 - a test's own dice
    statuses: dict[int, int] = {}
    faults: list[str] = []
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWER_TIMEOUT_S)
    with closing(connection):
        for _ in range(count):
            body, kind = _mutated(rng, seeds), rng.choice(_KINDS)
            try:
                connection.request("POST", "/invocations", body, {"Content-Type": kind})
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, HTTPException) as error:
                faults.append(f"{error!r} for {body[:200]!r} {kind}")
                connection.close()
                continue
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if why := _wrong(answer.status, text):
                faults.append(f"{why}: {answer.status} {text[:300]} for {body[:200]!r} {kind}")
    return statuses, faults


def _wrong(status: int, text: str) -> str | None:
    if status not in {200, 400, 415}:
        return "status"
    if any(leak in text for leak in ("Traceback", 'File "', str(BIN.parent), "root:x:")):
        return "leak"
    if status == 200:
        rows = json.loads(text)["predictions"]
        return None if all((row["status"] == "ok") == (row["bias"] is not None) for row in rows) \
            else "score"  # fmt: skip
    if status == 415:  # MLflow's own message, not JSON
        return None if "content type" in text or "only supports UTF-8" in text else "silent"
    return None if json.loads(text)["message"] else "silent"


@pytest.mark.slow
def test_ten_thousand_random_and_mutated_requests_cause_no_500_and_no_hang(tmp_path: Path) -> None:
    write_package(write_tiny_artifact(tmp_path / "student"), tmp_path / "model", precision="int8")
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(tmp_path / "model"), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with (
        serving(command, port, "/ping", tmp_path / "log", MLFLOW_TRACKING_URI=uri),
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        found = list(
            pool.map(lambda seed: _faults(port, seed, REQUESTS // CLIENTS), range(CLIENTS))
        )
    faults = [fault for _, some in found for fault in some]
    assert not faults, "\n".join(faults[:5])
    total: dict[int, int] = {}
    for statuses, _ in found:
        for status, count in statuses.items():
            total[status] = total.get(status, 0) + count
    assert sum(total.values()) == REQUESTS
    assert min(total[200], total[400], total[415]) > 100, total
