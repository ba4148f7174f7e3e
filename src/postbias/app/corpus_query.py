"""Filter and sort an explored corpus, and summarise what was selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from postbias.app.caption_topics import CaptionTopics
from postbias.app.explored_corpus import MODALITIES, SPONSORSHIP, Codes, ExploredCorpus, Floats
from postbias.axes import BAND_NAMES
from postbias.stats.strata import Bools

Json = dict[str, Any]

Rows = npt.NDArray[np.int64]
Names = Annotated[tuple[str, ...], Field(max_length=200)]
_Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]

_N_BINS = 40


class PostFilter(BaseModel):
    """What to select; a post must meet every condition that is given.

    Attributes:
        axis: The axis of `min_score` and `max_score`; None for the main one.
        min_score: Smallest score.
        max_score: Largest score.
        bands: Bands of the main axis.
        min_width: Smallest width of the interval on the main axis.
        max_width: Largest width.
        min_disagreement: Smallest distance of score and label; without a label, no post.
        first_month: First month of publication.
        last_month: Last month.
        sponsored: `yes`, `no`, `unknown`.
        modalities: What the student read.
        languages: Languages of the caption.
        brands: Brands that the caption names, at least one of them.
        text: Text in the caption, in upper or lower case.
        status: Whether to select posts with a score, those without, or all.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    axis: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    bands: Names = ()
    min_width: float | None = None
    max_width: float | None = None
    min_disagreement: float | None = None
    first_month: _Month | None = None
    last_month: _Month | None = None
    sponsored: Names = ()
    modalities: Names = ()
    languages: Names = ()
    brands: Names = ()
    text: Annotated[str, Field(max_length=200)] = ""
    status: Literal["scored", "unscored", "all"] = "scored"


class PostOrder(BaseModel):
    """How to sort; posts without the value come last.

    Attributes:
        by: `score` on the filter's axis, `uncertainty`, `date`, `disagreement`, or `input`.
        descending: Whether the largest value comes first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["score", "uncertainty", "date", "disagreement", "input"] = "score"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected posts.

    Attributes:
        rows: Their rows, sorted. (M,)
        summary: Counts by band, mean and histogram of the axis.
    """

    rows: Rows
    summary: Json


def select_posts(
    corpus: ExploredCorpus, topics: CaptionTopics | None, chosen: PostFilter, order: PostOrder
) -> Selection:
    """Select and sort posts.

    Args:
        corpus: The posts.
        topics: Their languages and brands; None while these are not known: their conditions are
            then ignored.
        chosen: What to select.
        order: How to sort.

    Returns:
        The selection.
    """
    axis = chosen.axis if chosen.axis in corpus.axes else corpus.main
    keep = _match_scores(corpus, chosen, axis) & _match_posts(corpus, chosen)
    if topics is not None:
        keep &= topics.match(chosen.languages, chosen.brands)
    if chosen.text:  # last, on what is left: it takes longest
        rows = np.flatnonzero(keep)
        found = pc.match_substring(corpus.captions.take(rows), chosen.text, ignore_case=True)
        rows = rows[found.to_numpy(zero_copy_only=False)]
    else:
        rows = np.flatnonzero(keep)
    return Selection(_sort(corpus, rows, order, axis), _summarise(corpus, rows, axis))


def describe_options(corpus: ExploredCorpus) -> Json:
    """Describe what a corpus can be filtered by, with numbers of posts."""
    known = corpus.posted[~np.isnat(corpus.posted)]
    period = [str(day)[:7] for day in (known.min(), known.max())] if len(known) else None
    statuses = pc.value_counts(corpus.statuses.cast("string")).to_pylist()
    spans = {
        axis: [float(np.nanmin(v)), float(np.nanmax(v))] if np.isfinite(v).any() else [0.0, 0.0]
        for axis, v in corpus.values.items()
    }
    return {
        "name": corpus.files.name,
        "posts": len(corpus),
        "axes": list(corpus.axes),
        "spans": spans,
        "bands": _count(corpus.bands, BAND_NAMES),
        "sponsored": _count(corpus.sponsored, SPONSORSHIP),
        "modalities": _count(corpus.modalities, MODALITIES),
        "statuses": {str(each["values"]): each["counts"] for each in statuses},
        "period": period,
        "has_intervals": bool(np.isfinite(corpus.widths).any()),
        "labels": int(np.isfinite(corpus.labels).sum()),
    }


def describe_rows(corpus: ExploredCorpus, rows: Rows, max_chars: int) -> list[Json]:
    """Describe posts for a list of cards.

    Args:
        corpus: The corpus.
        rows: Rows of the posts. (M,)
        max_chars: Captions are cut to this length.
    """
    return [_describe_row(corpus, int(row), max_chars) for row in rows]


def _describe_row(corpus: ExploredCorpus, row: int, max_chars: int) -> Json:
    caption = corpus.captions[row].as_py()
    scores = {
        axis: [_number(ends[axis][row]) for ends in (corpus.values, corpus.lows, corpus.highs)]
        for axis in corpus.axes
    }
    band, modality = int(corpus.bands[row]), int(corpus.modalities[row])
    return {
        "row": row,
        "post_id": corpus.ids[row].as_py(),
        "author": corpus.authors[row].as_py(),
        "caption": caption[:max_chars] + ("…" if len(caption) > max_chars else ""),
        "scores": scores,
        "band": BAND_NAMES[band] if band >= 0 else None,
        "modalities": MODALITIES[modality] if modality >= 0 else None,
        "sponsored": SPONSORSHIP[int(corpus.sponsored[row])],
        "posted": None if np.isnat(corpus.posted[row]) else str(corpus.posted[row])[:10],
        "n_images": int(corpus.n_images[row]),
        "status": corpus.statuses[row].as_py(),
        "label": _number(corpus.labels[row]),
    }


def _match_scores(corpus: ExploredCorpus, chosen: PostFilter, axis: str) -> Bools:
    values = corpus.values[axis]
    if chosen.status == "unscored":
        return np.isnan(values)
    keep = np.ones(len(values), dtype=bool) if chosen.status == "all" else ~np.isnan(values)
    keep &= _between(values, chosen.min_score, chosen.max_score)
    keep &= _between(corpus.widths, chosen.min_width, chosen.max_width)
    keep &= _between(corpus.disagreements, chosen.min_disagreement, None)
    if chosen.bands:
        keep &= _is_in(corpus.bands, BAND_NAMES, chosen.bands)
    if chosen.modalities:
        keep &= _is_in(corpus.modalities, MODALITIES, chosen.modalities)
    return keep


def _match_posts(corpus: ExploredCorpus, chosen: PostFilter) -> Bools:
    keep = np.ones(len(corpus), dtype=bool)
    if chosen.sponsored:
        keep &= _is_in(corpus.sponsored, SPONSORSHIP, chosen.sponsored)
    for month, is_first in ((chosen.first_month, True), (chosen.last_month, False)):
        if month is not None:
            number = int(np.datetime64(month, "M").astype(np.int64))
            is_known = corpus.months > -(2**30)
            keep &= is_known & (
                (corpus.months >= number) if is_first else (corpus.months <= number)
            )
    return keep


def _between(values: Floats, low: float | None, high: float | None) -> Bools:
    keep = np.ones(len(values), dtype=bool)
    if low is not None:
        keep &= values >= np.float32(low)
    if high is not None:
        keep &= values <= np.float32(high)
    return keep


def _is_in(codes: Codes, names: tuple[str, ...], chosen: tuple[str, ...]) -> Bools:
    return np.isin(codes, [names.index(name) for name in chosen if name in names])


def _sort(corpus: ExploredCorpus, rows: Rows, order: PostOrder, axis: str) -> Rows:
    if order.by == "input":
        return rows[::-1] if order.descending else rows
    keys = {
        "score": corpus.values[axis],
        "uncertainty": corpus.widths,
        "disagreement": corpus.disagreements,
    }
    if order.by == "date":
        times = corpus.posted[rows].astype("datetime64[s]").astype(np.int64)
        values = np.where(np.isnat(corpus.posted[rows]), np.nan, times.astype(np.float64))
    else:
        values = keys[order.by][rows]
    # NaN comes last, and ties stay in input order.
    return rows[np.argsort(-values if order.descending else values, kind="stable")]


def _summarise(corpus: ExploredCorpus, rows: Rows, axis: str) -> Json:
    values = corpus.values[axis][rows]
    known = values[~np.isnan(values)]
    every = corpus.values[axis]
    low, high = (float(np.nanmin(every)), float(np.nanmax(every))) if len(known) else (0.0, 1.0)
    low, high = np.floor(low), max(np.ceil(high), np.floor(low) + 1)
    counts = np.histogram(known, _N_BINS, (low, high))[0]
    return {
        "posts": len(rows),
        "axis": axis,
        "mean": float(known.mean(dtype=np.float64)) if len(known) else None,
        "bands": _count(corpus.bands[rows], BAND_NAMES),
        "histogram": {"low": float(low), "high": float(high), "counts": counts.tolist()},
    }


def _count(codes: Codes, names: tuple[str, ...]) -> Mapping[str, int]:
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    return {name: int(n) for name, n in zip(names, counts, strict=True)}


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
