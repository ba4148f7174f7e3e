"""The worker process that decodes untrusted files: mutants, crashes, hangs, invalid replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.video_files import (
    KINDS,
    make_heif,
    make_video,
)

from postbias.posts.file_kinds import recognise_kind
from postbias.posts.importers.media_converter import MediaConverter
from postbias.posts.importers.records import ImportedPost, MediaFile
from postbias.posts.reasons import RejectReason


def _convert(converter: MediaConverter, data: bytes) -> ImportedPost:
    kind = recognise_kind(data)
    assert kind is not None
    post = ImportedPost("1", "a", "c", "s", "p", (MediaFile(data, "v.mp4", kind),))
    converted = converter.convert(post)
    assert isinstance(converted, ImportedPost)
    assert converted.images or converted.image_faults
    assert all(isinstance(fault.reason, RejectReason) for fault in converted.image_faults)
    return converted


def _mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes after the first 12, cut, repeat or remove a range."""
    mutant = bytearray(data)
    for _ in range(int(rng.integers(1, 21))):
        mutant[int(rng.integers(12, len(mutant)))] = int(rng.choice([0, 255, rng.integers(256)]))
    start = int(rng.integers(12, len(mutant)))
    end = min(len(mutant), start + int(rng.integers(1, 201)))
    match int(rng.integers(4)):
        case 0:
            del mutant[start:]
        case 1:
            del mutant[start:end]
        case 2:
            mutant[start:start] = mutant[start:end] * int(rng.integers(1, 6))
    return bytes(mutant)


@pytest.mark.parametrize("kind", ["mp4", "fragmented mp4", "webm", "avi", "10 bit", "heif"])
def test_mutants_end_as_frames_or_counted_faults(kind: str) -> None:
    data = make_heif() if kind == "heif" else make_video(seconds=2, **KINDS[kind])
    rng = np.random.default_rng(len(kind))
    with MediaConverter(timeout_s=60) as converter:
        for _ in range(80):
            _convert(converter, _mutate(data, rng))
        assert _convert(converter, data).images


def test_a_hanging_worker_is_killed_and_the_next_file_is_converted(tmp_path: Path) -> None:
    """The first worker hangs; its replacement is the real one."""
    flag = tmp_path / "hung"
    script = (
        "import pathlib, sys, time\n"
        "from postbias.posts.importers.media_worker import answer_requests\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "if flag.exists(): answer_requests()\n"
        "else:\n"
        "    flag.touch(); print('{\"parts\": []}', flush=True); time.sleep(3600)\n"
    )
    with MediaConverter(timeout_s=20, command=[sys.executable, "-c", script]) as converter:
        late = _convert(converter, make_video())
        assert [fault.reason for fault in late.image_faults] == [RejectReason.TIMEOUT]
        assert "20 s" in late.image_faults[0].detail
        assert len(_convert(converter, make_video()).images) == 4


@pytest.mark.parametrize(
    "script",
    [
        "import os, signal; print('{\"parts\": []}', flush=True); os.kill(os.getpid(), 11)",
        "raise SystemExit(3)",
        "print('not a reply')",
        'print(\'{"parts": [{"size": 5}]}\')',
        'print(\'{"parts": []}\\n{"parts": []}\', flush=True); input(); input()',
        "print('{\"parts\": []}\\n[]', flush=True); input()",
        'print(\'{"parts": []}\\n{"parts": [], "fault": ["no_reason", ""]}\', flush=True)',
    ],
)
def test_a_worker_that_crashes_or_lies_costs_one_file(script: str) -> None:
    with MediaConverter(timeout_s=20, command=[sys.executable, "-c", script]) as converter:
        (fault,) = _convert(converter, make_video()).image_faults
        assert fault.reason == RejectReason.DAMAGED
        assert "the decoder failed" in fault.detail


def test_a_worker_that_always_crashes_is_not_started_for_every_file(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(1)"
    with MediaConverter(command=[sys.executable, "-S", "-c", script]) as converter:
        for _ in range(30):
            assert _convert(converter, make_video(seconds=1)).image_faults
    assert len(starts.read_text()) == 20


def test_a_worker_ends_with_its_parent() -> None:
    """It returns when its input ends."""
    command = [sys.executable, "-m", "postbias.posts.importers.media_worker"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=120, check=True)
    assert json.loads(done.stdout) == {"ready": True, "parts": []}
