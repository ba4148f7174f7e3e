"""Groups contain each post once, with a separate group for unknown values."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from postbias.population.groups import (
    group_by_half,
    group_by_period,
    group_by_sponsorship,
    group_posts,
)

_TIME = pa.timestamp("us", tz="UTC")


def _times(*dates: tuple[int, int, int] | None) -> pa.ChunkedArray:
    values = [None if date is None else datetime(*date, tzinfo=UTC) for date in dates]
    return pa.chunked_array([pa.array(values, _TIME)])


def test_posts_of_unknown_sponsorship_are_a_separate_group() -> None:
    found = group_by_sponsorship(pa.chunked_array([[True, False, None]]))
    assert [name for name, rows in found.items() if rows.any()] == [
        "sponsored",
        "organic",
        "not known",
    ]
    assert np.sum(list(found.values()), axis=0).tolist() == [1, 1, 1]


def test_months_are_ordered_and_posts_without_a_time_are_in_none() -> None:
    found = group_by_period(_times((2025, 2, 1), (2025, 1, 31), None))
    assert list(found) == ["2025-01", "2025-02"]
    assert found["2025-02"].tolist() == [True, False, False]


def test_long_periods_are_grouped_by_quarter_and_longer_ones_by_year() -> None:
    quarters = group_by_period(_times(*((2020 + i // 12, i % 12 + 1, 1) for i in range(60))))
    assert list(quarters)[:2] == ["2020 Q1", "2020 Q2"]
    assert len(quarters) == 20
    years = group_by_period(_times(*((2000 + i, 6, 1) for i in range(40))))
    assert next(iter(years)) == "2000"
    assert len(years) == 40


def test_halves_need_two_times() -> None:
    assert group_by_half(_times((2025, 1, 1), None)) == {}
    found = group_by_half(_times((2025, 1, 1), (2025, 1, 2), (2025, 12, 31), None))
    assert found["earlier half"].tolist() == [True, True, False, False]
    assert found["later half"].tolist() == [False, False, True, False]


def test_rare_languages_share_a_group_and_the_most_common_one_is_the_reference() -> None:
    english = "this is a perfectly ordinary sentence about the weather in the morning"
    german = "das ist ein ganz gewöhnlicher Satz über das Wetter am frühen Morgen"
    french = "ceci est une phrase tout à fait ordinaire sur le temps qu'il fait ce matin"
    captions = [english] * 6 + [german] * 4 + [french] + [""]
    count = len(captions)
    table = pa.table(
        {
            "sponsored": pa.array([None] * count, pa.bool_()),
            "posted_at": pa.array([None] * count, _TIME),
        }
    )
    groups = group_posts(table, pa.chunked_array([captions]), min_posts=3)
    sizes = {name: int(rows.sum()) for name, rows in groups.members["language"].items()}
    assert sizes == {"en": 6, "de": 4, "other or unclear": 1, "no caption": 1}
    assert groups.pairs == (("language", "de", "en"),)
    assert set(groups.members) == {"language"}
