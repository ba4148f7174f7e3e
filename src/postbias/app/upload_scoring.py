"""Import and score an upload, so that it can be stopped at any time and continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from postbias.app.upload_limits import MAX_UPLOAD_POSTS
from postbias.app.upload_reading import read_upload
from postbias.errors import InputError
from postbias.params import DriftParams
from postbias.posts.importers import ImportSummary, import_posts
from postbias.posts.remote_files import AnyPath
from postbias.posts.schema import REJECTS
from postbias.posts.shards import count_rows, list_shards, read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import (
    LocalBackend,
    ProgressCallback,
    ScoreOutputs,
    score_with_backend,
)
from postbias.scoring.drift import measure_drift
from postbias.scoring.manifest import Precision
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.post_sources import list_shards_in
from postbias.scoring.profile_store import ProfileStore
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import ShardScores

Json = dict[str, Any]
Report = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class UploadFiles:
    """Where everything of one upload is.

    Attributes:
        folder: The folder of the upload.
    """

    folder: Path

    @property
    def sent(self) -> Path:
        """The files as they were sent."""
        return self.folder / "files"

    @property
    def unpacked(self) -> Path:
        """Content of a ZIP file."""
        return self.folder / "unpacked"

    @property
    def imported(self) -> Path:
        """The imported posts."""
        return self.folder / "import"

    @property
    def outputs(self) -> ScoreOutputs:
        """Scores, rejects, and finished shards."""
        return ScoreOutputs(
            self.folder / "scores", self.folder / "score_rejects.parquet", self.folder / "store"
        )

    @property
    def rejects(self) -> Path:
        """Everything that could not be read or scored."""
        return self.folder / "rejects.parquet"


class ReportingBackend:
    """The local backend, which also says how many posts are scored."""

    def __init__(self, scorer: Scorer, n_posts: int, report: Report) -> None:
        """Wrap a scorer.

        Args:
            scorer: The student.
            n_posts: Posts of all shards.
            report: Called with the progress.
        """
        self._inner = LocalBackend(scorer, batch_size=BATCH_SIZE)
        self._n_posts = n_posts
        self._report = report

    @property
    def artifact(self) -> Artifact:
        """Files of the student."""
        return self._inner.artifact

    @property
    def precision(self) -> Precision:
        """Precision of the graphs that run."""
        return self._inner.precision

    @property
    def device(self) -> str:
        """Device that the graphs run on."""
        return self._inner.device

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, the main one first."""
        return self._inner.axes

    def run(
        self, shards: Sequence[AnyPath], on_progress: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards, and report each batch.

        Args:
            shards: The shards that are not in the store.
            on_progress: Called as posts are scored.

        Yields:
            Each shard, in order, with its scores.

        Raises:
            SchemaError: If a shard is damaged.
        """
        done = self._n_posts - count_rows(shards)

        def count(n: int) -> None:
            nonlocal done
            done += n
            self._report({"phase": "scoring", "done": done, "total": self._n_posts})
            on_progress(n)

        count(0)
        yield from self._inner.run(shards, count)


def score_upload(
    files: UploadFiles,
    columns: Mapping[str, str] | None,
    scorer: Scorer,
    report: Report,
    drift: DriftParams | None = None,
) -> Json:
    """Import and score an upload; what is finished is not done again.

    Args:
        files: Where it is.
        columns: The column of each field of a table, as a person confirmed it.
        scorer: The student.
        report: Called with the progress: `phase`, and `done` of `total` posts.
        drift: Limits of the comparison with the training posts; None to leave it out.

    Returns:
        The summary: counts, faults and remarks of import and scoring; `differs`, in what the posts
        differ from the training posts; `shards`, the paths of the post shards.

    Raises:
        PostbiasError: If it cannot be read or scored.
    """
    report({"phase": "reading"})
    shards, imported = _import(files, columns)
    n_posts = count_rows(shards)
    if n_posts > MAX_UPLOAD_POSTS:
        raise InputError(
            "too many posts for this page", seen=n_posts, allowed=f"up to {MAX_UPLOAD_POSTS:,}",
            do="score them with the command `postbias score`",
        )  # fmt: skip
    outputs = files.outputs
    summary = score_with_backend(shards, ReportingBackend(scorer, n_posts, report), outputs)
    report({"phase": "writing"})
    rejects = [read_table(outputs.rejects, REJECTS)]
    if imported is not None:
        rejects.insert(0, read_table(files.imported / "rejects.parquet", REJECTS))
    write_table(pa.concat_tables(rejects), files.rejects, REJECTS)
    return {
        **summary.report(),
        "by_band": dict(summary.by_band),
        "import": None if imported is None else _describe_import(imported),
        "differs": _find_drift(shards, ProfileStore(scorer, outputs.store, summary.digests), drift),
        "shards": [str(shard) for shard in shards],
    }


def _import(
    files: UploadFiles, columns: Mapping[str, str] | None
) -> tuple[list[Path], ImportSummary | None]:
    content = read_upload(files.sent, files.unpacked, columns)
    path, layout = content.source.path, content.source.layout
    assert isinstance(path, Path)
    if layout is None:  # post shards, whose columns `identify_source` has checked
        shards = [path] if path.is_file() else list_shards_in(path)
        return [shard for shard in shards if isinstance(shard, Path)], None
    summary = import_posts(layout, path, files.imported, options=content.options, replace=True)
    return list_shards(files.imported / "posts"), summary


def _find_drift(shards: list[Path], store: ProfileStore, limits: DriftParams | None) -> list[str]:
    """Name the features in which posts differ from the training posts."""
    if limits is None:
        return []
    return list(measure_drift(shards, store, limits).report["differs"])


def _describe_import(summary: ImportSummary) -> Json:
    return {
        "layout": summary.layout,
        "rejected": summary.n_rejects,
        "reasons": dict(sorted(summary.reasons.items())),
        "images": summary.n_images,
        "missing_images": summary.n_missing_images,
        "image_reasons": dict(sorted(summary.image_reasons.items())),
        "address_posts": summary.n_address_posts,
        "notes": [*summary.notes, *(summary.warning or "").splitlines()],
        "encoding": summary.encoding,
    }
