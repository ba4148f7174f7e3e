"""The page that a person takes away: what was scored, the answer, and how far to trust it.

Gathers what the stages found, estimates means and shares, and renders one self-contained HTML
file: no script, no address of anywhere. Captions are hostile input: the template escapes all text.
Nothing of a clock, a commit or an MLflow run goes into it, so that the same inputs give the same
bytes; `Origin` adds them to the copy that is kept with the MLflow run.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from postbias.axes import BAND_EDGES
from postbias.evaluation.results_table import load_report
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.brands import select_brands, estimate_brands, write_brands
from postbias.population.corpus_estimates import estimate_population, build_estimands
from postbias.population.groups import group_posts
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.schema import REJECTS
from postbias.posts.shards import read_table, atomic_write
from postbias.report import cards
from postbias.report import sections as report_sections
from postbias.report.costs import estimate_costs
from postbias.report.examples import choose_examples
from postbias.report.page import render
from postbias.scoring.artifact import Artifact
from postbias.teacher.rubric import load_rubric

logger = logging.getLogger(__name__)

Json = dict[str, Any]

#: What the page rests on, as `dvc.lock` names it.
INPUTS = (
    "data",
    "build/sample/posts.parquet",
    "build/labels.parquet",
    "build/split.parquet",
    "build/champion",
    "build/scores",
)

#: Which stage wrote each of them; the posts were imported before the pipeline.
_WRITERS = {
    "build/sample/posts.parquet": "sample",
    "build/labels.parquet": "annotate",
    "build/split.parquet": "split",
    "build/champion": "evaluate",
    "build/scores": "infer",
}

# Where `make ui` shows the runs: the Makefile's port, and the first experiment of a new database.
_RUNS = "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter="


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page came from, for copies that need not be the same bytes.

    Attributes:
        commit: The git commit.
        runs: Stage, MLflow run id and address of each run behind the page.
    """

    commit: str | None
    runs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page shows.

    Attributes:
        population: Content of `reports/population.json`.
        brands: Content of `reports/brands.json`.
        context: What the template is given.
        cards: Text of the model card and the data sheet, by file name.
    """

    population: Json
    brands: Json
    context: Json
    cards: dict[str, str]

    def page(self, origin: Origin | None = None) -> str:
        """Render the page.

        Args:
            origin: Commit and runs to name in it; None for the page that must be the same bytes.

        Returns:
            HTML.
        """
        return render("report.html.j2", self.context | {"origin": origin})

    def metrics(self) -> dict[str, float]:
        """Return the numbers to log.

        Returns:
            Estimates for all posts by dotted name: value, ends, and the uncorrected number.
        """
        return {
            f"population.{name}{end}": found[key]
            for name, found in self.population["all"].items()
            if isinstance(found, dict)
            for end, key in (("", "value"), (".lo", "lo"), (".hi", "hi"), (".raw", "uncorrected"))
            if found[key] is not None
        }


def gather_findings(paths: Paths, params: Params, digests: Mapping[str, str]) -> Findings:
    """Gather and estimate all that the page shows.

    Args:
        paths: The repository, after the stage infer.
        params: Its group `report`, the rubric and the teacher are used.
        digests: Digest of each input by path, as `dvc.lock` records it; may lack any of them.

    Returns:
        The findings.

    Raises:
        InputError: If a report of another stage or the table of brands is missing.
        CorpusError: If no post could be scored.
        SchemaError: If a table is damaged.
    """
    population = load_scored_corpus(paths)
    logger.info("estimates from %d scored posts", len(population))
    outcomes = build_estimands(population)
    groups = group_posts(population.table, params.report.min_posts)
    said = estimate_population(population, outcomes, groups)
    brands = estimate_brands(population, outcomes, select_brands(population, paths, params.report))
    reports = {
        name: load_report(paths.reports / f"{name}.json")
        for name in ("evaluate", "labels", "infer", "split", "sample", "learning_curve")
    }
    shown = [(path, digests[path]) for path in INPUTS if path in digests]
    facts = _facts(paths, params, population, reports) | {
        "digests": shown,
        "runs": _runs(shown, Artifact.open(paths.champion).manifest.modality),
    }
    worst, typical = choose_examples(population, paths, params.report.examples)
    context = {
        "facts": facts,
        "population": said,
        "brands": brands,
        "reports": reports,
        "worst": worst,
        "typical": typical,
        "costs": estimate_costs(reports["labels"], population.n_posts, params.report.cost),
        "cost_params": params.report.cost,
        **report_sections.lay_out(population, said, brands, reports),
    }
    return Findings(said, brands, context, cards.write_cards(context))


def write_findings(found: Findings, paths: Paths) -> Path:
    """Write the page, its numbers and the cards.

    Args:
        found: What was found out.
        paths: The repository; writes `build/report.html`, `build/cards/`,
            `reports/population.json`, `reports/brands.json` and `reports/brands.csv`.

    Returns:
        Where the page lies.

    Raises:
        StorageError: If it cannot be written.
    """
    write_json(paths.reports / "population.json", found.population)
    write_json(paths.reports / "brands.json", found.brands)
    write_brands(found.brands, paths.reports / "brands.csv")
    for name, text in found.cards.items():
        _write(paths.cards / name, text)
    _write(paths.report, found.page())
    logger.info("the report is %s", paths.report)
    return paths.report


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _facts(paths: Paths, params: Params, population: ScoredCorpus, reports: Json) -> Json:
    times = population.table["posted_at"].drop_null()
    rubric = load_rubric(paths.root / params.annotate.rubric)
    champion = Artifact.open(paths.champion)
    ordered = np.sort(times.to_numpy()) if len(times) else None
    main = population.axes[0]
    return {
        "axis": main.name,
        "ends": (main.low, main.high),
        "cuts": [main.low + share * (main.high - main.low) for share in (0, *BAND_EDGES, 1)],
        "axes": population.axes,
        "rubric": rubric,
        "teacher": reports["labels"]["teacher"]["name"],
        "is_demo": (paths.data / "truth.parquet").is_file(),
        "imported": _imported(paths),
        "period": None if ordered is None else tuple(str(t)[:10] for t in ordered[[0, -1]]),
        "authors": len(np.unique(population.study.authors)),
        "manifest": champion.manifest,
        "champion": champion.digest,
        "rejects": _rejects(paths),
        "params": params,
    }


def _imported(paths: Paths) -> Json:
    """Return what the importer said of itself; empty for posts that came otherwise."""
    file = paths.data / "import.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _rejects(paths: Paths) -> list[tuple[str, str, int]]:
    """Count rejects by stage and reason, in the order of the pipeline."""
    found: Counter[tuple[str, str]] = Counter()
    places = (paths.data / "rejects.parquet", paths.label_rejects, paths.score_rejects)
    for place in (place for place in places if place.is_file()):
        table = read_table(place, REJECTS, ["stage", "reason"])
        found.update(zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True))
    order = {"import": 0, "annotate": 1}
    ranked = sorted(found.items(), key=lambda item: (order.get(item[0][0], 2), -item[1], item[0]))
    return [(stage, reason, n) for (stage, reason), n in ranked]


def _runs(digests: list[tuple[str, str]], modality: str) -> list[tuple[str, str, str]]:
    """Give stage, filter by digest, and address of the search in the UI that `make ui` starts."""
    wanted = [(stage, path, dict(digests).get(path)) for path, stage in _WRITERS.items()]
    # The champion is a copy of a student's folder: one digest.
    wanted.insert(3, (f"train@{modality}", f"build/students/{modality}", wanted[3][2]))
    filters = [(stage, f"tags.`dvc.outs.{path}` = '{md5}'") for stage, path, md5 in wanted if md5]
    return [(stage, said, _RUNS + quote(said, safe="")) for stage, said in filters]
