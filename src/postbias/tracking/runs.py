"""The context that every stage script runs in: paths, parameters, logging and an MLflow run."""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from postbias.errors import PostbiasError, StorageError, TrackingError
from postbias.params import Params, flatten_params, load_params
from postbias.paths import Paths
from postbias.tracking.database import connect, describe_location
from postbias.tracking.dvc_records import current_record, declared_params, git_state
from postbias.tracking.fork_server import run_in_fork
from postbias.tracking.run_logging import log_params, log_recorded, matrix_value, stage_tags

logger = logging.getLogger(__name__)

_STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage that is being executed, and its MLflow run.

    Attributes:
        name: The stage; `train@fusion` in a matrix.
        paths: Paths of the repository.
        params: The validated parameters.
        run_id: The MLflow run id, which must not be written to a DVC output. Empty in every
            `torchrun` process but the first.
    """

    name: str
    paths: Paths
    params: Params
    run_id: str

    @property
    def is_first(self) -> bool:
        """Whether this process writes results: the only one, or the first one of `torchrun`."""
        return bool(self.run_id)

    @property
    def modality(self) -> str | None:
        """The matrix value of the stage, such as `fusion` in `train@fusion`."""
        return matrix_value(self.name)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the finite ones of these metrics, at a step if they belong to a curve."""
        import mlflow

        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        mlflow.log_metrics(finite, step=step)

    @contextmanager
    def seed_log(self, seed: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        """Log the training of one seed, in a nested run if there are several seeds.

        Yields:
            A function that logs the metrics of an epoch.
        """
        import mlflow

        def log(epoch: int, metrics: Mapping[str, float]) -> None:
            self.log_metrics(metrics, step=epoch)

        if self.params.train.seeds == 1:
            yield log
            return
        tags = {"modality": self.modality or "", "seed": str(seed)}
        name, where = f"{self.name} seed {seed}", mlflow.get_run(self.run_id).info.experiment_id
        with mlflow.start_run(run_name=name, experiment_id=where, nested=True, tags=tags):
            yield log

    def log_image(self, image: bytes, name: str) -> None:
        """Store an encoded image as an artifact of the run, under this file name."""
        import mlflow

        with TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(image)
            mlflow.log_artifact(str(file))

    def log_text(self, text: str, name: str) -> None:
        """Store a text as an artifact of the run, under this file name."""
        import mlflow

        mlflow.log_text(text, name)

    def log_table(self, rows: Sequence[Mapping[str, object]], name: str) -> None:
        """Store a table as an artifact of the run, which the UI can display.

        Args:
            rows: One mapping per row.
            name: File name with the extension `.json`.
        """
        import mlflow
        import pandas as pd

        mlflow.log_table(pd.DataFrame(list(rows)), name)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Tag the run; values are stored as text."""
        import mlflow

        mlflow.set_tags(dict(tags))


@contextmanager
def stage_run(name: str) -> Iterator[StageRun]:
    """Execute a stage inside an MLflow run that is linked to DVC by content digests.

    Below a fork server, the stage is executed by a fork of it, and this process only waits.

    Args:
        name: The stage, used where DVC has not set `DVC_STAGE`.

    Yields:
        The run, with paths and parameters.

    Raises:
        SystemExit: With code 1 and one line on stderr after a `PostbiasError` or when the disk is
            full or read-only; with code 130 after Ctrl-C and 143 after SIGTERM. With the code of
            the fork, if there is one.
    """
    run_in_fork()
    stage = os.environ.get("DVC_STAGE", name)
    configure_stage_logging()
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        paths = Paths.find()
        params = load_params(paths.params)
        if not (is_first := os.environ.get("RANK", "0") == "0"):
            configure_stage_logging(logging.WARNING)
        with _open_run(paths, stage, params) if is_first else nullcontext("") as run_id:
            yield StageRun(stage, paths, params, run_id)
    except PostbiasError as error:
        _stop(stage, error, code=1)
    except KeyboardInterrupt as error:
        _stop(stage, "interrupted; run it again to resume", code=143 if error.args else 130)
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        where = f" {error.filename}" if error.filename else ""
        _stop(stage, StorageError(f"cannot write{where}: {error.strerror}"), code=1)
    finally:
        signal.signal(signal.SIGTERM, before)


def configure_stage_logging(level: int = logging.INFO) -> None:
    """Log to stderr: postbias from this level, other packages from WARNING."""
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("postbias").setLevel(level)


@contextmanager
def _open_run(paths: Paths, stage: str, params: Params) -> Iterator[str]:
    experiment_id = connect(paths)
    from mlflow.exceptions import MlflowException

    try:
        with _active_run(paths, stage, params, experiment_id) as run_id:
            yield run_id
    except MlflowException as error:
        raise TrackingError(
            f"MLflow cannot record this run: {str(error).splitlines()[0]}",
            do=f"check that {describe_location(paths)} is reachable and writable, then retry",
        ) from error


@contextmanager
def _active_run(paths: Paths, stage: str, params: Params, experiment_id: str) -> Iterator[str]:
    import mlflow

    started = time.monotonic()
    run = mlflow.start_run(
        experiment_id=experiment_id,
        run_name=stage,
        tags=stage_tags(stage, None) | git_state(paths),
        log_system_metrics=True,
    )
    status = "FAILED"
    try:
        log_params(run.info.run_id, stage, _params_of(paths, stage, params))
        yield run.info.run_id
        record = current_record(paths, stage)
        mlflow.set_tags(stage_tags(stage, record))
        if record is not None:
            log_recorded(paths, run.info.run_id, record)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except PostbiasError as error:
        mlflow.set_tag("error", str(error))
        raise
    finally:
        mlflow.log_metrics(_cost(started))
        mlflow.end_run(status)


def _params_of(paths: Paths, stage: str, params: Params) -> Mapping[str, object]:
    """Return the parameters that the stage depends on; all of them for a stage unknown to DVC."""
    flat, declared = flatten_params(params), declared_params(paths, stage)
    if declared is None:
        return flat
    prefixes = tuple(f"{key}." for key in declared)
    return {k: v for k, v in flat.items() if k in declared or k.startswith(prefixes)}


def _cost(started: float) -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cost.wall_s": time.monotonic() - started,
        "cost.cpu_s": usage.ru_utime + usage.ru_stime,
        # Linux counts kilobytes, macOS bytes.
        "cost.peak_rss_mb": usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2),
    }


def _stop(stage: str, why: object, *, code: int) -> NoReturn:
    print(f"{stage}: {why}", file=sys.stderr)  # noqa: T201 - the only line that the user sees
    raise SystemExit(code)


def _on_sigterm(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(signal.SIGTERM)
