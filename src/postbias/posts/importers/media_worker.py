"""Convert videos and HEIF images to JPEG files: the worker process behind `MediaConverter`.

Reads requests from standard input and writes replies to standard output: a line of JSON, followed
by the bytes that it announces. Files are untrusted and FFmpeg and libheif are large C libraries: in
a process of its own, a file that makes them crash or loop costs itself only.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from postbias.errors import UnreadableImageError
from postbias.posts.file_kinds import FileKind, is_cut_off
from postbias.posts.images import decode_upright
from postbias.posts.reasons import RejectReason

#: Memory of the process; decoding an 8K video takes half of it.
MAX_MEMORY_BYTES = 4 * 2**30

HEIF_JPEG_QUALITY = 92

# The parent kills a worker that is late. If the parent is gone, this ends the worker.
_GRACE_S = 10

Json = dict[str, Any]
Part = tuple[Json, bytes]


def answer_requests() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    # Nothing else may write to the pipe: libraries print warnings.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory()
    _send(replies, {"ready": True}, [])
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        content = sys.stdin.buffer.read(request["size"])
        faulthandler.dump_traceback_later(request["timeout_s"] + _GRACE_S, exit=True)
        fault, parts = _convert(request, content)
        faulthandler.cancel_dump_traceback_later()
        _send(replies, {"fault": fault}, parts)


def _send(replies: BinaryIO, reply: Json, parts: list[Part]) -> None:
    headers = [header | {"size": len(data)} for header, data in parts]
    replies.write(json.dumps(reply | {"parts": headers}).encode() + b"\n")
    replies.writelines(data for _, data in parts)
    replies.flush()


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows; a lower limit is already set
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _convert(request: Json, content: bytes) -> tuple[tuple[str, str] | None, list[Part]]:
    """Convert one file; return a fault or None, and what could be read."""
    kind = FileKind(request["kind"])
    try:
        if not kind.is_video:
            image = decode_upright(content)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=HEIF_JPEG_QUALITY)
            return None, [({}, buffer.getvalue())]
        return _extract(request["file"] or content, kind, request["n_frames"])
    except UnreadableImageError as error:
        return (error.reason, error.detail), []
    except ImportError as error:
        return (RejectReason.MISSING_EXTRA, f"the decoder cannot be imported: {error}"), []
    except MemoryError:
        detail = f"decoding it takes more than {MAX_MEMORY_BYTES} bytes of memory"
        return (RejectReason.TOO_LARGE, detail), []
    except Exception as error:  # FFmpeg's own errors are not the only ones.
        message = " ".join(str(error).split())
        return (RejectReason.DAMAGED, f"{type(error).__name__}: {message}"[:200]), []


def _extract(
    source: str | bytes, kind: FileKind, n_frames: int
) -> tuple[tuple[str, str] | None, list[Part]]:
    from postbias.posts.importers.video_frames import extract_frames

    with Path(source).open("rb") if isinstance(source, str) else io.BytesIO(source) as file:
        is_cut = is_cut_off(file, kind)
    try:
        frames = extract_frames(
            source if isinstance(source, str) else io.BytesIO(source), kind, n_frames
        )
    except UnreadableImageError as error:
        if is_cut and error.reason in {RejectReason.DAMAGED, RejectReason.NO_FRAMES}:
            raise UnreadableImageError(RejectReason.TRUNCATED, error.detail) from error
        raise
    parts = [
        ({"time_s": frame.time_s, "duration_s": 0.0 if is_cut else frame.duration_s}, frame.data)
        for frame in frames
    ]
    if is_cut:
        detail = f"the end of the video is missing; kept {len(frames)} frames of the rest"
        return (RejectReason.TRUNCATED, detail), parts
    return None, parts


if __name__ == "__main__":
    answer_requests()
