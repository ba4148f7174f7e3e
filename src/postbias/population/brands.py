"""What one may say of brands: an estimate with its interval for each, and how much of it is luck.

A post counts for every brand that it names. Each brand's mean is estimated as for any group of
posts, then pulled to the mean of brands by as much as its own numbers leave open, so that small
brands do not lead a table by chance. Writes nothing: rows for a report or a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from postbias.errors import InputError
from postbias.json_files import round_floats
from postbias.params import ReportParams
from postbias.paths import Paths
from postbias.population import groups
from postbias.population.brand_mentions import find_brand_posts, find_frequent_accounts, read_brands
from postbias.population.corpus_estimates import Estimand, estimate_difference, estimate_means, build_estimands
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.shards import atomic_write
from postbias.stats.estimates import Figure
from postbias.stats.pooling import pool
from postbias.stats.ppi import Bools

Json = dict[str, Any]

#: Below this share of its own, a pooled estimate is mostly that of other brands, and marked.
MOSTLY_OWN = 0.5


def select_brands(population: ScoredCorpus, paths: Paths, params: ReportParams) -> dict[str, Bools]:
    """Find the brands of the corpus.

    Args:
        population: All posts.
        paths: The repository; the table of brands is looked up here.
        params: The table, and which brands are large enough.

    Returns:
        By brand the posts that name it, the brand with most posts first. (N,)

    Raises:
        InputError: If the table of brands cannot be used.
    """
    captions = population.table["caption"].to_pylist()
    if params.brands is None:
        aliases = find_frequent_accounts(captions, params.min_posts, params.max_brands)
    else:
        aliases = read_brands(paths.root / params.brands)
    found = find_brand_posts(captions, aliases, in_words=params.brands is not None)
    large = {name: rows for name, rows in found.items() if rows.sum() >= params.min_posts}
    return dict(list(large.items())[: params.max_brands])


def load_and_estimate_brands(paths: Paths, params: ReportParams) -> Json:
    """Estimate the brands of a scored corpus.

    Args:
        paths: The repository, after the stage infer.
        params: The table of brands, and which are large enough.

    Returns:
        As `estimate_brands`.
    """
    population = load_scored_corpus(paths)
    return estimate_brands(
        population, build_estimands(population), select_brands(population, paths, params)
    )


def write_brands(report: Json, path: Path) -> None:
    """Write the brands as a table.

    Args:
        report: What `estimate_brands` returned.
        path: Where to; `.csv` or `.parquet`.

    Raises:
        InputError: If the file has another ending.
        StorageError: If it cannot be written.
    """
    table = brand_table(round_floats(report))
    writers = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}
    if path.suffix not in writers:
        raise InputError("brands are written as .csv or .parquet", seen=path.name)
    with atomic_write(path) as temporary:
        writers[path.suffix](table, temporary)


def estimate_brands(
    population: ScoredCorpus, outcomes: tuple[Estimand, ...], brands: Mapping[str, Bools]
) -> Json:
    """Estimate the main axis and the share of the highest band for every brand.

    Args:
        population: All posts.
        outcomes: What `build_estimands` prepared.
        brands: By brand its posts. (N,)

    Returns:
        The content of `reports/brands.json`: `axis`, `mean` and `spread` of brands, and `brands`,
        one row each in the order given.
    """
    main = population.axes[0]
    kept = tuple(o for o in outcomes if o.name in {main.name, "share_high"})
    sponsored = groups.group_by_sponsorship(population.table["sponsored"])
    halves = groups.group_by_half(population.table["posted_at"])
    everything = [estimate_means(population, kept, rows) for rows in brands.values()]
    means = [figures[main.name] for figures in everything]
    pooled = pool(np.array([f.value for f in means]), np.array([f.variance for f in means]))
    found = []
    for i, (name, rows) in enumerate(brands.items()):
        own = pooled.own[i] if pooled else float(np.isfinite(means[i].value))
        ends = (pooled.values[i], pooled.lo[i], pooled.hi[i]) if pooled else (np.nan,) * 3
        found.append(
            _describe_one(kept, everything[i])
            | {
                "brand": name,
                "pooled": {
                    key: float(np.clip(end, main.low, main.high)) if np.isfinite(end) else None
                    for key, end in zip(("value", "lo", "hi"), ends, strict=True)
                },
                "own_share": float(own),
                "is_small": bool(own < MOSTLY_OWN),
                "sponsored_minus_organic": _compare(
                    population, kept, rows, sponsored, ("sponsored", "organic")
                ),
                "later_minus_earlier": _compare(
                    population, kept, rows, halves, ("later half", "earlier half")
                ),
            }
        )
    return {
        "axis": main.name,
        "range": [main.low, main.high],
        "mean": pooled.mean if pooled else None,
        "spread": pooled.spread if pooled else None,
        "brands": found,
    }


def brand_table(report: Json) -> pa.Table:
    """Lay the brands out flat, one row each.

    Args:
        report: What `estimate_brands` returned.

    Returns:
        Counts, then value, lower and upper end of every estimate; null where there are too few
        labels.
    """
    flat = []
    for brand in report["brands"]:
        row: Json = {key: brand[key] for key in ("brand", "posts", "labels", "authors")}
        for column, estimate in (
            (report["axis"], brand[report["axis"]]),
            (f"{report['axis']}_pooled", brand["pooled"]),
            ("share_high", brand["share_high"]),
            ("sponsored_minus_organic", brand["sponsored_minus_organic"]),
            ("later_minus_earlier", brand["later_minus_earlier"]),
        ):
            row |= {
                column: estimate["value"],
                f"{column}_lo": estimate["lo"],
                f"{column}_hi": estimate["hi"],
            }
        row[f"{report['axis']}_uncorrected"] = brand[report["axis"]]["uncorrected"]
        flat.append(row | {"own_share": brand["own_share"], "is_small": brand["is_small"]})
    return pa.Table.from_pylist(flat)


def _describe_one(outcomes: tuple[Estimand, ...], figures: Mapping[str, Figure]) -> Json:
    posts, labels, _, authors = figures[outcomes[0].name].n
    found: Json = {"posts": posts, "labels": labels, "authors": authors}
    for outcome in outcomes:
        figure = figures[outcome.name]
        found[outcome.name] = outcome.interval(figure).as_dict() | {
            "uncorrected": figure.uncorrected
        }
    return found


def _compare(
    population: ScoredCorpus,
    outcomes: tuple[Estimand, ...],
    rows: Bools,
    named: Mapping[str, Bools],
    pair: tuple[str, str],
) -> Json:
    """Compare two kinds of posts of one brand on the main axis."""
    none = {"value": None, "lo": None, "hi": None}
    if not set(pair) <= named.keys():
        return none
    one, two = (rows & named[name] for name in pair)
    found = estimate_difference(population, outcomes[:1], one, two)[outcomes[0].name]
    return {key: found[key] for key in none}
