"""The methods paragraph for a paper, with the numbers of the run.

What the run does not know stands in square brackets, for the author to fill in.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from postbias.report.reported_run import RunSummary
from postbias.report.wording import format_interval, format_points

if TYPE_CHECKING:
    from postbias.scoring.manifest_records import DistilledFrom

Json = dict[str, Any]

_ENCODERS = {"scratch": "a transformer trained from scratch"}


def render_methods(run: RunSummary) -> str:
    """Render the paragraph: about 150 words of plain text in one line."""
    sentences = (
        _describe_data(run),
        _describe_labels(run),
        _describe_agreement(run),
        _describe_student(run),
        _describe_test(run),
        _describe_estimator(run),
        _describe_software(run),
    )
    return " ".join(sentences)


def _describe_data(run: RunSummary) -> str:
    everything = run.reports["population"]["all"]
    kind = "synthetic " if run.is_demo else ""
    period = "" if run.period is None else f" ({run.period[0]} to {run.period[1]})"
    authors = f" by {everything['authors']:,} authors" if everything["authors"] else ""
    origin = "" if run.is_demo else " [platform and collection]"
    return f"We scored {everything['posts']:,} {kind}posts{authors}{period}{origin}."


def _describe_labels(run: RunSummary) -> str:
    sample, labels = run.reports["sample"], run.reports["labels"]
    endpoint = run.params.annotate.endpoint
    teacher = (
        f"{endpoint.model} (temperature {_temperature(endpoint.temperature)})"
        if run.is_endpoint
        else "recorded answers [of which model or people]"
    )
    return (
        f"From {_describe_sample(run, sample['sampled'])}, {teacher} labelled "
        f"{labels['n']['labelled']:,} by rubric {labels['rubric']}."
    )


def _describe_sample(run: RunSummary, sampled: int) -> str:
    params = run.params.sample
    if params.method == "stratified":
        return f"a random sample of {sampled:,} posts stratified by {', '.join(params.stratify_by)}"
    if params.method == "active":
        return f"a sample of {sampled:,} posts drawn in rounds with known probabilities"
    if params.n is None and params.max_per_author is None:
        return f"all {sampled:,} distinct posts"
    return f"a simple random sample of {sampled:,} posts"


def _describe_agreement(run: RunSummary) -> str:
    ratings = run.reports["people"].get("ratings")
    if ratings is None:
        return "No people rated posts, so agreement with people is not known."
    raters = f"{len(ratings['raters'])} {'simulated raters' if run.is_demo else 'raters'}"
    found = run.reports["people"]["agreement"][run.axis]
    alpha = _estimate((found.get("people") or {}).get("alpha"))
    pair = (found.get("pairs") or {}).get("teacher_people") or {}
    correlation = _estimate(pair.get("correlation"))
    parts = [
        alpha and f"Krippendorff's alpha {alpha}",
        correlation and f"correlation with the labels {correlation}",
    ]
    known = ", ".join(part for part in parts if part) or "agreement could not be estimated"
    return f"Of these, {ratings['posts']:,} were rated by {raters}: {known}."


def _describe_student(run: RunSummary) -> str:
    manifest, n = run.manifest, run.reports["evaluate"]["n"]
    encoders = [name for name in (manifest.text_encoder, manifest.image_encoder) if name]
    named = " and ".join(_ENCODERS.get(name, name) for name in encoders)
    return (
        f"A {manifest.modality} student ({named}) learned {n['train']:,} labels"
        f"{_describe_full_student(manifest.distilled_from)}; checkpoints were "
        f"chosen on {n['valid']:,}{_describe_intervals(run)}, without shared authors."
    )


def _describe_full_student(source: DistilledFrom | None) -> str:
    if source is None:
        return ""
    unlabelled = f" and to {source.posts:,} posts without a label" if source.posts else ""
    return f" and the scores that a larger student of labels gave to these posts{unlabelled}"


def _describe_intervals(run: RunSummary) -> str:
    manifest = run.manifest
    if manifest.coverage is None:
        return ""
    fitted = (
        f"residuals of {manifest.cross_fit} cross-fitted students"
        if manifest.cross_fit
        else f"{run.reports['evaluate']['n']['calib']:,}"
    )
    codes = {
        code
        for by_modalities in manifest.language_intervals.values()
        for by_language in by_modalities.values()
        for code in by_language
    }
    separate = f" (by language: {', '.join(sorted(codes))})" if codes else ""
    return f", and {manifest.coverage:.0%} conformal intervals fitted on {fitted}{separate}"


def _describe_test(run: RunSummary) -> str:
    evaluate, tested = run.reports["evaluate"], run.tested
    n = evaluate["n"]
    lexical = evaluate["baselines"].get("tfidf_ridge", {}).get("test", {}).get(run.axis)
    beside = f" (TF-IDF and ridge: {format_points(lexical['mae']['value'])})" if lexical else ""
    share = (tested.get("coverage_90") or {}).get("value")
    covered = "" if share is None else f"; intervals covered {share:.0%} of labels"
    return (
        f"On {n['test']:,} test posts by {n['test_authors']:,} other authors, the mean absolute "
        f"error on {run.axis} was {_estimate(tested['mae'])}{beside} and R² "
        f"{_estimate(tested['r2'])}{covered}."
    )


def _describe_estimator(run: RunSummary) -> str:
    level = run.reports["population"]["level"]
    has_ratings = run.reports["people"].get("ratings") is not None
    people = ", and those of ratings from ratings, labels and scores" if has_ratings else ""
    return (
        "Means and shares of labels in all posts were estimated by prediction-powered inference "
        f"from labels and out-of-sample scores{people}. In brackets: {level:.0%} intervals, "
        "clustered by author."
    )


def _describe_software(run: RunSummary) -> str:
    versions = run.manifest.versions
    named = [f"{name} {versions[name]}" for name in ("torch", "onnxruntime") if name in versions]
    listed = ", ".join([f"postbias {version('postbias')}", *named])
    return f"Software: {listed}; student {run.digest[:12]}."


def _temperature(value: float | None) -> str:
    return "the model's default" if value is None else f"{value:g}"


def _estimate(estimate: Json | None) -> str | None:
    """Format an estimate with its interval; None if there is none."""
    if estimate is None or estimate["value"] is None:
        return None
    return f"{format_points(estimate['value'])} ({format_interval(estimate)})"
