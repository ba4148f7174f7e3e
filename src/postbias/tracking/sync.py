"""Restore MLflow runs, model versions and the alias `champion` from `dvc.lock`."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postbias.tracking.database import connect, database, uses_own_database
from postbias.tracking.dvc_records import StageRecord, git_state, locked_records
from postbias.tracking.registry import Registration, register_champion
from postbias.tracking.run_logging import log_params, log_recorded, log_test_metrics, stage_tags

if TYPE_CHECKING:
    from postbias.paths import Paths
    from postbias.scoring.manifest import Precision

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """What `sync` did.

    Attributes:
        restored: Stages whose runs were restored.
        registration: The champion; None if the pipeline has built none.
        is_unchanged: Whether nothing had changed since the last call.
    """

    restored: tuple[str, ...]
    registration: Registration | None
    is_unchanged: bool = False

    def __str__(self) -> str:
        """Summarize in one line."""
        if self.is_unchanged:
            return "MLflow is up to date with dvc.lock"
        parts = [f"{len(self.restored)} run(s) restored"]
        if self.restored:
            parts[0] += f" ({', '.join(self.restored)})"
        if self.registration is not None and self.registration.refused:
            version, why = self.registration.version, self.registration.refused
            parts.append(f"version {version} does not become champion: {why}")
        elif self.registration is None:
            parts.append("no champion yet: run `dvc repro`, or `dvc pull` the outputs of others")
        else:
            made = "registered" if self.registration.is_new else "already registered"
            parts.append(f"champion is version {self.registration.version} ({made})")
        return "; ".join(parts)


def sync(paths: Paths) -> SyncSummary:
    """Restore the runs, model versions and alias that `dvc.lock` implies and MLflow lacks.

    Idempotent. Runs are matched by content, never by a run id stored in an output.

    Returns:
        What was restored and registered.

    Raises:
        TrackingError: If `dvc.yaml`, `dvc.lock` or the MLflow database cannot be read.
        ChampionError: If the champion's files exist but cannot be registered.
    """
    stamp, stamp_file = _stamp(paths), paths.mlruns / ".synced"
    if stamp and stamp_file.is_file() and stamp_file.read_text(encoding="utf-8") == stamp:
        return SyncSummary((), None, is_unchanged=True)
    records = locked_records(paths)
    experiment_id = connect(paths)
    runs = {record.name: _find_run(experiment_id, record) for record in records}
    restored = [record for record in records if runs[record.name] is None]
    for record in restored:
        runs[record.name] = _restore_run(paths, experiment_id, record)
    for record in records:
        _tag_artifact(paths, record, runs[record.name])
    log_test_metrics(paths)
    registration = _register(paths, records, runs)
    if registration is not None:
        from postbias.tracking.publish import attach_cards

        attach_cards(paths)
    stamp_file.write_text(_stamp(paths), encoding="utf-8")
    return SyncSummary(tuple(record.name for record in restored), registration)


def _register(
    paths: Paths, records: list[StageRecord], runs: dict[str, str | None]
) -> Registration | None:
    champion = paths.champion.relative_to(paths.root).as_posix()
    for record in records:
        run_id = runs[record.name]
        if champion in record.outs and run_id is not None:
            if champion in record.intact:
                return register_champion(paths, run_id, precision=_precision(records))
            logger.warning("%s does not match dvc.lock: run `dvc pull %s`", champion, champion)
    return None


def _precision(records: list[StageRecord]) -> Precision:
    found = {_flat(record.params).get("infer.precision") for record in records}
    return "fp32" if "fp32" in found else "int8"


def _find_run(experiment_id: str, record: StageRecord) -> str | None:
    from mlflow import MlflowClient

    found = MlflowClient().search_runs(
        [experiment_id],
        f"tags.`dvc.identity` = '{record.identity}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


def _restore_run(paths: Paths, experiment_id: str, record: StageRecord) -> str:
    from mlflow import MlflowClient

    client = MlflowClient()
    tags = stage_tags(record.name, record) | git_state(paths) | {"restored": "true"}
    run = client.create_run(experiment_id, run_name=record.name, tags=tags)
    run_id = str(run.info.run_id)
    log_params(run_id, record.name, _flat(record.params))
    log_recorded(paths, run_id, record)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _tag_artifact(paths: Paths, record: StageRecord, run_id: str | None) -> None:
    """Tag a restored training run with the digests of its student, as executed runs are."""
    from mlflow import MlflowClient

    from postbias.scoring.artifact import Artifact

    client = MlflowClient()
    for out in sorted(record.intact):
        folder = paths.root / out
        if run_id is None or folder.parent != paths.students:
            continue
        if "artifact" not in client.get_run(run_id).data.tags:
            for name, digest in Artifact.open(folder).lineage.items():
                client.set_tag(run_id, name, digest)


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Flatten the params of `dvc.lock` in the format of `postbias.params.flatten_params`."""
    flat: dict[str, object] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            flat[f"{prefix}{name}"] = text
    return flat


def _stamp(paths: Paths) -> str:
    """Digest of everything that `sync` depends on; empty if that is unknown."""
    own = database(paths)
    if not uses_own_database(paths) or not own.is_file():
        return ""
    state = own.stat()
    seen = hashlib.sha256(f"{own} {state.st_mtime_ns} {state.st_size}".encode())
    for name in ("dvc.yaml", "dvc.lock", "build/champion/student.json"):
        file = paths.root / name
        seen.update(name.encode() + (file.read_bytes() if file.is_file() else b"\0"))
    return seen.hexdigest()
