"""Opens MLflow's database: the one place that says where runs and models are remembered.

Everything lies under `mlruns/`. MLflow stores absolute paths, so a checkout that was moved or
copied is put right here when it is next opened. Knows nothing of stages and models.
"""

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
# Seconds between two samples of CPU, memory and disk while a stage runs.
SYSTEM_METRICS_EVERY_S = 2

# Where MLflow's tables hold absolute locations.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def tracking_uri(paths: Paths) -> str:
    """Say where runs are kept.

    Args:
        paths: The repository.

    Returns:
        `MLFLOW_TRACKING_URI` if the user has set it, else the database under `mlruns/`.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database(paths)}"


def database(paths: Paths) -> Path:
    """Give the file of this repository's own runs and models.

    Args:
        paths: The repository.

    Returns:
        The SQLite file, whether it exists or not.
    """
    return paths.mlruns / "mlflow.db"


def uses_own_database(paths: Paths) -> bool:
    """Tell whether runs are kept in `database` and not where the user has said.

    Args:
        paths: The repository.

    Returns:
        Whether they are, by whichever way the URI is written.
    """
    scheme, _, file = tracking_uri(paths).partition(":///")
    return scheme == "sqlite" and Path(file).resolve() == database(paths).resolve()


def place(paths: Paths) -> str:
    """Name where runs are kept, for messages; an address may hold a password.

    Args:
        paths: The repository.

    Returns:
        The database's path, or the name of the variable that says another place.
    """
    return str(database(paths)) if uses_own_database(paths) else "what MLFLOW_TRACKING_URI names"


def connect(paths: Paths) -> str:
    """Point MLflow at this repository's runs; the database is made on first use.

    Args:
        paths: The repository.

    Returns:
        The id of the experiment.

    Raises:
        TrackingError: If the database cannot be opened.
    """
    quiet_mlflow()
    import mlflow
    from filelock import FileLock
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(paths)
    paths.mlruns.mkdir(parents=True, exist_ok=True)
    is_own = uses_own_database(paths)
    try:
        # Two processes that create the database at once crash in each other's migration.
        with FileLock(paths.mlruns / ".lock"):
            if is_own and database(paths).exists():
                _follow_move(paths)
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            experiment = mlflow.get_experiment_by_name(EXPERIMENT)
            if experiment is not None:
                if experiment.lifecycle_stage == "deleted":
                    mlflow.MlflowClient().restore_experiment(experiment.experiment_id)
                return str(experiment.experiment_id)
            location = _artifacts(paths) if is_own else None
            return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location))
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        raise TrackingError(
            f"MLflow cannot open {place(paths)}: {str(error).splitlines()[0]}",
            do="if it is damaged, move mlruns/ away and run `postbias sync`: it is made again",
        ) from error


def quiet_mlflow() -> None:
    """Set what MLflow reads when it is imported: no telemetry, no chatter."""
    every_s = str(SYSTEM_METRICS_EVERY_S)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", every_s)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def _artifacts(paths: Paths) -> str:
    return (paths.mlruns / "artifacts").as_uri()


def _follow_move(paths: Paths) -> None:
    """Rewrite absolute locations after the checkout was moved or copied."""
    with closing(sqlite3.connect(database(paths))) as connection:
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        old, new = row[0] if row else None, _artifacts(paths)
        if old is None or old == new:
            return
        logger.info("mlruns/ was made at %s: its locations are rewritten", old)
        with connection:
            for table, column in _LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - constants
                    f"WHERE substr({column} || '/', 1, ?) = ? || '/'",
                    (new, len(old) + 1, len(old) + 1, old),
                )
