"""The endpoint teacher against a third-party OpenAI-compatible server.

`transformers serve` runs a tiny Qwen2.5-VL with random weights. Its replies are noise, so each post
must be rejected with the true reason.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.teacher_corpus import make_corpus, make_params, post
from tests.tiny_vision_model import build_tiny_model

from postbias.errors import TeacherError
from postbias.teacher import endpoint_probe
from postbias.teacher.annotate import fill_reply_store
from postbias.teacher.reply_store import ReplyStore

N = 4


@contextmanager
def transformers_serve(model: Path, log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "transformers"),
        *("serve", str(model), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_third_party_server_is_probed_and_its_noise_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = build_tiny_model(tmp_path / "tiny-qwen2.5-vl")
    paths = make_corpus(tmp_path, [post(i) for i in range(N)])
    params = make_params(
        model=str(model),
        max_tokens=24,
        attempts=2,
        images={"max_side_px": 56},
        limits={"timeout_s": 120.0, "concurrency": 2},
    )
    with transformers_serve(model, tmp_path / "serve.log") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(TeacherError, match="the endpoint's replies are not usable"):
            fill_reply_store(paths, params)
        # Continue nevertheless, to test real requests about posts.
        monkeypatch.setattr(endpoint_probe, "_FORMAT_FAILURES", frozenset())
        summary = fill_reply_store(paths, params)
        fill_reply_store(paths, params)
    assert summary.startswith(f"0 of {N} posts are labelled; rejected: ")
    with ReplyStore.open(paths.replies) as store:
        replies = [reply for _, reply in store.iter_replies()]
        ((probe,),) = store.rows("SELECT value FROM facts")
    # The first format: with the check disabled, the probe does not fall back to JSON mode or text.
    assert '"format": "json_schema"' in probe
    assert '"has_logprobs": false' in probe
    assert len(replies) == 2 * N, "retried once, and never after that"
    assert {reply.status for reply in replies} <= {"cut_off", "invalid_reply", "empty_reply"}
    assert all(reply.tokens_in for reply in replies)
    assert all(reply.raw for reply in replies)
