"""The MLflow UI, started as `make ui` does, shows this repository's runs."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection

from tests.pipeline.servers import free_port, serving

from postbias.paths import Paths
from postbias.tracking.database import EXPERIMENT, connect, tracking_uri


def test_the_ui_shows_the_runs(workspace: Paths) -> None:
    experiment_id = connect(workspace)
    from mlflow import MlflowClient

    client = MlflowClient()
    for modality in ("fusion", "text"):
        run = client.create_run(experiment_id, run_name=f"train@{modality}")
        client.set_terminated(run.info.run_id)
    port = free_port()
    command = ["mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    uri = tracking_uri(workspace)
    environment = {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(workspace.mlruns / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (
        serving(command, port, "/health", workspace.root / "ui.log", **environment),
        closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection,
    ):
        name = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}"
        connection.request("GET", name)
        found = json.load(connection.getresponse())["experiment"]["experiment_id"]
        body = json.dumps({"experiment_ids": [found]})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/2.0/mlflow/runs/search", body, headers)
        runs = json.load(connection.getresponse())["runs"]
    assert {run["info"]["run_name"] for run in runs} == {"train@fusion", "train@text"}
