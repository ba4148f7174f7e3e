"""Filters and sorting of an explored corpus agree with a loop over the posts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scored_repo import write_scored_repo

from postbias.app.caption_topics import read_topics, write_topics
from postbias.app.corpus_exports import build_export, write_export
from postbias.app.corpus_images import CorpusImages
from postbias.app.corpus_query import PostFilter, PostOrder, describe_options, select_posts
from postbias.app.explored_corpus import (
    ExploredCorpus,
    find_corpus_files,
    load_explored_corpus,
)
from postbias.errors import InputError, SchemaError
from postbias.paths import Paths
from postbias.posts.images import decode_upright
from postbias.posts.shards import read_posts, read_table

Row = dict[str, Any]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("explored") / "repo", n_posts=180)


@pytest.fixture(scope="module")
def corpus(repo: Paths) -> ExploredCorpus:
    brands = repo.root / "brands" / "demo.csv"
    found = find_corpus_files("test", repo.scores, repo.posts, repo.labels, brands)
    return load_explored_corpus(found)


@pytest.fixture(scope="module")
def rows(repo: Paths) -> list[Row]:
    """The same posts as dictionaries, read without the code under test."""
    scores = pq.read_table(repo.scores / "00000.parquet").to_pylist()
    captions = read_posts(repo.posts, ["caption"])["caption"].to_pylist()
    labels = {row["post_id"]: row["bias"] for row in pq.read_table(repo.labels).to_pylist()}
    return [
        row | {"caption": caption, "label": labels.get(row["post_id"])}
        for row, caption in zip(scores, captions, strict=True)
    ]


_MAYBE_SCORE = st.none() | st.floats(0, 10).map(lambda x: round(x, 1))
_FILTERS = st.builds(
    PostFilter,
    min_score=_MAYBE_SCORE,
    max_score=_MAYBE_SCORE,
    bands=st.sets(st.sampled_from(["low", "moderate", "high"])).map(tuple),
    max_width=st.none() | st.floats(2, 5),
    min_disagreement=st.none() | st.floats(0, 3),
    first_month=st.none() | st.sampled_from(["2025-02", "2025-09"]),
    last_month=st.none() | st.sampled_from(["2025-06", "2026-01"]),
    sponsored=st.sets(st.sampled_from(["yes", "no", "unknown"])).map(tuple),
    text=st.sampled_from(["", "RIVER", "<script>", "@Auralane", "مرحبا", "(", "zzz"]),
    status=st.sampled_from(["scored", "unscored", "all"]),
)
_FLAGS = {True: "yes", False: "no", None: "unknown"}


def _matches(row: Row, chosen: PostFilter) -> bool:
    value, month = row["bias"], f"{row['posted_at']:%Y-%m}"
    conditions = [
        chosen.status == "all" or (value is not None) == (chosen.status == "scored"),
        not chosen.sponsored or _FLAGS[row["sponsored"]] in chosen.sponsored,
        chosen.first_month is None or month >= chosen.first_month,
        chosen.last_month is None or month <= chosen.last_month,
        chosen.text.casefold() in row["caption"].casefold(),
    ]
    if chosen.status != "unscored":
        known = value is not None
        width = row["bias_hi"] - row["bias_lo"] if known else None
        distance = abs(value - row["label"]) if known and row["label"] is not None else None
        conditions += [
            chosen.min_score is None or (known and value >= np.float32(chosen.min_score)),
            chosen.max_score is None or (known and value <= np.float32(chosen.max_score)),
            not chosen.bands or row["band"] in chosen.bands,
            chosen.max_width is None or (known and width <= chosen.max_width + 1e-6),
            chosen.min_disagreement is None
            or (distance is not None and distance >= chosen.min_disagreement),
        ]
    return all(conditions)


@settings(max_examples=150, deadline=None)
@given(chosen=_FILTERS)
def test_a_selection_has_exactly_the_posts_that_meet_every_condition(
    chosen: PostFilter, corpus: ExploredCorpus, rows: list[Row]
) -> None:
    order = PostOrder(by="input", descending=False)
    selection = select_posts(corpus, None, chosen, order)
    expected = [number for number, row in enumerate(rows) if _matches(row, chosen)]
    assert selection.rows.tolist() == expected
    assert selection.summary["posts"] == len(expected)
    known = [rows[n]["bias"] for n in expected if rows[n]["bias"] is not None]
    assert sum(selection.summary["histogram"]["counts"]) == len(known)
    if known:
        assert selection.summary["mean"] == pytest.approx(np.mean(known), abs=1e-4)


@pytest.mark.parametrize("by", ["score", "uncertainty", "date", "disagreement"])
@pytest.mark.parametrize("descending", [True, False])
def test_posts_are_sorted_and_those_without_a_value_come_last(
    by: str, descending: bool, corpus: ExploredCorpus, rows: list[Row]
) -> None:
    order = PostOrder.model_validate({"by": by, "descending": descending})
    selected = select_posts(corpus, None, PostFilter(status="all"), order).rows
    assert sorted(selected.tolist()) == list(range(len(rows)))

    def value(row: Row) -> float | None:
        if by == "date":
            return float(row["posted_at"].timestamp())
        if row["bias"] is None or (by == "disagreement" and row["label"] is None):
            return None
        widths = {"score": row["bias"], "uncertainty": row["bias_hi"] - row["bias_lo"]}
        return float(widths[by] if by in widths else abs(row["bias"] - row["label"]))

    values = [value(rows[number]) for number in selected]
    known = [x for x in values if x is not None]
    assert values[len(known) :] == [None] * (len(values) - len(known))
    steps = np.diff(known)
    assert np.all(steps <= 1e-5) if descending else np.all(steps >= -1e-5)


def test_languages_and_brands_filter_as_in_the_report(
    corpus: ExploredCorpus, rows: list[Row], tmp_path: Path
) -> None:
    reported: list[dict[str, Any]] = []
    write_topics(corpus.files.posts, corpus.files.brands, tmp_path, reported.append)
    topics = read_topics(tmp_path)
    assert reported[-1] == {"phase": "topics", "done": 180, "total": 180}
    counts = topics.counts()
    assert sum(counts["languages"].values()) == 180
    (brand, n), *_ = counts["brands"].items()
    named = select_posts(corpus, topics, PostFilter(brands=(brand,), status="all"), PostOrder())
    assert len(named.rows) == n
    name = brand.removeprefix("@")
    assert all(f"@{name}" in rows[row]["caption"] for row in named.rows)
    other = select_posts(corpus, topics, PostFilter(brands=("nobody",)), PostOrder())
    assert len(other.rows) == 0


def test_images_are_those_of_the_post(corpus: ExploredCorpus, repo: Paths) -> None:
    images = CorpusImages(corpus.files.posts, corpus.starts)
    files = read_posts(repo.posts, ["images"])["images"].to_pylist()
    for row in (1, 7, 8, 100, 179):
        assert images.files(row) == [files[row][0]["bytes"]]
    data = images.read(1, 0, 16)
    assert data is not None
    shown = images.read(1, 0, 320)
    assert shown is not None
    assert decode_upright(shown).size == decode_upright(files[1][0]["bytes"]).size
    assert images.read(0, 0, 320) is None  # damaged
    assert images.read(1, 5, 320) is None  # no such image


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet"])
def test_an_export_has_the_selected_posts_in_their_order(
    suffix: str, corpus: ExploredCorpus, rows: list[Row], tmp_path: Path
) -> None:
    selected = select_posts(corpus, None, PostFilter(bands=("high",)), PostOrder()).rows
    path = tmp_path / f"out.{suffix}"
    write_export(build_export(corpus, selected), path)
    if suffix == "csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = [(row["post_id"], float(row["bias"])) for row in csv.DictReader(file)]
    elif suffix == "xlsx":
        header, *cells = openpyxl.load_workbook(path)["posts"].iter_rows(values_only=True)
        places = header.index("post_id"), header.index("bias")
        found = [(str(row[places[0]]), float(str(row[places[1]]))) for row in cells]
    else:
        table = read_table(path)
        found = list(zip(table["post_id"].to_pylist(), table["bias"].to_pylist(), strict=True))
    assert [post_id for post_id, _ in found] == [rows[n]["post_id"] for n in selected]
    scores = [rows[n]["bias"] for n in selected]
    assert [score for _, score in found] == pytest.approx(scores, abs=1e-4)


def test_scores_of_other_posts_are_refused(repo: Paths, tmp_path: Path) -> None:
    scores = read_table(repo.scores / "00000.parquet")
    pq.write_table(pa.concat_tables([scores.slice(1), scores.slice(0, 1)]), tmp_path / "s.parquet")
    with pytest.raises(SchemaError, match="not those of the posts"):
        load_explored_corpus(find_corpus_files("x", tmp_path / "s.parquet", repo.posts))
    with pytest.raises(InputError, match="no such file"):
        find_corpus_files("x", tmp_path / "none", repo.posts)


def test_options_name_what_occurs(corpus: ExploredCorpus, rows: list[Row]) -> None:
    options = describe_options(corpus)
    assert options["posts"] == len(rows)
    assert options["statuses"] == {"ok": 177, "no_content": 3}
    assert sum(options["bands"].values()) == 177
    assert options["labels"] == sum(row["label"] is not None for row in rows)
