"""Convert the results by language to the content of `languages` in `reports/evaluate.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postbias.posts.languages import choose_language_group
from postbias.stats.bootstrap import Array, summarize_replicates

if TYPE_CHECKING:
    from postbias.evaluation.evaluate import Evaluation
    from postbias.evaluation.language_results import LanguageResult

Json = dict[str, Any]


def languages_to_json(evaluation: Evaluation) -> Json:
    """Convert the results by language.

    Returns:
        By student and language: number of posts, whether the gate judges it, the metrics of the
        student and of the baseline of that language, and the lengths of its captions in tokens. If
        the student has intervals by language, those of the language by modalities, too.
    """
    params = evaluation.params
    names = {"mae", "error", "slope", params.main_metric}
    percent = f"{100 * params.coverage:g}"
    renamed = {name: name for name in sorted(names)}
    renamed |= {name: f"{name}_{percent}" for name in ("coverage", "width")}
    return {
        student: {
            one.language: _language_to_json(one, renamed)
            | {"tokens": _tokens_to_json(evaluation, student, one.language)}
            | _intervals_to_json(evaluation, student, one.language)
            for one in results
        }
        for student, results in evaluation.languages.items()
    }


def _language_to_json(result: LanguageResult, names: dict[str, str]) -> Json:
    return {
        "n": result.n,
        **result.authors.as_dict(),
        "n_learned": result.n_learned,
        "judged": result.is_judged,
        "metrics": {
            name: _summarize(result.metrics[metric])
            for metric, name in names.items()
            if metric in result.metrics
        },
        "tfidf_ridge": None if result.baseline is None else _summarize(result.baseline),
        "advantage": None if result.advantage is None else _summarize(result.advantage),
        "p_worse": result.p_worse,
    }


def _tokens_to_json(evaluation: Evaluation, student: str, language: str) -> Json | None:
    loss = evaluation.token_loss.get(student, {}).get(language)
    return None if loss is None else dict(loss.as_dict())


def _intervals_to_json(evaluation: Evaluation, student: str, language: str) -> Json:
    by_modalities = evaluation.diagnostics.language_intervals.get(student, {})
    if not by_modalities:  # the same intervals for all languages
        return {}
    found: Json = {}
    for modalities, fitted in by_modalities.items():
        group = choose_language_group(language, fitted)
        n_calib = None if group is None else fitted[group].n
        found[modalities] = {"group": group, "n_calib": n_calib}
    return {"intervals": found}


def _summarize(replicates: Array) -> Json:
    return dict(summarize_replicates(replicates).as_dict())
