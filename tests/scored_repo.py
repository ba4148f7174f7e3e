"""A repository in the state after the infer stage, written in a second, for the report.

Posts, labels, folds, scores and reports are consistent; the champion is a tiny artifact that nobody
runs here. Some captions are hostile.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from postbias.json_files import write_json
from postbias.paths import Paths
from postbias.posts.schema import (
    POSTS,
    REJECTS,
    SAMPLE,
    SPLIT,
    labels_schema,
    out_of_fold_schema,
    scores_schema,
    variants_schema,
)
from postbias.posts.shards import write_table
from tests.conftest import ROOT
from tests.post_shards import jpeg, sample_all_posts
from tests.tiny_artifact import AXES, write_tiny_artifact

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    '"><img src=x onerror="document.title = 1">',
    "</style></blockquote><svg onload=alert(1)> {{ 7 * 7 }} {% raw %}",
    "javascript:alert(1) &lt;b&gt; \x00\x1b[31m 😀 مرحبا",
)
_WORDS = ("walk", "river", "coffee", "morning", "bread", "garden", "a", "lovely", "view", "with")
_BRANDS = ("auralane", "nordpfad", "casalume", "velvetoak")
_NAMES = tuple(axis.name for axis in AXES)

Json = dict[str, Any]


_DRIFT = {
    "posts": 480,
    "reference": 300,
    "differs": ["language"],
    "features": {
        "caption_length": {"distance": 0.05, "chance": 0.03, "limit": 0.15},
        "language": {"distance": 0.4, "chance": 0.02, "limit": 0.15},
    },
}


def _learning_curve() -> Json:
    def measured(mae: float) -> Json:
        ends = {"value": mae, "lo": mae - 0.1, "hi": mae + 0.1}
        return {name: {"mae": ends, "r2": {"value": 0.4, "lo": 0.3, "hi": 0.5}} for name in _NAMES}

    return {
        "modality": "fusion",
        "axis": _NAMES[0],
        "points": [
            {"share": share, "labels": round(180 * share), **measured(1.9 - share)}
            for share in (0.25, 0.5, 1.0)
        ],
        "last_step": {"from": 90, "to": 180, **measured(-0.5)},
    }


def write_scored_repo(root: Path, *, n_posts: int = 480, seed: int = 0) -> Paths:
    """Write it.

    Args:
        root: A folder, which may exist.
        n_posts: Posts, six of each author; the last tenth has no label.
        seed: Another seed, another corpus.

    Returns:
        Its paths.
    """
    paths = Paths(root, root)
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    for name in ("brands", "rubrics"):
        shutil.copytree(ROOT / name, root / name, dirs_exist_ok=True)
    posts = [_post(number, rng) for number in range(n_posts)]
    truth = rng.normal(4, 2, (n_posts, 2)).clip(0, 10)
    truth[:, 0] += [1.5 if post["sponsored"] else 0.0 for post in posts]
    labels = (truth + rng.normal(0, 0.7, truth.shape)).clip(0, 10).round(1)
    scores = (0.6 * truth + 1.6 + rng.normal(0, 0.6, truth.shape)).clip(0, 10)
    write_table(pa.Table.from_pylist(posts, POSTS), paths.posts / "00000.parquet", POSTS)
    sample_all_posts(paths)
    write_tiny_artifact(paths.champion)
    n_labels = n_posts * 9 // 10
    _write_labels(paths, posts[:n_labels], labels)
    _write_scores(paths, posts, scores)
    _write_reports(paths, n_labels)
    return paths


def _post(number: int, rng: np.random.Generator) -> Json:
    caption = " ".join(rng.choice(_WORDS, 9))
    if number < len(HOSTILE):
        caption = HOSTILE[number]
    elif rng.random() < 0.6:
        caption += f" @{_BRANDS[number % len(_BRANDS)]}"
    day = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=int(rng.integers(400)))
    return {
        "post_id": f"p{number:05d}",
        "author": f"author{number // 6:03d}",
        "caption": caption,
        "images": [{"bytes": jpeg(rng) if number % 9 else b"broken", "path": None}],
        "sponsored": None if number % 50 == 0 else number % 4 == 0,
        "posted_at": day,
        "likes": None,
        "comments": None,
        "media_type": "image",
        "platform": "test",
        "source": "scored_repo",
    }


def _write_labels(paths: Paths, posts: list[Json], labels: np.ndarray) -> None:
    folds = ("train", "train", "train", "valid", "calib", "test", "test")
    sample, split, rows = [], [], []
    for number, post in enumerate(posts):
        identity = {"post_id": post["post_id"], "author": post["author"]}
        # The hostile posts come first: in test, with large errors, so the report shows them.
        fold = "test" if number < len(HOSTILE) else folds[number // 6 % len(folds)]
        values = (0.0, 5.0) if number < len(HOSTILE) else labels[number].tolist()
        drawn = {"stratum": "all", "group_size": 1, "round": 1}
        sample.append({**identity, **drawn, "probability": 0.9, "weight": 1 / 0.9})
        split.append({**identity, "cluster": post["post_id"], "fold": fold, "round": 1})
        rows.append(
            {"post_id": post["post_id"], "n_replies": 1, "reason": f"because {post['caption']}"}
            | {"teacher": "test", "rubric": "gender_bias@0", "status": "ok"}
            | dict(zip(_NAMES, values, strict=True))
            | {f"{name}_sd": 0.0 for name in _NAMES}
        )
    schema = labels_schema(_NAMES)
    write_table(pa.Table.from_pylist(sample, SAMPLE), paths.sample, SAMPLE)
    write_table(pa.Table.from_pylist(split, SPLIT), paths.split, SPLIT)
    write_table(pa.Table.from_pylist(rows, schema), paths.labels, schema)
    reject = {"source": "labels.csv", "stage": "annotate", "reason": "no_label", "detail": "none"}
    rejects = pa.Table.from_pylist([{**reject, "post_id": "p99999"}], REJECTS)
    write_table(rejects, paths.label_rejects, REJECTS)


def _write_scores(paths: Paths, posts: list[Json], scores: np.ndarray) -> None:
    rows = []
    for number, post in enumerate(posts):
        is_ok = number % 60 != 59
        row = {key: post[key] for key in ("post_id", "author", "sponsored", "posted_at")}
        row |= {"n_images": 1, "status": "ok" if is_ok else "no_content", "champion": "0"}
        values = (9.0, 5.0) if number < len(HOSTILE) else scores[number].tolist()
        if is_ok:
            row |= {"band": AXES[0].band(values[0]), "modalities": "image+text"}
            for name, value in zip(_NAMES, values, strict=True):
                row |= {name: value, f"{name}_lo": max(value - 2, 0), f"{name}_hi": value + 2}
        rows.append(row)
    schema = scores_schema(_NAMES)
    write_table(pa.Table.from_pylist(rows, schema), paths.scores / "00000.parquet", schema)
    write_table(REJECTS.empty_table(), paths.score_rejects, REJECTS)


def _number(value: float, reach: float = 0.1) -> Json:
    return {"value": value, "lo": value - reach, "hi": value + reach}


def _model(mae: float) -> Json:
    named = {"mae": mae, "rmse": mae + 0.2, "r2": 0.5, "spearman": 0.6}
    named |= {"coverage_90": 0.9, "width_90": 4.0}
    return {"test": {name: {m: _number(v) for m, v in named.items()} for name in _NAMES}}


def _language(n: int) -> Json:
    tokens = {"n": n, "mean": 80.0, "high": 140.0, "cut": 0.2, "lost": 0.12, "much": n < 30}
    metrics = {"mae": 0.9, "error": 0.1, "coverage_90": 0.91, "width_90": 4.1}
    return {
        "n": n,
        "authors": n // 3,
        "posts_without_author": 0,
        "n_learned": 2 * n,
        "judged": n >= 30,
        "metrics": {name: _number(value) for name, value in metrics.items()},
        "tfidf_ridge": _number(1.6),
        "advantage": _number(0.7),
        "p_worse": 0.99,
        "tokens": tokens,
    }


def _absent() -> Json:
    empty = {"n": 0, "authors": 0, "posts_without_author": 0, "n_learned": 4, "judged": False}
    nothing = dict.fromkeys(("tfidf_ridge", "advantage", "p_worse", "tokens"))
    return {**empty, **nothing, "metrics": {}}


def _write_reports(paths: Paths, n_labels: int) -> None:
    kinds = {
        name: {
            "n": n, "authors": 40, "tiny": n < 30,
            "metrics": {"mae": _number(1.1), "error": _number(0.2)},
        }
        for name, n in (("yes", 90), ("no", 20))
    }  # fmt: skip
    swap = {"n": 80, "authors": 40, "languages": {"en": 80}, "judged": True, "n_directed": 70}
    swap |= {"unswapped": {"en": 5}, "unaudited": {"pl": 3, "unknown": 1}}
    swap |= {"change": _number(0.02, 0.01), "shift": _number(1.1), "right": _number(0.9)}
    scene = {"n": 5, "change": _number(0.03, 0.01), "difference": _number(-0.01, 0.02)}
    paired = {
        **scene,
        "n": 20,
        "unscored": 1,
        "units": 8,
        "spread": 0.05,
        "judged": False,
        "right": _number(0.7),
    }
    paired |= {
        "control": _number(0.02, 0.01),
        "shift": _number(0.4),
        "scenes": {"office <b>": scene},
    }
    coverage = {"n": 130, "n_calib": 60, "coverage": _number(0.91, 0.04), "width": _number(4.1)}
    evaluate = {
        "axes": {
            axis.name: {"low": axis.low, "high": axis.high, "distinct_labels": 21} for axis in AXES
        },
        "main": {"axis": "bias", "metric": "mae"},
        "n": {
            "train": 180,
            "valid": 60,
            "calib": 60,
            "test": 130,
            "test_authors": 22,
            "test_posts_without_author": 0,
        },
        "students": {
            name: {**_model(mae), "digest": "0", "n": {"test": 130}}
            for name, mae in (("fusion", 0.9), ("text", 1.2))
        },
        "baselines": {name: _model(1.6) for name in ("tfidf_ridge", "constant")},
        "paired": {"fusion_vs_text": {"bias": {**_number(-0.3), "p": 0.002}}},
        "ceiling": {"fusion": {"bias": {"r2": {"value": 0.8}, "reached": {"value": 0.9}}}},
        "chosen": "fusion",
        "champion": {"modality": "fusion", "digest": "0"},
        "gate": {
            "beats_constant": {"passed": True, "value": 0.001, "limit": 0.05},
            "coverage_bias": {"passed": False, "value": None, "limit": 0.8},
        },
        "retest": {"bias": {"n": 50, "mae": _number(0.6), "floor": _number(0.4)}},
        "slices": {"fusion": {"sponsored": kinds}},
        "languages": {"fusion": {"en": _language(100), "th": _language(20), "unknown": _absent()}},
        "coverage": {"fusion": {"bias": {"all": coverage}}},
        "audit": {
            "fusion": {
                "swap": swap,
                "repeated": {"n": 90, "change": _number(0.01, 0.005)},
                "odd": {},
                "faults": [],
            }
        },
        "image_audit": {"fusion": {"pairs": paired}},
    }
    axis = {"mean": 4.0, "sd": 2.0, "mode": 4.0, "share_at_mode": 0.1, "warnings": []}
    labels = {
        "n": {"sampled": n_labels + 1, "labelled": n_labels, "rejected": 1},
        "teacher": {"name": "recorded:labels.csv"},
        "axes": dict.fromkeys(_NAMES, axis),
        "warnings": ["bias: the labels hardly differ"],
    }
    folds = {"train": {"posts": 180}, "test": {"posts": 130}}
    for name, report in (
        ("evaluate", evaluate),
        ("labels", labels),
        ("infer", {"posts": 480, "drift": _DRIFT}),
        ("split", {"folds": folds, "audit": {"leakage": 0}}),
        ("sample", {"sampled": n_labels + 1}),
        ("learning_curve", _learning_curve()),
        ("people", {"ratings": None, "variants": {}}),
        ("cascade", {"curve": {"posts": 0, "points": []}}),
    ):
        write_json(paths.reports / f"{name}.json", report)
    for modality in ("fusion", "text", "image"):
        path = paths.out_of_fold / f"{modality}.parquet"
        schema = out_of_fold_schema(_NAMES)
        write_table(schema.empty_table(), path, schema)
    schema = variants_schema(_NAMES)
    write_table(schema.empty_table(), paths.variants, schema)
