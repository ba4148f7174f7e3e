"""A reproducibility checklist for a paper, filled from the run where the run knows the answer."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from postbias.report.reported_run import RunSummary
from postbias.report.wording import describe_gate_line

#: What no run can know.
AUTHOR = "**author**"

_HEAD = """# Reproducibility checklist

Filled by `postbias methods --checklist` from this run. Rows marked **author** need your answer.

| item | answer |
|---|---|
"""


def render_checklist(run: RunSummary, code: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """Render the checklist as Markdown.

    Args:
        run: What the run knows.
        code: `git.commit` and `git.dirty` of the repository; empty outside git.
        inputs: Digests of data and outputs, by path; empty if DVC does not know them.
    """
    parts = (
        _list_code(run, code),
        _list_data(run, inputs),
        _list_labels(run),
        _list_training(run),
        _list_results(run),
    )
    rows = [f"| {item} | {answer} |" for part in parts for item, answer in part]
    return _HEAD + "\n".join(rows) + "\n"


def _list_code(run: RunSummary, code: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    commit = code.get("git.commit")
    state = "" if code.get("git.dirty") == "false" else ", **with uncommitted changes**"
    yield "Code", f"commit `{commit}`{state}" if commit else f"not in git: {AUTHOR}"
    yield "Where the code can be had", AUTHOR
    built = ", ".join(f"{name} {found}" for name, found in sorted(run.manifest.versions.items()))
    yield "Software that built the student", built or f"not recorded: {AUTHOR}"
    here = f"postbias {version('postbias')}, Python {platform.python_version()}"
    yield "Software that wrote this list", f"{here}; all packages are pinned in `requirements.lock`"
    params = run.params
    yield "Random seed and threads", f"{params.seed}; {params.threads} (`params.yaml`)"
    yield "Processor, memory and time", AUTHOR
    yield (
        "Repeated from scratch",
        f"{AUTHOR}: `postbias verify` runs everything twice and compares all outputs",
    )


def _list_data(run: RunSummary, inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    found, infer = run.reports["population"]["all"], run.reports["infer"]
    kind = "synthetic posts" if run.is_demo else "posts"
    period = "no dates" if run.period is None else f"{run.period[0]} to {run.period[1]}"
    yield "Data", f"{found['posts']:,} scored {kind}, {found['authors']:,} authors, {period}"
    source = "the generator of the demo corpus, in this repository" if run.is_demo else AUTHOR
    yield "Where the data come from, and how they were collected", source
    yield (
        "Posts without a score",
        f"{infer['rejected']:,} of {infer['posts']:,}; reasons in `build/score_rejects.parquet`",
    )
    digests = "; ".join(f"`{path}` {digest}" for path, digest in inputs.items())
    yield "Digests of data and outputs (MD5)", digests or "DVC does not know them"
    yield "Whether the data can be shared", AUTHOR
    yield "Consent, ethics approval and legal basis", AUTHOR


def _list_labels(run: RunSummary) -> Iterator[tuple[str, str]]:
    sample, labels = run.reports["sample"], run.reports["labels"]
    params = run.params
    yield (
        "Sampling",
        f"`{params.sample.method}`: {sample['sampled']:,} of {sample['posts']:,} posts in "
        f"{sample['rounds']} round(s), with known inclusion probabilities",
    )
    endpoint = params.annotate.endpoint
    temperature = "default" if endpoint.temperature is None else f"{endpoint.temperature:g}"
    yield (
        "Teacher",
        f"`{endpoint.model}`, temperature {temperature}"
        if run.is_endpoint
        else f"`{labels['teacher']['name']}`; the model or people behind it: {AUTHOR}",
    )
    yield "Rubric with all prompts", f"`{labels['rubric']}` in `{params.annotate.rubric}`"
    lost = ", ".join(f"{n:,} {reason}" for reason, n in sorted(labels["rejected"].items()))
    yield "Sampled posts without a label", lost or "none"
    ratings = run.reports["people"].get("ratings")
    if ratings is None:
        yield "Ratings by people", "none"
        return
    simulated = "simulated " if run.is_demo else ""
    yield (
        "Ratings by people",
        f"{ratings['answers']['rated']:,} ratings of {ratings['posts']:,} posts by "
        f"{len(ratings['raters'])} {simulated}raters (`{ratings['file']}`)",
    )
    if not run.is_demo:
        yield "Recruitment, instruction and payment of raters", AUTHOR


def _list_training(run: RunSummary) -> Iterator[tuple[str, str]]:
    split, n = run.reports["split"], run.reports["evaluate"]["n"]
    folds = ", ".join(f"{name} {found['posts']:,}" for name, found in split["folds"].items())
    audit = split["audit"]
    yield "Folds (posts)", folds
    yield (
        "Leakage between folds",
        f"{audit['shared_authors']} shared authors, {audit['caption_pairs']} pairs of similar "
        f"captions, {audit['image_pairs']} of similar images",
    )
    train = run.params.train
    yield "Students trained", f"{', '.join(train.modalities)}; {train.seeds} seed(s) each"
    yield (
        "Choices",
        f"checkpoint and student on the valid fold ({n['valid']:,} posts); how hyperparameters "
        f"were found: {AUTHOR}",
    )
    yield "Hyperparameters", "all in `params.yaml`, group `train`"
    yield "Student", f"SHA-256 `{run.digest}`, {run.manifest.modality}"


def _list_results(run: RunSummary) -> Iterator[tuple[str, str]]:
    evaluate, population = run.reports["evaluate"], run.reports["population"]
    bootstrap = evaluate["bootstrap"]
    yield (
        "Intervals of metrics",
        f"{bootstrap['level']:.0%}, {bootstrap['replications']:,} bootstrap replications over "
        f"{bootstrap['clusters']} clusters",
    )
    yield "Baselines on the same posts", ", ".join(sorted(evaluate["baselines"]))
    lines = evaluate["gate"]
    failed = [describe_gate_line(name) for name, line in lines.items() if line["passed"] is False]
    outcome = "none failed" if not failed else f"**failed**: {'; '.join(failed)}"
    yield "Conditions of the gate", f"{len(lines)}; {outcome}"
    yield (
        "Estimates for all posts",
        f"prediction-powered inference, {population['level']:.0%} intervals clustered by author; "
        f"estimand: {population['estimand']}",
    )
    yield "Analyses that were planned before the results were seen", AUTHOR
