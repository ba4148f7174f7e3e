"""The files and batches API of the test server."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.teacher_model import FakeTeacher

Response = tuple[int, object]


def handle_batches(
    teacher: FakeTeacher, method: str, path: str, query: str, headers: dict[str, str], data: bytes
) -> Response:
    """Answer a request to /files or /batches."""
    _, _, tail = path.partition("/v1/")
    parts = tail.split("/")
    if parts[0] == "files":
        return _files(teacher, method, parts[1:], headers, data)
    if parts[0] == "batches" and method == "POST":
        return _create(teacher, json.loads(data))
    if parts[0] == "batches" and len(parts) > 1:
        batch = teacher.batches.get(parts[1])
        return (200, _poll(teacher, batch)) if batch else (404, {"error": {"message": "none"}})
    if parts[0] == "batches":
        data = [_to_json(batch) for batch in teacher.batches.values()]
        return 200, {"object": "list", "data": data, "has_more": False}
    return 404, {"error": {"message": f"no such path, {query}"}}


def _files(
    teacher: FakeTeacher, method: str, parts: list[str], headers: dict[str, str], data: bytes
) -> Response:
    if method == "POST":
        boundary = re.search(r"boundary=([^;]+)", headers["content-type"])
        assert boundary is not None
        for part in data.split(b"--" + boundary.group(1).strip('"').encode()):
            head, _, content = part.partition(b"\r\n\r\n")
            if b'name="file"' in head:
                file_id = _new_id(teacher, "file")
                teacher.files[file_id] = content.removesuffix(b"\r\n")
                return 200, _file(file_id, len(content))
        return 400, {"error": {"message": "no file"}}
    if parts[0] not in teacher.files:
        return 404, {"error": {"message": "no such file"}}
    if method == "DELETE":
        del teacher.files[parts[0]]
        return 200, {"id": parts[0], "object": "file", "deleted": True}
    return 200, teacher.files[parts[0]]


def _new_id(teacher: FakeTeacher, kind: str) -> str:
    """Return an id that no earlier object had, deleted ones included."""
    return f"{kind}-{next(teacher.ids)}"


def _file(file_id: str, size: int) -> dict[str, Any]:
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": 0,
        "filename": "x.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _create(teacher: FakeTeacher, request: dict[str, Any]) -> Response:
    if not teacher.config.batch_state:
        return 404, {"error": {"message": "no batches here"}}
    batch_id = _new_id(teacher, "batch")
    teacher.batches[batch_id] = {
        "id": batch_id,
        "input_file_id": request["input_file_id"],
        "metadata": request.get("metadata"),
        "polls": 0,
        "status": "in_progress",
        "output_file_id": None,
        "error_file_id": None,
        "errors": None,
    }
    return 200, _to_json(teacher.batches[batch_id])


def _to_json(batch: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in batch.items() if name != "polls"},
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "created_at": 0,
    }


def finish_batches(teacher: FakeTeacher) -> None:
    """Process all batches that are still in progress."""
    for batch in teacher.batches.values():
        while batch["status"] == "in_progress":
            _poll(teacher, batch)


def _poll(teacher: FakeTeacher, batch: dict[str, Any]) -> dict[str, Any]:
    batch["polls"] += 1
    if batch["polls"] >= teacher.config.batch_polls and batch["status"] == "in_progress":
        if teacher.config.batch_state == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "invalid_json_line"}]}
        else:
            _process(teacher, batch)
        batch["status"] = teacher.config.batch_state
    return _to_json(batch)


def _process(teacher: FakeTeacher, batch: dict[str, Any]) -> None:
    done, failed = [], []
    for line in teacher.files[batch["input_file_id"]].splitlines():
        request = json.loads(line)
        question = teacher.question(request["body"])
        share = hashlib.sha256(f"batch{question}".encode()).digest()[0] / 256
        response: dict[str, Any]
        if share < teacher.config.batch_fail_share:
            response = {"status_code": 500, "body": {"error": {"message": "no"}}}
            failed.append({"custom_id": request["custom_id"], "response": response, "error": None})
            continue
        teacher.stats.by_question[question] += 1
        nth = teacher.stats.by_question[question]
        fault = teacher.fault(request["body"], question, nth)
        teacher.stats.sent.setdefault(question, []).append(fault or "ok")
        body = teacher.answer(request["body"], question, nth, fault)
        usage = body["usage"]
        teacher.bill(usage["prompt_tokens"], usage["completion_tokens"], 0.5)
        response = {"status_code": 200, "request_id": "r", "body": body}
        done.append({"custom_id": request["custom_id"], "response": response, "error": None})
    for name, lines in (("output_file_id", done), ("error_file_id", failed)):
        if lines:
            batch[name] = _new_id(teacher, "file")
            content = "\n".join(json.dumps(line) for line in reversed(lines))
            teacher.files[batch[name]] = content.encode()
