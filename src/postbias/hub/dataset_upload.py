"""Upload scores, and labels on request, as a data set on the hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import HubError, InputError
from postbias.hub.hub_upload import Publication, upload_files
from postbias.paths import Paths
from postbias.scoring.artifact import Artifact

_DATA_SHEET = "data_sheet.md"
#: Columns of scores that describe the author or the moment of a post.
_NOT_PUBLISHED = ("author", "sponsored", "posted_at")
#: Columns of labels that may quote the post.
_QUOTING = ("reason",)


def publish_dataset(
    paths: Paths,
    repo: str,
    *,
    personal_data: str,
    with_labels: bool,
    licence: str | None,
    private: bool,
) -> Publication:
    """Upload the scores of a repository: ids and scores, neither captions, images nor authors.

    Args:
        paths: The repository, after the stage `report`.
        repo: `owner/name`; created if it does not exist.
        personal_data: What personal data the ids and scores are; stands in the card.
        with_labels: Whether the teacher's labels are uploaded too, without its reasons.
        licence: Id of the licence of the data; None to leave it out.
        private: Whether a new repository is private.

    Raises:
        HubError: If the hub refuses, or no statement on personal data was given.
        InputError: If there are no scores or there is no data sheet.
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    digest = Artifact.open(paths.champion).digest
    return upload_files(
        lambda folder: write_dataset(
            folder, paths, personal_data=personal_data, with_labels=with_labels, licence=licence
        ),
        repo,
        kind="dataset",
        message=f"Scores of student {digest[:12]}",
        private=private,
    )


def write_dataset(
    folder: Path, paths: Paths, *, personal_data: str, with_labels: bool, licence: str | None
) -> None:
    """Write the files of a data set: what `publish_dataset` uploads.

    Args:
        folder: An empty folder.
        paths: The repository, after the stage `report`.
        personal_data: What personal data the ids and scores are.
        with_labels: Whether labels are written too.
        licence: Id of the licence of the data; None to leave it out.

    Raises:
        HubError: If no statement on personal data was given.
        InputError: If there are no scores or there is no data sheet.
    """
    if not personal_data.strip():
        raise HubError(
            "a data set is published with a statement on the personal data in it only",
            do='say what it holds, as in --personal-data "ids of public posts"',
        )
    _write_scores(folder / "scores.parquet", paths)
    if with_labels:
        labels = pq.read_table(paths.labels)
        pq.write_table(_without(labels, _QUOTING), folder / "labels.parquet")
    try:
        sheet = (paths.cards / _DATA_SHEET).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            "there is no data sheet", seen=str(paths.cards), do="run `dvc repro`"
        ) from error
    (folder / "README.md").write_text(
        _render_dataset_card(sheet, personal_data, licence, with_labels=with_labels),
        encoding="utf-8",
    )


def _write_scores(file: Path, paths: Paths) -> None:
    shards = sorted(paths.scores.glob("*.parquet"))
    if not shards:
        raise InputError("there are no scores", seen=str(paths.scores), do="run `dvc repro`")
    schema = _without(pq.read_schema(shards[0]).empty_table(), _NOT_PUBLISHED).schema
    with pq.ParquetWriter(file, schema) as writer:
        for shard in shards:
            writer.write_table(pq.read_table(shard, columns=schema.names))


def _without(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    kept = [name for name in table.column_names if name not in columns]
    return table.select(kept).replace_schema_metadata(None)


def _render_dataset_card(
    sheet: str, personal_data: str, licence: str | None, *, with_labels: bool
) -> str:
    from huggingface_hub import DatasetCardData

    configs = [{"config_name": "scores", "data_files": "scores.parquet", "default": True}]
    if with_labels:
        configs.append({"config_name": "labels", "data_files": "labels.parquet"})
    tags = ["gender-bias", "social-media", "postbias"]
    data = DatasetCardData(license=licence, tags=tags, configs=configs)
    contents = "ids and scores" + (" and labels" if with_labels else "")
    return (
        f"---\n{data.to_yaml()}\n---\n\n{sheet.strip()}\n\n## Personal data\n\n"
        f"Published are {contents}: no captions, images or names of authors. "
        f"What the publisher states: {personal_data.strip()}\n"
    )
