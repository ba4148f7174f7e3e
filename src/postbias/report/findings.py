"""Gather what the stages found, estimate the population, and write the report.

The page is one self-contained HTML file without scripts or external addresses. It contains no time,
commit or run id, so that the same inputs give the same bytes; the copy that is stored with the
MLflow run names them.
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
from postbias.errors import InputError
from postbias.evaluation.results_table import load_evaluation
from postbias.json_files import write_json
from postbias.localisation.messages import use_language
from postbias.params import Params
from postbias.paths import Paths
from postbias.population.brands import estimate_brands, select_brands, write_brands
from postbias.population.corpus_estimates import build_estimands, estimate_population
from postbias.population.groups import group_posts
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.posts.schema import REJECTS
from postbias.posts.shards import atomic_write, read_table
from postbias.report.costs import estimate_costs
from postbias.report.disputed_posts import show_disputed_posts
from postbias.report.examples import choose_examples
from postbias.report.explanations_section import lay_out_explanations
from postbias.report.page import Origin, render_cards, render_template
from postbias.report.sections import lay_out_sections
from postbias.scoring.artifact import Artifact
from postbias.teacher.rubric import load_rubric

logger = logging.getLogger(__name__)

Json = dict[str, Any]

# The demo's ratings by simulated raters; the demo can also be rated by people.
_DEMO_RATINGS = "ratings/demo.csv"

#: Inputs whose digests the page lists, as `dvc.lock` names them.
INPUTS = (
    "data",
    "build/sample/posts.parquet",
    "build/labels.parquet",
    "build/split.parquet",
    "build/champion",
    "build/scores",
)

# The stage that wrote each input; `data` was imported before the pipeline.
_WRITERS = {
    "build/sample/posts.parquet": "sample",
    "build/labels.parquet": "annotate",
    "build/split.parquet": "split",
    "build/champion": "evaluate",
    "build/scores": "infer",
}

# The UI that `make ui` starts on its default port, and the first experiment of a new database.
_RUNS_URL = "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter="
#: The saved view that `postbias.tracking.students_view` points at the current students.
COMPARISON_URL = "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=students"


@dataclass(frozen=True, slots=True)
class Findings:
    """The content of the report.

    Attributes:
        population: The content of `reports/population.json`.
        brands: The content of `reports/brands.json`.
        context: Variables of the templates.
        cards: The model card, the data sheet and the reporting checklist by file name.
        language: The language of the page.
    """

    population: Json
    brands: Json
    context: Json
    cards: dict[str, str]
    language: str

    def page(self, origin: Origin | None = None) -> str:
        """Render the page as HTML.

        Args:
            origin: Commit and runs to name; None for the page that must be reproducible.

        Returns:
            HTML.
        """
        with use_language(self.language):
            return render_template("report.html.j2", self.context | {"origin": origin})

    def metrics(self) -> dict[str, float]:
        """Return the estimates for all posts as metrics to log, with limits and plug-in value."""
        suffixes = (("", "value"), (".lo", "lo"), (".hi", "hi"), (".raw", "uncorrected"))
        return {
            f"population.{name}{suffix}": estimate[key]
            for name, estimate in self.population["all"].items()
            if isinstance(estimate, dict)
            for suffix, key in suffixes
            if estimate[key] is not None
        }


def gather_findings(paths: Paths, params: Params, digests: Mapping[str, str]) -> Findings:
    """Read the results of all stages and estimate the population, groups and brands.

    Args:
        paths: The repository, after the infer stage.
        params: All params; `report`, the rubric and the sampling method are used.
        digests: Digest of each input in `dvc.lock`; any may be missing.

    Returns:
        The content of the report.

    Raises:
        InputError: If a report of another stage or the table of brands is missing or not valid.
        CorpusError: If no post has a score.
        SchemaError: If a table is damaged.
    """
    corpus = load_scored_corpus(paths)
    logger.info("estimating from %d scored posts", len(corpus))
    estimands = build_estimands(corpus)
    groups = group_posts(corpus.table, corpus.captions, params.report.min_posts)
    population = estimate_population(corpus, estimands, groups)
    brands = estimate_brands(corpus, estimands, select_brands(corpus, paths, params.report))
    reports = {
        name: load_evaluation(paths.reports / f"{name}.json")
        for name in (
            "evaluate",
            "labels",
            "infer",
            "split",
            "sample",
            "learning_curve",
            "people",
            "cascade",
        )
    }
    listed = [(path, digests[path]) for path in INPUTS if path in digests]
    facts = _collect_facts(paths, params, corpus, reports) | {
        "digests": listed,
        "comparison_url": COMPARISON_URL,
        "runs": _run_links(listed, Artifact.open(paths.champion).manifest.modality),
    }
    worst, typical = choose_examples(corpus, paths, params)
    context = {
        "facts": facts,
        "population": population,
        "brands": brands,
        "reports": reports,
        "worst": worst,
        "typical": typical,
        "disputed": show_disputed_posts(
            corpus, paths, reports["people"].get("disagreements", ()), params.report.examples
        ),
        "costs": estimate_costs(
            reports["labels"], corpus.n_posts + corpus.n_later, params.report.cost
        ),
        "cost_params": params.report.cost,
    }

    def lay_out() -> Json:
        explanations = lay_out_explanations(reports["evaluate"])
        sections = lay_out_sections(corpus, population, brands, reports)
        return context | {"explanations": explanations} | sections

    language = params.report.language
    with use_language(language):
        laid_out = lay_out()
    # Cards are published with the champion, for readers anywhere.
    with use_language("en"):
        cards = render_cards(laid_out if language == "en" else lay_out())
    return Findings(population, brands, laid_out, cards, language)


def write_findings(findings: Findings, paths: Paths) -> Path:
    """Write the page, the cards, and the estimates of the population and of brands.

    Args:
        findings: The content of the report.
        paths: The repository; writes `build/report.html`, `build/cards/`,
            `reports/population.json`, `reports/brands.json` and `reports/brands.csv`.

    Returns:
        Path of the page.

    Raises:
        StorageError: If a file cannot be written.
    """
    write_json(paths.reports / "population.json", findings.population)
    write_json(paths.reports / "brands.json", findings.brands)
    write_brands(findings.brands, paths.reports / "brands.csv")
    for name, text in findings.cards.items():
        _write_text(paths.cards / name, text)
    _write_text(paths.report, findings.page())
    logger.info("report written to %s", paths.report)
    return paths.report


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _collect_facts(paths: Paths, params: Params, corpus: ScoredCorpus, reports: Json) -> Json:
    times = corpus.table["posted_at"].drop_null()
    ordered = np.sort(times.to_numpy()) if len(times) else None
    champion = Artifact.open(paths.champion)
    main = corpus.axes[0]
    is_demo = (paths.data / "truth.parquet").is_file()
    return {
        "axis": main.name,
        "band_limits": [main.low + x * (main.high - main.low) for x in (0, *BAND_EDGES, 1)],
        "axes": corpus.axes,
        "rubric": load_rubric(paths.root / params.annotate.rubric),
        "teacher": reports["labels"]["teacher"]["name"],
        "is_demo": is_demo,
        "is_rated_by_program": is_demo and params.rating.file == _DEMO_RATINGS,
        "imported": read_import_summary(paths),
        "period": None if ordered is None else tuple(str(t)[:10] for t in ordered[[0, -1]]),
        "authors": corpus.count_authors(np.ones(len(corpus), dtype=bool)).as_dict(),
        "manifest": champion.manifest,
        "champion": champion.digest,
        "rejects": _count_rejects(paths),
        "params": params,
    }


def read_import_summary(paths: Paths) -> Json:
    """Read the importer's summary; empty for posts that were not imported by `postbias`.

    Raises:
        InputError: If the file is damaged.
    """
    file = paths.data / "import.json"
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "the summary of the import cannot be read",
            seen=str(file),
            do="run `dvc pull --force` or import again",
        ) from error


def _count_rejects(paths: Paths) -> list[tuple[str, str, int]]:
    """Count rejects by stage and reason, in the order of the pipeline."""
    counts: Counter[tuple[str, str]] = Counter()
    tables = (paths.data / "rejects.parquet", paths.label_rejects, paths.score_rejects)
    for path in (path for path in tables if path.is_file()):
        table = read_table(path, REJECTS, ["stage", "reason"])
        counts.update(zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True))
    order = {"import": 0, "annotate": 1}
    ranked = sorted(counts.items(), key=lambda item: (order.get(item[0][0], 2), -item[1], item[0]))
    return [(stage, reason, n) for (stage, reason), n in ranked]


def _run_links(digests: list[tuple[str, str]], modality: str) -> list[tuple[str, str, str]]:
    """Return stage, search filter and URL of the MLflow run behind each input."""
    outputs = [(stage, path, dict(digests).get(path)) for path, stage in _WRITERS.items()]
    # The champion is a copy of the student's folder, so both have the same digest.
    outputs.insert(3, (f"train@{modality}", f"build/students/{modality}", outputs[3][2]))
    filters = [(stage, f"tags.`dvc.outs.{path}` = '{md5}'") for stage, path, md5 in outputs if md5]
    return [(stage, text, _RUNS_URL + quote(text, safe="")) for stage, text in filters]
