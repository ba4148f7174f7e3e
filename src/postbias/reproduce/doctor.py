"""Checks of everything that a pipeline run needs.

The checks only read: nothing is downloaded, written or started, and no secret is shown.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from postbias.errors import PostbiasError
from postbias.params import Params, load_params
from postbias.paths import Paths

#: Space for a run of the demo: its outputs, their copies in DVC's cache and in MLflow.
FREE_BYTES = 2 * 2**30

_TIMEOUT_S = 5.0
# Extras of the package that a run of the pipeline needs.
_EXTRAS = frozenset({"pipeline", "train"})

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        status: `ok`, `warning` (a run can proceed) or `missing` (it cannot).
        what: What was checked.
        seen: What was found.
        do: What to do about it; empty if nothing.
    """

    status: Status
    what: str
    seen: str
    do: str = ""

    def __str__(self) -> str:
        """Format as one line."""
        return f"{self.status:8} {self.what}: {self.seen}" + (f"; {self.do}" if self.do else "")


def examine(paths: Paths) -> Iterator[Finding]:
    """Run all checks and yield each finding as soon as it is known."""
    yield _python()
    yield _packages(paths.root / "requirements.lock")
    yield _disk(paths.root)
    yield _data(paths)
    try:
        params = load_params(paths.params)
    except PostbiasError as error:
        yield Finding("missing", "params.yaml", str(error))
    else:
        yield Finding("ok", "params.yaml", "valid")
        yield _threads(params)
        yield _rubric(paths, params)
        yield from _teacher(paths, params)
        yield from _weights(paths, params)
    yield from _champion(paths)


def _python() -> Finding:
    seen = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding("ok", "Python", seen)
    return Finding("missing", "Python", seen, "use 3.11 or 3.12")


def _packages(lock: Path) -> Finding:
    """Compare the installed packages with the pinned ones, ignoring those of other systems."""
    if not lock.is_file():
        return Finding(
            "warning", "packages", "no requirements.lock", "`git checkout requirements.lock`"
        )
    text = lock.read_text(encoding="utf-8", errors="replace")
    # A package may be pinned several times, once per Python version or system.
    wanted: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^ ;\\\n]+)", text, re.MULTILINE):
        wanted.setdefault(_canonical(name), []).append(version)
    installed = {
        _canonical(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions()
        if found.metadata["Name"]
    }
    if "onnxruntime-gpu" in installed:  # the same modules, with CUDA
        installed["onnxruntime"] = installed["onnxruntime-gpu"]
    known = importlib.metadata.requires("postbias") or []
    needed = {
        _canonical(re.split(r"[^\w.-]", text)[0])
        for text in known
        if (extra := re.search(r"extra == ['\"](\w+)", text)) is None or extra[1] in _EXTRAS
    }
    absent = sorted(name for name in needed & wanted.keys() if name not in installed)
    other = sorted(
        name for name in wanted.keys() & installed.keys() if installed[name] not in wanted[name]
    )
    if absent:
        return Finding(
            "missing", "packages", f"{', '.join(absent)} not installed", "run `make setup`"
        )
    if other:
        seen = ", ".join(f"{n} {installed[n]} instead of {wanted[n][0]}" for n in other[:3])
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        return Finding(
            "warning", "packages", seen + more, "run `make setup` to install the pinned versions"
        )
    return Finding("ok", "packages", "match requirements.lock")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    seen = f"{free / 2**30:.1f} GiB free"
    if free < FREE_BYTES:
        return Finding("warning", "disk", seen, f"free {FREE_BYTES / 2**30:g} GiB or more")
    return Finding("ok", "disk", seen)


def _data(paths: Paths) -> Finding:
    if not any(paths.posts.glob("*.parquet")):
        do = "`dvc pull data.dvc`" if (paths.root / "data.dvc").is_file() else "import posts"
        return Finding("missing", "data", "no post shards in data/posts", do)
    if not (paths.root / "data.dvc").is_file():
        do = "run `dvc add data`, so that runs can be traced to their data"
        return Finding("warning", "data", "not tracked by DVC", do)
    dvc = [sys.executable, "-m", "dvc", "status", "--quiet", "data.dvc"]
    done = subprocess.run(dvc, cwd=paths.root, capture_output=True, check=False)  # noqa: S603 - fixed
    if done.returncode:
        do = "run `dvc add data` if you changed it, `dvc checkout data.dvc` if not"
        return Finding("warning", "data", "data/ does not match data.dvc", do)
    return Finding("ok", "data", "matches data.dvc")


def _threads(params: Params) -> Finding:
    cores = os.cpu_count() or 1
    seen = f"{params.threads} on {cores} core(s)"
    if params.threads > cores:
        do = "lower `threads` (this changes the trained students' bytes), or expect slow runs"
        return Finding("warning", "threads", seen, do)
    return Finding("ok", "threads", seen)


def _rubric(paths: Paths, params: Params) -> Finding:
    from postbias.teacher.rubric import load_rubric

    try:
        return Finding("ok", "rubric", load_rubric(paths.root / params.annotate.rubric).ref)
    except PostbiasError as error:
        return Finding("missing", "rubric", str(error))


def _teacher(paths: Paths, params: Params) -> Iterator[Finding]:
    if params.annotate.teacher == "recorded":
        labels = params.annotate.labels
        if labels is None:
            do = "set it to a CSV or Parquet file"
            yield Finding("missing", "labels", "annotate.labels is not set", do)
        elif not (paths.root / labels).is_file():
            do = "run `dvc pull data.dvc`, or set annotate.labels"
            yield Finding("missing", "labels", f"{labels} does not exist", do)
        else:
            yield Finding("ok", "labels", labels)
        return
    key, url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL", "").strip()
    if key:
        yield Finding("ok", "OPENAI_API_KEY", "set")
    else:
        do = "export it; any text works for a server without authentication"
        yield Finding("missing", "OPENAI_API_KEY", "not set", do)
    if not url:
        yield Finding("ok", "OPENAI_BASE_URL", "not set: using the endpoint of OpenAI")
    yield _endpoint(url or "https://api.openai.com/v1")


def _endpoint(url: str) -> Finding:
    """Open a TCP connection and close it: sends no request and no key."""
    import socket

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
        shown = f"{host}:{port}"  # not the whole URL, which may contain a password
        with closing(socket.create_connection((host, port), timeout=_TIMEOUT_S)):
            return Finding("ok", "endpoint", f"{shown} accepts connections")
    except (KeyError, ValueError):
        do = "set OPENAI_BASE_URL to something like http://localhost:8000/v1"
        return Finding("missing", "endpoint", "OPENAI_BASE_URL is not an HTTP URL", do)
    except OSError as error:
        do = "start the server, or check OPENAI_BASE_URL"
        return Finding("missing", "endpoint", f"{shown}: {error.strerror or error}", do)


def _weights(paths: Paths, params: Params) -> Iterator[Finding]:
    modalities, train = params.train.modalities, params.train
    if {"fusion", "text"} & set(modalities):
        yield _text_weights(paths, train.text_encoder)
    if {"fusion", "image"} & set(modalities):
        yield _image_weights(paths, train.image_encoder, train.image_weights)


def _text_weights(paths: Paths, name: str) -> Finding:
    if name == "scratch":
        return Finding("ok", "text encoder", "scratch: trained from random weights")
    if any((paths.root / name / file).is_file() for file in ("config.json", "modules.json")):
        return Finding("ok", "text encoder", f"folder {name}")
    if _is_in_hub_cache(name):
        return Finding("ok", "text encoder", f"{name}, in the hub cache")
    do = "the stage downloads it; offline, set train.text_encoder to a folder or to scratch"
    return Finding("warning", "text encoder", f"{name} is not on this machine", do)


def _is_in_hub_cache(name: str) -> bool:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return any((hub / f"models--{name.replace('/', '--')}").glob("snapshots/*/*"))


def _image_weights(paths: Paths, name: str, weights: str) -> Finding:
    if weights == "none":
        return Finding("ok", "image encoder", f"{name}, trained from random weights")
    if weights not in ("pretrained", "imagenet"):
        if (paths.root / weights).is_file():
            return Finding("ok", "image encoder", f"{name}, weights from {weights}")
        do = "set train.image_weights to a file, pretrained or none"
        return Finding("missing", "image encoder", f"{weights} does not exist", do)
    if name.startswith("timm/") and _is_in_hub_cache(name):
        return Finding("ok", "image encoder", f"{name}, in the hub cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    if any((torch_home / "hub" / "checkpoints").glob(f"{name}-*.pth")):
        return Finding("ok", "image encoder", f"{name}, ImageNet weights in the torch cache")
    do = "the stage downloads them; offline, set train.image_weights to a file or to none"
    return Finding("warning", "image encoder", "its weights are not on this machine", do)


def _champion(paths: Paths) -> Iterator[Finding]:
    """Check the MLflow database and the champion without creating either."""
    from postbias.tracking.database import database, uses_own_database

    if uses_own_database(paths) and not database(paths).is_file():
        do = "run `make repro`, or `dvc pull` and `postbias sync`"
        yield Finding("warning", "MLflow", "no runs yet", do)
        return
    from postbias.tracking.registry import champion_artifact

    try:
        yield Finding("ok", "champion", f"registered, in {champion_artifact(paths)}")
    except PostbiasError as error:
        yield Finding("warning", "champion", str(error))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
