"""Compare ways to choose which captions to label next by what a classifier learns from them.

EDOS, a public set of posts with labels of sexism by people: the pool are its 14,000 training posts,
the measure is the AUC on its 4,000 test posts. All strategies of a seed begin with the same 200
random posts and add 200 at a time; the classifier is fitted again after each. Two classifiers: a
logistic regression on TF-IDF, and a ridge regression on frozen features: those of a pretrained text
encoder, or TF-IDF of the whole pool reduced to 300 dimensions without labels.

Strategies: `random`; `uncertain`, the posts whose probability is closest to 0.5; `diverse`, of the
1,000 most uncertain ones the most uncertain of each of 200 clusters; `proportional`, random with
probabilities proportional to the expected error and 30% uniform, as `postbias next-posts` draws.

    python -m benchmarks.active_learning --file edos.csv [--encoder FOLDER] [--seeds 20]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import t
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from postbias.stats.active_sampling import draw_fixed_number, sampling_probabilities
from postbias.stats.bootstrap import Array

START, BATCH, END = 200, 200, 2000
DIMENSIONS, CANDIDATES = 300, 5
# Chosen on the dev fold with 1,000 random posts.
INVERSE_PENALTY, RIDGE_PENALTY = 10.0, 300.0

Features = csr_matrix | Array
#: Fits rows of the pool; returns the probability of a high label for pool and test.
Learner = Callable[[np.ndarray], tuple[Array, Array]]


@dataclass(frozen=True)
class Pool:
    """Posts to choose from, and test posts; `frozen` has features learned without labels."""

    sparse: csr_matrix
    frozen: Array
    y: np.ndarray
    test_sparse: csr_matrix
    test_frozen: Array
    test_y: np.ndarray


def embed_captions(encoder: Path, captions: list[str]) -> Array:
    """Embed captions with a frozen text encoder: the mean over tokens, (N, D)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    model.eval()
    order, found = np.argsort([len(c) for c in captions], kind="stable"), []
    with torch.inference_mode():
        for start in range(0, len(captions), 64):
            texts = [captions[i] for i in order[start : start + 64]]
            inputs = tokenizer(
                texts, padding=True, truncation=True, max_length=96, return_tensors="pt"
            )
            mask = inputs["attention_mask"][:, :, None]
            states = model(**inputs).last_hidden_state
            found.append(((states * mask).sum(1) / mask.sum(1)).numpy())
    embedded = np.empty((len(captions), found[0].shape[1]))
    embedded[order] = np.concatenate(found)
    return embedded


def read_pool(path: Path, test_fold: str = "test", encoder: Path | None = None) -> Pool:
    """Read EDOS and compute features; the vocabulary is that of the pool."""
    table = pd.read_csv(path)
    train, test = table[table["fold"] == "train"], table[table["fold"] == test_fold]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    sparse = vectorizer.fit_transform(train["caption"])
    test_sparse = vectorizer.transform(test["caption"])
    if encoder is None:
        reduce = TruncatedSVD(DIMENSIONS, random_state=0).fit(sparse)
        raw = [reduce.transform(x) for x in (sparse, test_sparse)]
    else:
        captions = [*train["caption"], *test["caption"]]
        raw = np.split(embed_captions(encoder, captions), [len(train)])
    scale = StandardScaler().fit(raw[0])
    frozen, test_frozen = (scale.transform(x) for x in raw)
    y, test_y = ((part["bias"] > 5).to_numpy().astype(int) for part in (train, test))
    return Pool(sparse, frozen, y, test_sparse, test_frozen, test_y)


def make_learners(pool: Pool) -> dict[str, Learner]:
    """Make the two classifiers, by name."""

    def fit_logistic(rows: np.ndarray) -> tuple[Array, Array]:
        model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear")
        model.fit(pool.sparse[rows], pool.y[rows])
        return model.predict_proba(pool.sparse)[:, 1], model.predict_proba(pool.test_sparse)[:, 1]

    def fit_ridge(rows: np.ndarray) -> tuple[Array, Array]:
        model = Ridge(alpha=RIDGE_PENALTY).fit(pool.frozen[rows], pool.y[rows])
        scores = model.predict(pool.frozen), model.predict(pool.test_frozen)
        return np.clip(scores[0], 0, 1), scores[1]

    return {"TF-IDF + logistic": fit_logistic, "frozen + ridge": fit_ridge}


def choose_next(
    strategy: str, p: Array, is_open: np.ndarray, frozen: Array, rng: np.random.Generator
) -> np.ndarray:
    """Choose the rows of the pool to label next, given the probability of each, (N,)."""
    rows = np.flatnonzero(is_open)
    if strategy == "random":
        return rng.choice(rows, BATCH, replace=False)
    # Ties in the distance, such as of captions without known words, are broken at random.
    distance = np.abs(p[rows] - 0.5) + 1e-9 * rng.random(len(rows))
    ranked = rows[np.argsort(distance)]
    if strategy == "uncertain":
        return ranked[:BATCH]
    if strategy == "diverse":
        candidates = ranked[: CANDIDATES * BATCH]
        seed = int(rng.integers(2**31))
        clusters = KMeans(BATCH, n_init=1, max_iter=30, random_state=seed)
        names = clusters.fit_predict(frozen[candidates])
        first = np.unique(names, return_index=True)[1]  # the most uncertain of each cluster
        others = np.setdiff1d(np.arange(len(candidates)), first)
        return candidates[np.r_[first, others][:BATCH]]
    errors = np.sqrt(p * (1 - p))
    probabilities = sampling_probabilities(errors, BATCH, available=is_open)
    return np.flatnonzero(draw_fixed_number(probabilities, rng.random(len(p))).is_sampled)


STRATEGIES = ("random", "uncertain", "diverse", "proportional")


def trace_learning(pool: Pool, learner: Learner, strategy: str, seed: int) -> list[float]:
    """Return the AUC after each batch."""
    rng = np.random.default_rng(seed)
    is_open = np.ones(len(pool.y), bool)
    rows = rng.choice(len(pool.y), START, replace=False)
    curve = []
    while True:
        is_open[rows] = False
        p, test_p = learner(np.flatnonzero(~is_open))
        curve.append(float(roc_auc_score(pool.test_y, test_p)))
        if (~is_open).sum() >= END:
            return curve
        rows = choose_next(strategy, p, is_open, pool.frozen, rng)


def labels_needed(curve: Array, target: float) -> float:
    """Return the number of labels at which a curve reaches a value; infinite if it does not."""
    above = np.flatnonzero(curve >= target)
    if not len(above):
        return float("inf")
    last = int(above[0])
    if last == 0:
        return float(START)
    before, after = curve[last - 1 : last + 1]
    return START + BATCH * (last - 1 + float((target - before) / (after - before)))


def resample_needed(found: Array, baseline: Array) -> list[int | None]:
    """Return the labels needed for the last mean AUC of the baseline, with a 95% interval.

    Args:
        found: Curves of a strategy, by seed. (S, C)
        baseline: Curves of random sampling, by seed. (S, C)
    """
    rng, n = np.random.default_rng(0), len(found)
    drawn = rng.integers(0, n, (2000, n))
    drawn[0] = np.arange(n)
    needed = [
        labels_needed(found[rows].mean(axis=0), float(baseline[rows, -1].mean())) for rows in drawn
    ]
    ends = np.quantile(needed, [0.025, 0.975], method="inverted_cdf")
    return [round(x) if np.isfinite(x) else None for x in (needed[0], *ends.tolist())]


def mean_and_reach(values: Array) -> tuple[float, float]:
    """Return the mean over seeds and the half-width of its 95% interval."""
    n = len(values)
    reach = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return round(float(np.mean(values)), 4), round(float(reach), 4)


def compare_strategies(pool: Pool, seeds: int) -> list[dict[str, object]]:
    """Return one row per classifier and strategy."""
    rows: list[dict[str, object]] = []
    for name, learner in make_learners(pool).items():
        curves = {
            strategy: np.array([trace_learning(pool, learner, strategy, s) for s in range(seeds)])
            for strategy in STRATEGIES
        }
        for strategy, found in curves.items():
            gains = found - curves["random"]
            middle = (1000 - START) // BATCH
            rows.append(
                {
                    "classifier": name,
                    "strategy": strategy,
                    "AUC at 1,000": mean_and_reach(found[:, middle]),
                    "gain at 1,000": mean_and_reach(gains[:, middle]),
                    "AUC at 2,000": mean_and_reach(found[:, -1]),
                    "gain at 2,000": mean_and_reach(gains[:, -1]),
                    "labels for the AUC of 2,000 random": resample_needed(found, curves["random"]),
                }
            )
    return rows


def main() -> None:
    """Print one JSON object per classifier and strategy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, help="Folder of a pretrained text encoder.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fold", default="test", choices=["dev", "test"])
    options = parser.parse_args()
    for row in compare_strategies(
        read_pool(options.file, options.fold, options.encoder), options.seeds
    ):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
