"""The report of unusual but valid corpora: no exception, no warning, no undefined number as text.

Every estimate, table and chart is computed from tables in which a band, a group, a fold or a column
is empty or constant, or in which one author or one answer is all there is.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.degenerate_repo import NAMES, Row, Tables, write_degenerate_repo
from tests.tiny_artifact import AXES

from postbias.evaluation.results_table import load_evaluation, markdown_table
from postbias.population.brands import write_brands
from postbias.posts.schema import FOLDS
from postbias.report.findings import gather_findings, write_findings

_BANDS = {"low": (0.0, 3.4), "moderate": (3.5, 6.4), "high": (6.5, 10.0)}
_DAY = datetime(2025, 3, 1, tzinfo=UTC)


def _unchanged(tables: Tables) -> None:
    del tables


def _shrink_into(low: float, high: float) -> Callable[[Row], float]:
    return lambda row: low + (high - low) * row["bias"] / 10


def _set_scores(tables: Tables, value: Callable[[Row], float] | float, axis: str = "bias") -> None:
    """Set the score of all scored posts on one axis, with its interval and band."""
    for row in tables.scores:
        if row["status"] == "ok":
            row[axis] = value(row) if callable(value) else value
            row |= {f"{axis}_lo": max(row[axis] - 2, 0), f"{axis}_hi": min(row[axis] + 2, 10)}
            row["band"] = AXES[0].band(row["bias"])


def _avoid_band(band: str) -> Callable[[Row], float]:
    """Map values to the other two bands, or to their ends."""
    others = [limits for name, limits in _BANDS.items() if name != band]

    def move(row: Row) -> float:
        low, high = others[round(row["bias"] * 10) % 2]
        return min(max(row["bias"], low), high)

    return move


def _no_labels_in(band: str) -> Callable[[Tables], None]:
    return lambda tables: tables.set_columns(tables.labels, bias=_avoid_band(band))


def _no_scores_in(band: str) -> Callable[[Tables], None]:
    return lambda tables: _set_scores(tables, _avoid_band(band))


def _nothing_in(band: str) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        _no_labels_in(band)(tables)
        _no_scores_in(band)(tables)

    return change


def _everything_in(band: str) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables.set_columns(tables.labels, bias=_shrink_into(*_BANDS[band]))
        _set_scores(tables, _shrink_into(*_BANDS[band]))

    return change


def _equal_labels(tables: Tables) -> None:
    tables.set_columns(tables.labels, bias=4.0, orientation=5.0)


def _equal_labels_of_the_second_axis(tables: Tables) -> None:
    tables.set_columns(tables.labels, orientation=5.0)


def _equal_scores(tables: Tables) -> None:
    for axis in NAMES:
        _set_scores(tables, 4.0, axis)


def _everything_equal(tables: Tables) -> None:
    _equal_labels(tables)
    _equal_scores(tables)


def _everything_zero(tables: Tables) -> None:
    tables.set_columns(tables.labels, bias=0.0, orientation=0.0)
    for axis in NAMES:
        _set_scores(tables, 0.0, axis)


def _group_of(n_sponsored: int) -> Callable[[Tables], None]:
    """Make only the first posts after the hostile ones sponsored; date only them later."""

    def change(tables: Tables) -> None:
        chosen = {row["post_id"] for row in tables.posts[10 : 10 + n_sponsored]}
        is_chosen = lambda row: row["post_id"] in chosen  # noqa: E731 - one expression
        tables.set_columns(tables.posts, tables.scores, sponsored=is_chosen)
        tables.set_columns(
            tables.posts,
            tables.scores,
            posted_at=lambda row: _DAY.replace(month=9) if is_chosen(row) else _DAY,
        )

    return change


def _only_fold(keep: dict[str, int | None]) -> Callable[[Tables], None]:
    """Keep the labels of at most so many posts of each fold; all of a fold that is not named."""

    def change(tables: Tables) -> None:
        seen: dict[str, int] = {}
        kept = []
        for row in tables.split:
            seen[row["fold"]] = seen.get(row["fold"], 0) + 1
            limit = keep.get(row["fold"])
            kept.append(limit is None or seen[row["fold"]] <= limit)
        tables.label_posts(kept.__getitem__)

    return change


def _one_author_in(fold: str) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        ids = {row["post_id"] for row in tables.split if row["fold"] == fold}
        every = (tables.posts, tables.scores, tables.sample, tables.split)
        tables.set_columns(
            *every, author=lambda row: "one" if row["post_id"] in ids else row["author"]
        )

    return change


def _one_author(tables: Tables) -> None:
    tables.set_columns(tables.posts, tables.scores, tables.sample, tables.split, author="one")


def _no_author_given(tables: Tables) -> None:
    every = (tables.posts, tables.scores, tables.sample, tables.split)
    tables.set_columns(*every, author=lambda row: f"post:{row['post_id']}")


def _some_authors_given(tables: Tables) -> None:
    for table in (tables.posts, tables.scores, tables.sample, tables.split):
        for row in table:
            if row["post_id"] >= "p00090":
                row["author"] = f"post:{row['post_id']}"


def _half_by_one_author(tables: Tables) -> None:
    every = (tables.posts, tables.scores, tables.sample, tables.split)
    tables.set_columns(
        *every, author=lambda r: "<anna>" if r["post_id"] < "p00090" else r["author"]
    )


def _scores_without_intervals(tables: Tables) -> None:
    tables.set_columns(
        tables.scores, **{f"{n}{end}": None for n in NAMES for end in ("_lo", "_hi")}
    )


def _no_dates(tables: Tables) -> None:
    tables.set_columns(tables.posts, tables.scores, posted_at=None)


def _one_date(tables: Tables) -> None:
    tables.set_columns(tables.posts, tables.scores, posted_at=_DAY)


def _sponsorship_not_known(tables: Tables) -> None:
    tables.set_columns(tables.posts, tables.scores, sponsored=None)


def _no_captions(tables: Tables) -> None:
    tables.set_columns(tables.posts, caption="")
    tables.set_columns(tables.labels, reason="")


def _no_brands(tables: Tables) -> None:
    tables.set_columns(tables.posts, caption="a walk by the river")


def _one_brand(tables: Tables) -> None:
    tables.set_columns(tables.posts, caption="a walk by the river with @auralane")


def _three_equal_brands(tables: Tables) -> None:
    _everything_equal(tables)
    brands = ("auralane", "nordpfad", "casalume")
    for i, row in enumerate(tables.posts):
        row["caption"] = f"a walk with @{brands[i % 3]}"


def _no_images(tables: Tables) -> None:
    tables.set_columns(tables.posts, images=[])
    tables.set_columns(tables.scores, modalities="text", n_images=0)


def _only_images(tables: Tables) -> None:
    _no_captions(tables)
    tables.set_columns(tables.scores, modalities="image")


def _all_images_broken(tables: Tables) -> None:
    tables.set_columns(tables.posts, images=[{"bytes": b"broken", "path": None}])


def _every_post_labelled(tables: Tables) -> None:
    keep = {row["post_id"] for row in tables.labels}
    tables.posts = [row for row in tables.posts if row["post_id"] in keep]
    tables.scores = [row for row in tables.scores if row["post_id"] in keep]
    tables.set_columns(tables.sample, probability=1.0, weight=1.0)


def _labels_of(n_posts: int) -> Callable[[Tables], None]:
    return lambda tables: tables.label_posts(lambda i: i < n_posts)


def _labels_rejected(tables: Tables) -> None:
    empty = dict.fromkeys((*NAMES, *(f"{name}_sd" for name in NAMES)))
    tables.set_columns(tables.labels, status="refused", n_replies=0, reason="", **empty)
    tables.split = []


def _one_post_scored(tables: Tables) -> None:
    empty = {f"{name}{end}": None for name in NAMES for end in ("", "_lo", "_hi")}
    rejected = {"status": "unreadable", "band": None, "modalities": None, **empty}
    tables.set_columns(tables.scores[1:], **rejected)


def _no_labelled_post_scored(tables: Tables) -> None:
    labelled = {row["post_id"] for row in tables.labels}
    empty = {f"{name}{end}": None for name in NAMES for end in ("", "_lo", "_hi")}
    rows = [row for row in tables.scores if row["post_id"] in labelled]
    tables.set_columns(rows, status="unreadable", band=None, modalities=None, **empty)


_CASES: dict[str, Callable[[Tables], None]] = {
    "unchanged": _unchanged,
    "no labels in the low band": _no_labels_in("low"),
    "no scores in the high band": _no_scores_in("high"),
    "nothing in the high band": _nothing_in("high"),
    "everything in the moderate band": _everything_in("moderate"),
    "equal labels": _equal_labels,
    "equal labels of the second axis": _equal_labels_of_the_second_axis,
    "equal scores": _equal_scores,
    "everything equal": _everything_equal,
    "everything zero": _everything_zero,
    **{f"a group of {n}": _group_of(n) for n in (0, 1, 2)},
    **{f"0 labels in {fold}": _only_fold({fold: 0}) for fold in FOLDS},
    "1 labels in test": _only_fold({"test": 1}),
    "no held-out labels": _only_fold({"calib": 0, "test": 0}),
    "no learned labels": _only_fold({"train": 0, "valid": 0}),
    "one author in test": _one_author_in("test"),
    "one author": _one_author,
    "no author given": _no_author_given,
    "some authors given": _some_authors_given,
    "half by one author": _half_by_one_author,
    "scores without intervals": _scores_without_intervals,
    "no dates": _no_dates,
    "one date": _one_date,
    "sponsorship not known": _sponsorship_not_known,
    "no captions": _no_captions,
    "no brands": _no_brands,
    "one brand": _one_brand,
    "three equal brands": _three_equal_brands,
    "no images": _no_images,
    "only images": _only_images,
    "all images broken": _all_images_broken,
    "every post labelled": _every_post_labelled,
    **{f"{n} labels": _labels_of(n) for n in (1, 10)},
    "all labels rejected": _labels_rejected,
    "one post scored": _one_post_scored,
    "no labelled post scored": _no_labelled_post_scored,
}  # fmt: skip


def _visible_text(page: str) -> str:
    """Return the page without captions, styles and image data, with tags as spaces."""
    page = re.sub(r"<style>.*?</style>", " ", page, flags=re.DOTALL)
    page = re.sub(r'src="data:[^"]*"', " ", page)
    return re.sub(r"</?(?:div|p|td|th|tr|small|li|span|strong|figcaption)[^>]*>", " ", page)


#: The others take minutes together.
_QUICK = {
    "nothing in the high band", "everything equal", "0 labels in calib", "one author",
    "no dates", "all labels rejected", "no labelled post scored", "scores without intervals",
}  # fmt: skip
_MARKED = [
    pytest.param(case, marks=[] if case in _QUICK else [pytest.mark.slow]) for case in _CASES
]


@pytest.mark.parametrize("case", _MARKED)
def test_the_report_of_a_degenerate_corpus_is_complete_and_has_no_undefined_numbers(
    case: str, tmp_path: Path
) -> None:
    paths, params, _ = write_degenerate_repo(tmp_path / "repo", _CASES[case])
    findings = gather_findings(paths, params, {})
    write_findings(findings, paths)
    write_brands(findings.brands, tmp_path / "brands.parquet")
    texts = {"page": paths.report.read_text(encoding="utf-8"), **findings.cards}
    texts["table"] = markdown_table(load_evaluation(paths.reports / "evaluate.json"))
    texts["brands.csv"] = (paths.reports / "brands.csv").read_text(encoding="utf-8")
    for name, text in texts.items():
        undefined = re.findall(
            r".{0,60}\b(?:nan|inf|None|NaN|Infinity)\b.{0,30}", _visible_text(text)
        )
        assert undefined == [], name
    for file in paths.reports.glob("*.json"):
        json.dumps(json.loads(file.read_text(encoding="utf-8")), allow_nan=False)
    for file in paths.reports.glob("plots/*.csv"):
        with file.open(encoding="utf-8", newline="") as rows:
            assert not any({"nan", "inf", "None"} & set(row) for row in csv.reader(rows)), file


def _gather(tmp_path: Path, change: Callable[[Tables], None]) -> tuple[dict[str, Any], str, str]:
    paths, params, error = write_degenerate_repo(tmp_path / "repo", change)
    assert error is None
    findings = gather_findings(paths, params, {})
    table = markdown_table(load_evaluation(paths.reports / "evaluate.json"))
    return findings.population, findings.page() + findings.cards["model_card.md"], table


def test_posts_without_an_author_are_not_called_authors(tmp_path: Path) -> None:
    population, page, table = _gather(tmp_path, _no_author_given)
    n = population["n"]["scored"]
    assert (population["all"]["authors"], population["all"]["posts_without_author"]) == (0, n)
    assert f"{n} posts (each its own author)" in page
    assert not re.search(r"over \d+ authors", page + table)
    assert "posts (each its own author)" in table
    for text in (page, table):
        assert "Intervals are likely too narrow" in text


def test_both_counts_are_given_if_some_posts_have_an_author(tmp_path: Path) -> None:
    _, page, table = _gather(tmp_path, _some_authors_given)
    assert re.search(r"15 authors and 8\d posts \(each its own author\)", page)
    assert re.search(r"\d authors and \d+ posts \(each its own author\)", table)


def test_authors_that_are_strata_are_named(tmp_path: Path) -> None:
    population, page, _ = _gather(tmp_path, _half_by_one_author)
    (one,) = population["strata"]["dominant_authors"]
    assert (one["author"], one["is_stratum"]) == ("<anna>", True)
    assert 0.45 < one["share"] < 0.55
    assert "strata of their own" in page
    assert "&lt;anna&gt; (5" in page
