"""A saved view of the MLflow UI that compares the students of the current pipeline.

MLflow stores the state of a shared view as a tag of the experiment and opens it by a URL that names
the tag. The URL therefore stays the same while the runs it shows change with the pipeline.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from postbias.tracking.database import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from postbias.paths import Paths

#: Test metrics shown for each axis, in this order.
METRICS = ("mae", "r2", "spearman", "coverage_90")

_KEY = "students"
_TAG = f"mlflow.sharedViewState.{_KEY}"


def save_view(
    client: MlflowClient, experiment_id: str, run_ids: Iterable[str], axes: Sequence[str]
) -> None:
    """Point the saved view at the runs of these students.

    Args:
        experiment_id: The experiment of the runs.
        run_ids: One run per student.
        axes: Axes to show test metrics of, the main one first.
    """
    columns = [f"metrics.`test.{axis}.{name}`" for axis in axes for name in METRICS]
    chosen = ", ".join(f"'{run_id}'" for run_id in run_ids)
    state = {
        "searchFilter": f"attributes.run_id IN ({chosen})",
        "orderByKey": columns[0],
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": ["params.`modality`", *columns],
    }
    client.set_experiment_tag(experiment_id, _TAG, json.dumps(state))


def view_url(experiment_id: str, *, port: int = 5000) -> str:
    """Build the URL of the saved view in the UI that `make ui` starts.

    Args:
        experiment_id: The experiment; `1` in a new database.

    Returns:
        The URL.
    """
    return f"http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs?viewStateShareKey={_KEY}"


def saved_view_url(paths: Paths, *, port: int) -> str | None:
    """Look up the URL of the saved view.

    Returns:
        The URL; None before the first evaluation.

    Raises:
        TrackingError: If the database cannot be opened.
    """
    experiment_id = connect(paths)
    from mlflow import MlflowClient

    if _TAG not in MlflowClient().get_experiment(experiment_id).tags:
        return None
    return view_url(experiment_id, port=port)


def _main() -> None:
    """Print the URL: `python -m postbias.tracking.students_view PORT`."""
    from postbias.paths import Paths

    url = saved_view_url(Paths.find(), port=int(sys.argv[1]))
    print(f"Compare the students: {url}" if url else "No evaluated students yet: run `make repro`")  # noqa: T201 - its output


if __name__ == "__main__":
    _main()
