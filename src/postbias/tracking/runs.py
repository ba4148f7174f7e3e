"""The one door to MLflow: one run per executed stage, and reports as files.

`stage_run` is what every stage script stands in: it loads params and paths, sets logging up, opens
the MLflow run, turns a `PostbiasError` into one line and exit code 1, and links the run to DVC by
the digests of what the stage read and wrote. Everything of MLflow lies under `mlruns/`, which is a
memory that `postbias sync` can make again. Knows nothing of the stages and of the registry.
"""

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
from typing import TYPE_CHECKING, NoReturn

from postbias.errors import PostbiasError, StorageError, TrackingError
from postbias.params import Params, flatten, load_params
from postbias.paths import Paths
from postbias.tracking.database import connect, place
from postbias.tracking.dvc_records import current_record, git_state
from postbias.tracking.run_logging import log_params, log_recorded, matrix_value, stage_tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class StageRun:
    """One stage being executed, and the MLflow run that remembers it.

    Attributes:
        name: The stage, `train@fusion` in a matrix.
        paths: Where things lie.
        params: The checked parameters.
        run_id: MLflow's id of the run; never written into a DVC output. Empty in a process that
            only helps the first one of `torchrun`.
    """

    name: str
    paths: Paths
    params: Params
    run_id: str

    @property
    def is_first(self) -> bool:
        """Whether this process writes: the only one, or the first of `torchrun`."""
        return bool(self.run_id)

    @property
    def modality(self) -> str | None:
        """The matrix value of the stage (`fusion` of `train@fusion`), if it has one."""
        return matrix_value(self.name)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; those that are not finite are left out.

        Args:
            metrics: Number by name.
            step: Epoch or other step, for a curve.
        """
        import mlflow

        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        mlflow.log_metrics(finite, step=step)

    @contextmanager
    def seed_log(self, seed: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        """Open the log of one seed's training: a nested run, if there are several seeds.

        Args:
            seed: The seed.

        Yields:
            What logs the metrics of an epoch.
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

    def log_figure(self, figure: Figure, name: str) -> None:
        """Keep a figure with the run.

        Args:
            figure: A matplotlib figure.
            name: File name, with the format as its ending.
        """
        import mlflow

        mlflow.log_figure(figure, name)

    def log_text(self, text: str, name: str) -> None:
        """Keep a text with the run.

        Args:
            text: What to keep.
            name: File name.
        """
        import mlflow

        mlflow.log_text(text, name)

    def log_table(self, rows: Sequence[Mapping[str, object]], name: str) -> None:
        """Keep a table with the run; MLflow shows it.

        Args:
            rows: One mapping per row.
            name: File name, ending in `.json`.
        """
        import mlflow
        import pandas as pd

        mlflow.log_table(pd.DataFrame(list(rows)), name)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Tag the run.

        Args:
            tags: Value by name; values are kept as text.
        """
        import mlflow

        mlflow.set_tags(dict(tags))


@contextmanager
def stage_run(name: str) -> Iterator[StageRun]:
    """Run a stage inside an MLflow run.

    Args:
        name: The stage; in a matrix DVC's `DVC_STAGE` says which one exactly.

    Yields:
        The run, with params and paths.

    Raises:
        SystemExit: With code 1 and one line on stderr after a `PostbiasError` or when the disk is
            full or not writable; with 130 after Ctrl-C and 143 after SIGTERM.
    """
    stage = os.environ.get("DVC_STAGE", name)
    configure_logging()
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        paths = Paths.find()
        params = load_params(paths.params)
        if not (is_first := os.environ.get("RANK", "0") == "0"):
            configure_logging(logging.WARNING)
        with _open_run(paths, stage, params) if is_first else nullcontext("") as run_id:
            yield StageRun(stage, paths, params, run_id)
    except PostbiasError as error:
        _stop(stage, error, code=1)
    except KeyboardInterrupt as error:
        _stop(stage, "interrupted; run it again to go on", code=143 if error.args else 130)
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        where = f" {error.filename}" if error.filename else ""
        _stop(stage, StorageError(f"cannot write{where}: {error.strerror}"), code=1)
    finally:
        signal.signal(signal.SIGTERM, before)


def configure_logging(level: int = logging.INFO) -> None:
    """Send log lines to stderr; other packages only speak up to warn.

    Args:
        level: From which level on postbias speaks.
    """
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
            f"MLflow cannot remember this run: {str(error).splitlines()[0]}",
            do=f"see that {place(paths)} can be reached and written, then run it again",
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
        log_params(run.info.run_id, flatten(params))
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


def _cost(started: float) -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cost.wall_s": time.monotonic() - started,
        "cost.cpu_s": usage.ru_utime + usage.ru_stime,
        # Linux counts kilobytes, macOS bytes.
        "cost.peak_rss_mb": usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2),
    }


def _stop(stage: str, why: object, *, code: int) -> NoReturn:
    print(f"{stage}: {why}", file=sys.stderr)  # noqa: T201 - the one line that the user sees
    raise SystemExit(code)


def _on_sigterm(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(signal.SIGTERM)
