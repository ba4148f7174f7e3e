"""The MLflow tracking database of a repository: its location, creation and repair."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from postbias.errors import TrackingError

if TYPE_CHECKING:
    from postbias.paths import Paths

logger = logging.getLogger(__name__)

EXPERIMENT = "postbias"
# Seconds between samples of CPU, memory and disk use while a stage runs.
SYSTEM_METRICS_EVERY_S = 2

# Shown above the runs in the UI; Markdown.
_DESCRIPTION = """\
One run per executed DVC stage; `train@fusion`, `train@text` and `train@image` are the students.

- **Compare students:** open the URL that `make ui` prints, or filter by `tags.stage = 'train'`. \
`test.<axis>.<metric>` are measured on the test fold with the int8 model that ships; \
`valid_*` and `train_loss` are learning curves.
- **Parameters** are those that the stage depends on (`dvc.yaml`), so runs with different \
parameters computed different things.
- **Tags** `dvc.deps.*` and `dvc.outs.*` are the digests recorded in `dvc.lock`; `git.commit` and \
`git.dirty` identify the code; `restored` marks runs that `postbias sync` rebuilt from `dvc.lock`.
- The registered model `postbias` holds the champion: the student that passed the gate.
"""

_EXPERIMENT_TAGS = {
    "mlflow.note.content": _DESCRIPTION,
    # The UI opens the experiment with the menu for model training instead of that for agents.
    "mlflow.experimentKind": "custom_model_development",
}

# Columns of MLflow's tables that hold absolute locations.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def tracking_uri(paths: Paths) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the URI of the database under `mlruns/`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database(paths)}"


def database(paths: Paths) -> Path:
    """Return the path of the SQLite file under `mlruns/`, whether or not it exists."""
    return paths.mlruns / "mlflow.db"


def uses_own_database(paths: Paths) -> bool:
    """Check whether the tracking URI, however it is spelled, means `database(paths)`."""
    scheme, _, file = tracking_uri(paths).partition(":///")
    return scheme == "sqlite" and Path(file).resolve() == database(paths).resolve()


def describe_location(paths: Paths) -> str:
    """Describe where runs are stored, for messages."""
    # Not the URI: it may contain a password.
    return str(database(paths)) if uses_own_database(paths) else "the MLFLOW_TRACKING_URI server"


def connect(paths: Paths) -> str:
    """Point MLflow at this repository's database and create it on first use.

    Returns:
        The experiment id.

    Raises:
        TrackingError: If the database cannot be opened.
    """
    configure_environment()
    import mlflow
    from filelock import FileLock
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(paths)
    paths.mlruns.mkdir(parents=True, exist_ok=True)
    is_own = uses_own_database(paths)
    try:
        # Two processes that create the database at the same time crash in each other's migrations.
        with FileLock(paths.mlruns / ".lock"):
            if is_own and database(paths).exists():
                _rewrite_locations(paths)
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            return _open_experiment(_artifacts(paths) if is_own else None)
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        raise TrackingError(
            f"MLflow cannot open {describe_location(paths)}: {str(error).splitlines()[0]}",
            do="if it is damaged, move mlruns/ away and run `postbias sync` to rebuild it",
        ) from error


def configure_environment() -> None:
    """Set the environment variables that MLflow reads on import: no telemetry, few messages."""
    every_s = str(SYSTEM_METRICS_EVERY_S)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", every_s)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def _open_experiment(artifact_location: str | None) -> str:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        experiment_id = str(client.create_experiment(EXPERIMENT, artifact_location))
    else:
        experiment_id = str(experiment.experiment_id)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment_id)
    tags = {} if experiment is None else experiment.tags
    for name, value in _EXPERIMENT_TAGS.items():
        if tags.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)
    return experiment_id


def _artifacts(paths: Paths) -> str:
    return (paths.mlruns / "artifacts").as_uri()


def _rewrite_locations(paths: Paths) -> None:
    """Rewrite absolute locations after the checkout was moved or copied."""
    with closing(sqlite3.connect(database(paths))) as connection:
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        old, new = row[0] if row else None, _artifacts(paths)
        if old is None or old == new:
            return
        logger.info("mlruns/ was created at %s: rewriting its absolute paths", old)
        with connection:
            for table, column in _LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - constants
                    f"WHERE substr({column} || '/', 1, ?) = ? || '/'",
                    (new, len(old) + 1, len(old) + 1, old),
                )
