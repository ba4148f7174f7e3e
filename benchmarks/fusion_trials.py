"""Compare fusion students with the better of their two halves on synthetic corpora.

A fusion student, a text student and an image student are trained on each draw of each corpus, by
the code of the stage `train` with tiny encoders, and tested on many posts of the same draw. The
table gives the difference in R² between fusion and the better half: its mean over the draws with a
95% interval, its p-values in both directions (paired t-test, corrected by Holm over the rows of the
table), and the number of draws in which fusion is significantly better or worse on the test posts
(corrected over the draws). Finished draws are kept in `store/fusion_trials/`, by params and code.

    python -m benchmarks.fusion_trials [--draws 30] [--processes 2] [--only "image useless" both]
        [--sizes 500 5000] [--set train.fusion=parts]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from scipy import stats
from tqdm import tqdm

# Threads that spin while waiting compete for the cores. Must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
from benchmarks.code_digest import ROOT
from benchmarks.fusion_corpora import CORPORA, SIDE_PX
from benchmarks.fusion_training import STUDENTS, Trial, run

from postbias.params import Params, load_params
from postbias.stats.bootstrap import Array

_POSTS_SEEN = 4000  # in training, over all epochs, so that every size takes the same time
_ALPHA = 0.05

#: Settings of `train` that make a training run take seconds; the others are of the params file.
_TINY: dict[str, Any] = {
    "modalities": list(STUDENTS),
    "ablation": "whole",
    "text_encoder": "scratch",
    "text_scratch": {"vocab_size": 400, "hidden": 32, "layers": 1, "heads": 2},
    "image_encoder": "timm/test_resnet",
    "image_weights": "none",
    "image_size": SIDE_PX,
    "image_fit": "stretch",
    "max_tokens": 32,
    "head_hidden": 32,
    "batch_size": 32,
    "lr_text": 3e-3,
    "lr_image": 2e-3,
    "lr_head": 3e-3,
    "augment": False,
    "precision": "fp32",
    "device": "cpu",
}

Json = dict[str, Any]


def main() -> None:
    """Run the trials that have no stored result, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000], help="labels")
    parser.add_argument("--params", type=Path, default=ROOT / "params" / "resnet18-distilbert.yaml")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other params")
    options = parser.parse_args()
    trials = [
        Trial(name, size, draw, _params(options, size))
        for draw in range(options.draws)
        for name in options.only
        for size in options.sizes
    ]
    _run_missing(trials, options.processes)
    print("\n".join(_table(trials)))


def _params(options: argparse.Namespace, n_labels: int) -> str:
    """Return the params of the file, with tiny encoders and the settings of the command line."""
    epochs = max(2, round(_POSTS_SEEN / n_labels))
    tree = load_params(options.params).model_dump(mode="json") | {"threads": 1}
    tree["train"] |= _TINY | {"epochs": epochs, "patience": epochs}
    yaml = YAML(typ="safe", pure=True)
    for setting in options.set:
        key, value = setting.split("=", 1)
        *groups, name = key.split(".")
        node = tree
        for group in groups:
            node = node[group]
        node[name] = yaml.load(value)
    return Params.model_validate_json(json.dumps(tree)).model_dump_json()


def _run_missing(trials: Sequence[Trial], processes: int) -> None:
    missing = [trial for trial in trials if not trial.file.is_file()]
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        runs = [pool.submit(run, trial) for trial in missing]
        for finished in tqdm(as_completed(runs), total=len(runs), unit="trial", disable=None):
            finished.result()


def _table(trials: Sequence[Trial]) -> Iterator[str]:
    """Format the results as a Markdown table with one row per corpus and number of labels."""
    rows: dict[tuple[str, int], list[Json]] = {}
    for trial in trials:
        result = json.loads(trial.file.read_text(encoding="utf-8"))
        rows.setdefault((trial.corpus, trial.n_labels), []).append(result)
    gains = {key: np.array([_gain(r["r2"]) for r in results]) for key, results in rows.items()}
    p_better, p_worse = (
        holm(
            [
                stats.ttest_1samp(sign * gain, 0, alternative="greater").pvalue
                for gain in gains.values()
            ]
        )
        for sign in (1, -1)
    )
    yield (
        "| corpus | labels | text R² | image R² | fusion R² | fusion minus better half |"
        " p better | p worse | draws better | draws worse |"
    )
    yield f"|---|{'---:|' * 9}"
    for (key, results), better, worse in zip(rows.items(), p_better, p_worse, strict=True):
        means = (np.mean([r["r2"][name] for r in results]) for name in STUDENTS)
        t = np.array([r["t"] for r in results])
        counts = (np.count_nonzero(holm(stats.norm.sf(s * t)) < _ALPHA) for s in (1, -1))
        cells = (
            key[0], f"{key[1]:,}", *(f"{mean:.3f}" for mean in means), _interval(gains[key]),
            f"{better:.2g}", f"{worse:.2g}", *(f"{count} of {len(t)}" for count in counts),
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _gain(r2: Mapping[str, float]) -> float:
    return r2["fusion"] - max(r2["text"], r2["image"])


def _interval(gains: Array) -> str:
    low, high = stats.t.interval(0.95, len(gains) - 1, gains.mean(), stats.sem(gains))
    return f"{gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def holm(p_values: Sequence[float] | Array) -> Array:
    """Adjust p-values (n,) for multiple testing (Holm, Scandinavian J. of Statistics 1979)."""
    p = np.asarray(p_values, float)
    order = p.argsort()
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    result: Array = adjusted[order.argsort()]
    return result


if __name__ == "__main__":
    main()
