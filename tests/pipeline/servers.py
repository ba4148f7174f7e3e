"""Start real servers for tests and stop them with all their child processes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
_START_TIMEOUT_S = 180


@contextmanager
def serving(
    command: list[str], port: int, path: str, log: Path, **environment: str
) -> Iterator[None]:
    """Run a server in a process group of its own, wait until it answers, and end it afterwards."""
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | environment
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=env, stdout=file, stderr=file, start_new_session=True, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _answers(port, path):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def free_port() -> int:
    """Ask the system for a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


@contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """Run moto's S3 server with one bucket, and point the environment of this process at it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # moto accepts any value
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        connection = HTTPConnection(host, port, timeout=30)
        with closing(connection):
            connection.request("PUT", f"/{name}")
            assert connection.getresponse().status == 200
        try:
            yield f"s3://{name}"
        finally:
            server.stop()
