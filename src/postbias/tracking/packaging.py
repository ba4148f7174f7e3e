"""Packaging of an artifact as an MLflow model, without torch and without pickle."""

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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from postbias.errors import ChampionError
from postbias.explanation.faithfulness_verdicts import VERDICTS, read_verdicts
from postbias.json_files import write_json
from postbias.scoring.execution_providers import installed_version
from postbias.scoring.request import answer_row, read_post
from postbias.scoring.scorer import OK, Scorer
from postbias.tracking.database import configure_environment

if TYPE_CHECKING:
    from postbias.scoring.artifact import Artifact
    from postbias.scoring.manifest import Manifest, Precision

#: Requirements of the packaged model; pinned to the versions it was checked with.
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers")

#: Modules that ship with the model: the import closure of `postbias.serving`.
MODULES = (
    "__init__.py",
    "axes.py",
    "errors.py",
    "explanation/__init__.py",
    "explanation/explain.py",
    "explanation/explanation_records.py",
    "explanation/faithfulness_verdicts.py",
    "explanation/image_regions.py",
    "explanation/occlusion.py",
    "explanation/post_variants.py",
    "explanation/text_spans.py",
    "posts/__init__.py",
    "posts/file_kinds.py",
    "posts/heif_images.py",
    "posts/image_preprocessing.py",
    "posts/image_text.py",
    "posts/images.py",
    "posts/language_model.py",
    "posts/languages.py",
    "posts/reasons.py",
    "posts/text_cleaning.py",
    "scoring/__init__.py",
    "scoring/artifact.py",
    "scoring/execution_providers.py",
    "scoring/graphs.py",
    "scoring/image_runs.py",
    "scoring/manifest.py",
    "scoring/manifest_records.py",
    "scoring/post_scores.py",
    "scoring/repeated_inputs.py",
    "scoring/request.py",
    "scoring/request_batches.py",
    "scoring/score_intervals.py",
    "scoring/scorer.py",
    "scoring/text_inputs.py",
    "scoring/text_runs.py",
    "serving.py",
)

#: Path of the artifact inside the package.
STUDENT_PATH = Path("artifacts") / "student"

_PACKAGE = Path(__file__).resolve().parents[1]
_SMOKE_TIMEOUT_S = 300

# A model from code: MLflow executes this file to build the model, so nothing is pickled.
_ENTRY = '''"""Hands the model to MLflow."""

from mlflow.models import set_model
from postbias.serving import PostbiasModel

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


def list_requirements(manifest: Manifest) -> tuple[str, ...]:
    """List the packages that the packaged model of a student needs."""
    needed = {"rapidocr": manifest.ocr, "py3langid": manifest.language_intervals}
    return (*REQUIREMENTS, *(package for package, is_needed in needed.items() if is_needed))


def write_package(artifact: Artifact, dest: Path, *, precision: Precision) -> None:
    """Write an MLflow model that contains an artifact and the code that scores with it.

    Args:
        dest: The folder to create.
        precision: Precision of the graphs to run.
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
        if (verdicts := read_verdicts(artifact)) is not None:
            write_json(student / VERDICTS, verdicts.as_json())
        requirements = list_requirements(artifact.manifest)
        with _without_advice() as mlflow:
            mlflow.pyfunc.save_model(
                path=str(dest),
                python_model=str(entry),
                artifacts={"student": str(student)},
                code_paths=[str(code)],
                pip_requirements=[f"{name}=={installed_version(name)}" for name in requirements],
                model_config={"precision": precision, "threads": None, "device": "cpu"},
                metadata={"artifact_digest": artifact.digest},
            )


def check_package(artifact: Artifact, package: Path, *, precision: Precision) -> None:
    """Check in a separate process that a package returns the scores of its artifact.

    Args:
        artifact: The artifact that was packaged.
        package: The folder written by `write_package`.
        precision: Precision of the graphs to run.

    Raises:
        ChampionError: If the package cannot be loaded, scores nothing, or scores differently.
    """
    rows = _smoke_rows()
    with Scorer.open(artifact.folder, precision=precision) as scorer:
        scores = scorer.score([read_post(row) for row in rows])
        expected = [answer_row(scorer.axes, score) for score in scores]
    answer = _ask(package, rows)
    if answer != expected:
        raise ChampionError("the packaged model and its artifact return different scores")
    if not any(row["status"] == OK for row in answer):
        raise ChampionError("the packaged model scores none of the test posts")


@contextmanager
def _without_advice() -> Iterator[Any]:
    """Import mlflow.pyfunc and silence its advice to add a signature."""
    # With a signature, MLflow drops unknown columns silently and its errors repeat the input.
    configure_environment()
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
    # -I: the working folder and PYTHONPATH must not shadow the packaged modules. -B: no bytecode
    # is added to the package.
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
        raise ChampionError(f"the packaged model cannot be loaded: {last}") from error
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise ChampionError(
            f"the packaged model returns no scores: {type(error).__name__}"
        ) from error
    return answer


def _smoke_rows() -> list[dict[str, Any]]:
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    caption = "She leads the team, he brings the coffee."
    return [{"caption": caption}, {"image": image}, {"caption": caption, "images": [image, image]}]
