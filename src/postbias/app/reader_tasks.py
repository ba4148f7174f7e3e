"""The tasks of the process that reads uploads: `python -m postbias.app.reader_tasks`."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from postbias.app.upload_limits import MAX_READER_BYTES
from postbias.errors import PostbiasError

Json = dict[str, Any]
Report = Callable[[Json], None]


def run_examination(task: Mapping[str, Any], _report: Report) -> Json:
    """Find out what an upload is; see `read_upload`."""
    from postbias.app.upload_reading import read_upload
    from postbias.app.upload_scoring import UploadFiles

    files = UploadFiles(Path(task["folder"]))
    content = read_upload(files.sent, files.unpacked, task["columns"])
    return {
        "layout": content.source.layout,
        "evidence": content.source.evidence,
        "names": list(content.names),
        "columns": dict(content.columns),
        "rows": [dict(row) for row in content.rows],
    }


def run_scoring(task: Mapping[str, Any], report: Report) -> Json:
    """Import and score an upload; see `score_upload`."""
    from postbias.app.upload_scoring import UploadFiles, score_upload
    from postbias.params import DriftParams
    from postbias.scoring.scorer import Scorer

    student = Path(task["student"])
    with Scorer.open(student, threads=task["threads"], device=task["device"]) as scorer:
        files = UploadFiles(Path(task["folder"]))
        drift = None if task["drift"] is None else DriftParams.model_validate(task["drift"])
        return score_upload(files, task["columns"], scorer, report, drift)


def run_topics(task: Mapping[str, Any], report: Report) -> Json:
    """Identify languages and brands of captions; see `write_topics`."""
    from postbias.app.caption_topics import write_topics

    shards = [Path(shard) for shard in task["shards"]]
    brands = None if task["brands"] is None else Path(task["brands"])
    return write_topics(shards, brands, Path(task["output"]), report)


TASKS: Mapping[str, Callable[[Mapping[str, Any], Report], Json]] = {
    "examine": run_examination,
    "score": run_scoring,
    "topics": run_topics,
}


def run_reader_task() -> None:
    """Read a task from stdin, and answer on stdout."""
    _keep_stdout_clean()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task = json.loads(sys.stdin.readline())
    if task.get("device", "cpu") == "cpu":  # drivers of other devices reserve more
        resource.setrlimit(resource.RLIMIT_AS, (MAX_READER_BYTES, MAX_READER_BYTES))
    tempfile.tempdir = None  # read TMPDIR again
    try:
        _send({"result": TASKS[task["task"]](task, _send)})
    except PostbiasError as error:
        _send({"error": str(error)})
    except MemoryError:
        _send({"error": "the files need too much memory; try fewer posts, or save them as CSV"})


def _send(answer: Json) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _keep_stdout_clean() -> None:
    """Send what libraries print to stderr, and only answers to stdout."""
    # Damaged files give lone surrogates, which the page's answers cannot contain.
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)


if __name__ == "__main__":
    run_reader_task()
