"""Estimates by brand, shrunk toward the mean of all brands.

A post counts for every brand that it names. The mean of each brand is estimated like that of any
group, then shrunk toward the mean of brands in proportion to its own uncertainty, so that sampling
error alone does not put small brands at the top of a table.
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
from postbias.population.brand_mentions import (
    find_brand_posts,
    find_frequent_accounts,
    read_brands,
)
from postbias.population.corpus_estimates import (
    Estimand,
    build_estimands,
    estimate_difference,
    estimate_means,
)
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.caption_chunks import iterate_captions
from postbias.posts.shards import atomic_write
from postbias.stats.estimates import MeanEstimate
from postbias.stats.pooling import pool_estimates
from postbias.stats.strata import Bools

Json = dict[str, Any]

#: A pooled estimate with less than this share of the brand's own data is flagged as small.
MIN_OWN_SHARE = 0.5

_COUNTS = ("posts", "labels", "authors", "posts_without_author")
_NO_ESTIMATE = {"value": None, "lo": None, "hi": None}


def select_brands(corpus: ScoredCorpus, paths: Paths, params: ReportParams) -> dict[str, Bools]:
    """Find the brands with at least `min_posts` posts.

    Args:
        corpus: All scored posts.
        paths: The repository, which `params.brands` is relative to.
        params: Table of brands, and the limits on posts and brands.

    Returns:
        Mask of posts by brand, in order of decreasing number of posts. (N,)

    Raises:
        InputError: If the table of brands is not valid.
    """
    captions = corpus.captions
    if params.brands is None:
        aliases = find_frequent_accounts(
            iterate_captions(captions), params.min_posts, params.max_brands
        )
    else:
        aliases = read_brands(paths.root / params.brands)
    brands = find_brand_posts(
        iterate_captions(captions), aliases, in_words=params.brands is not None
    )
    large = {name: rows for name, rows in brands.items() if rows.sum() >= params.min_posts}
    return dict(list(large.items())[: params.max_brands])


def load_and_estimate_brands(paths: Paths, params: ReportParams) -> Json:
    """Estimate the brands of the corpus that the infer stage scored; see `estimate_brands`."""
    corpus = load_scored_corpus(paths)
    return estimate_brands(corpus, build_estimands(corpus), select_brands(corpus, paths, params))


def write_brands(report: Json, path: Path) -> None:
    """Write the estimates of brands as a table.

    Args:
        report: The result of `estimate_brands`.
        path: The file, with the extension `.csv` or `.parquet`.

    Raises:
        InputError: If the extension is another one.
        StorageError: If the file cannot be written.
    """
    table = build_brand_table(round_floats(report))
    writers = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}
    if path.suffix not in writers:
        raise InputError(
            "unknown file format for brands", seen=path.name, allowed=".csv or .parquet"
        )
    with atomic_write(path) as temporary:
        writers[path.suffix](table, temporary)


def estimate_brands(
    corpus: ScoredCorpus, estimands: tuple[Estimand, ...], brands: Mapping[str, Bools]
) -> Json:
    """Estimate the mean of the main axis and the share of its high band for every brand.

    Args:
        corpus: All scored posts.
        estimands: The result of `build_estimands`.
        brands: Mask of posts by brand. (N,)

    Returns:
        The content of `reports/brands.json`: `axis`, `range`, `mean` and `spread` of brands, and
        `brands` with one entry per brand in the given order.
    """
    main = corpus.axes[0]
    kept = tuple(e for e in estimands if e.name in {main.name, "share_high"})
    sponsorship = groups.group_by_sponsorship(corpus.table["sponsored"])
    halves = groups.group_by_half(corpus.table["posted_at"])
    estimates = [estimate_means(corpus, kept, rows) for rows in brands.values()]
    means = [by_name[main.name] for by_name in estimates]
    pooled = pool_estimates(
        np.array([m.value for m in means]), np.array([m.variance for m in means])
    )
    entries = []
    for i, (name, rows) in enumerate(brands.items()):
        own_share = pooled.own_share[i] if pooled else float(np.isfinite(means[i].value))
        numbers = (pooled.values[i], pooled.lo[i], pooled.hi[i]) if pooled else (np.nan,) * 3
        entries.append(
            _format_estimates(kept, estimates[i])
            | corpus.count_authors(rows).as_dict()
            | {
                "brand": name,
                "pooled": {
                    key: float(np.clip(x, main.low, main.high)) if np.isfinite(x) else None
                    for key, x in zip(_NO_ESTIMATE, numbers, strict=True)
                },
                "own_share": float(own_share),
                "is_small": bool(own_share < MIN_OWN_SHARE),
                "sponsored_minus_organic": _compare_within(
                    corpus, kept, rows, sponsorship, ("sponsored", "organic")
                ),
                "later_minus_earlier": _compare_within(
                    corpus, kept, rows, halves, ("later half", "earlier half")
                ),
            }
        )
    return {
        "axis": main.name,
        "range": [main.low, main.high],
        "mean": pooled.mean if pooled else None,
        "spread": pooled.spread if pooled else None,
        "brands": entries,
    }


def build_brand_table(report: Json) -> pa.Table:
    """Flatten the estimates of brands into one row per brand.

    Args:
        report: The result of `estimate_brands`.

    Returns:
        Counts, then value, lower and upper limit of every estimate; null where there are too few
        labels.
    """
    rows = []
    for brand in report["brands"]:
        row: Json = {key: brand[key] for key in ("brand", *_COUNTS)}
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
        rows.append(row | {"own_share": brand["own_share"], "is_small": brand["is_small"]})
    return pa.Table.from_pylist(rows)


def _format_estimates(estimands: tuple[Estimand, ...], means: Mapping[str, MeanEstimate]) -> Json:
    sizes = means[estimands[0].name].sizes
    entry: Json = {"posts": sizes.posts, "labels": sizes.labels}
    for estimand in estimands:
        mean = means[estimand.name]
        entry[estimand.name] = estimand.interval(mean).as_dict() | {"uncorrected": mean.plug_in}
    return entry


def _compare_within(
    corpus: ScoredCorpus,
    estimands: tuple[Estimand, ...],
    rows: Bools,
    named: Mapping[str, Bools],
    pair: tuple[str, str],
) -> Json:
    """Compare the main axis between two groups of the posts of one brand."""
    if not set(pair) <= named.keys():
        return dict(_NO_ESTIMATE)
    first, second = (rows & named[name] for name in pair)
    difference = estimate_difference(corpus, estimands[:1], first, second)[estimands[0].name]
    return {key: difference[key] for key in _NO_ESTIMATE}
