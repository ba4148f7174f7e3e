"""Packs an artifact as an MLflow model and proves that it answers.

The package holds the artifact, the few modules that scoring needs, and the list of packages to
install: no torch, no pickle. A child process loads it with the packed modules, not with these, and
its scores must be those of the scorer here. Knows nothing of runs, versions and aliases.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from postbias.errors import ChampionError
from postbias.scoring.request import answer_row, read_post
from postbias.scoring.scorer import OK, Scorer
from postbias.tracking.database import quiet_mlflow

if TYPE_CHECKING:
    from postbias.scoring.artifact import Artifact
    from postbias.scoring.manifest import Precision

#: What the packed model needs; pinned to what it was tried with.
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers")

#: The modules that travel with the model: the import closure of `postbias.scoring.serving`.
MODULES = (
    "__init__.py",
    "axes.py",
    "errors.py",
    "posts/__init__.py",
    "posts/images.py",
    "posts/reasons.py",
    "scoring/__init__.py",
    "scoring/artifact.py",
    "scoring/execution_providers.py",
    "scoring/graphs.py",
    "scoring/manifest.py",
    "scoring/post_scores.py",
    "scoring/request.py",
    "scoring/scorer.py",
    "scoring/serving.py",
)

#: Where the artifact lies in the package.
STUDENT_PATH = Path("artifacts") / "student"

_PACKAGE = Path(__file__).resolve().parents[1]
_SMOKE_TIMEOUT_S = 300

# Models from code: MLflow runs this file to get the model object, so nothing is pickled.
_ENTRY = '''"""Hands the model to MLflow."""

from mlflow.models import set_model
from postbias.scoring.serving import PostbiasModel

set_model(PostbiasModel())
'''

_SMOKE = """
import json, sys
from pathlib import Path
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
import postbias
assert Path(postbias.__file__).is_relative_to(Path(sys.argv[1]).resolve()), postbias.__file__
json.dump(model.predict(json.load(sys.stdin)), sys.stdout)
"""


def pack(artifact: Artifact, dest: Path, *, precision: Precision) -> None:
    """Write the MLflow model of an artifact.

    Args:
        artifact: The student.
        dest: The folder to make.
        precision: Which of its graphs run.
    """
    with TemporaryDirectory() as temporary:
        code = Path(temporary) / "postbias"
        for module in MODULES:
            (code / module).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_PACKAGE / module, code / module)
        entry = Path(temporary) / "model.py"
        entry.write_text(_ENTRY, encoding="utf-8")
        student = Path(temporary) / STUDENT_PATH.name
        # A copy: MLflow refuses links, and DVC may have put links here.
        shutil.copytree(artifact.folder, student)
        with _without_advice() as mlflow:
            mlflow.pyfunc.save_model(
                path=str(dest),
                python_model=str(entry),
                artifacts={"student": str(student)},
                code_paths=[str(code)],
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
                model_config={"precision": precision, "threads": None, "device": "cpu"},
                metadata={"artifact_digest": artifact.digest},
            )


def prove(artifact: Artifact, package: Path, *, precision: Precision) -> None:
    """Load a package in a process of its own and compare what it answers.

    Args:
        artifact: The student that was packed.
        package: The folder that `pack` has made.
        precision: Which of its graphs run.

    Raises:
        ChampionError: If it cannot be loaded, answers nothing, or answers otherwise.
    """
    rows = _smoke_rows()
    with Scorer.open(artifact.folder, precision=precision) as scorer:
        scores = scorer.score([read_post(row) for row in rows])
        expected = [answer_row(scorer.axes, score) for score in scores]
    answer = _ask(package, rows)
    if answer != expected:
        raise ChampionError("the packed model scores otherwise than the student it was made of")
    if not any(row["status"] == OK for row in answer):
        raise ChampionError("the packed model scores none of the trial posts")


@contextmanager
def _without_advice() -> Iterator[Any]:
    """Give mlflow, with its advice to add a signature silenced.

    With one, unknown columns would be dropped in silence and errors would repeat the input.
    """
    quiet_mlflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import mlflow.pyfunc

        loggers = [logging.getLogger(f"mlflow.{name}") for name in ("pyfunc", "utils.environment")]
        levels = [each.level for each in loggers]
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield mlflow
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


def _ask(package: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # -I: neither the working folder nor PYTHONPATH may stand in for what was packed. -B: nothing
    # is added to it.
    command = [sys.executable, "-I", "-B", "-W", "ignore", "-c", _SMOKE, str(package)]
    try:
        process = subprocess.run(  # noqa: S603 - our own code, no shell
            command,
            input=json.dumps(rows),
            capture_output=True,
            text=True,
            check=True,
            timeout=_SMOKE_TIMEOUT_S,
        )
        answer: list[dict[str, Any]] = json.loads(process.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise ChampionError(f"the packed model cannot be loaded: {last}") from error
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise ChampionError(f"the packed model does not answer: {type(error).__name__}") from error
    return answer


def _smoke_rows() -> list[dict[str, Any]]:
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    caption = "She leads the team, he brings the coffee."
    return [{"caption": caption}, {"image": image}, {"caption": caption, "images": [image, image]}]
