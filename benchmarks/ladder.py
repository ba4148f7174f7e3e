"""What a pocket student gains from the scores of a full student on posts without a label.

Three students of the same split are compared on the test fold, by the teacher's labels: the full
one and a pocket student, both trained on labels only, and the same pocket student with the ladder
(`train.distil_from`, `train.transfer`). Part of the train fold keeps its labels, the rest is the
transfer set. Differences are paired bootstrap intervals over authors.

`demo` needs the outputs of `dvc repro` up to `split`; its students are fusion students with random
weights, the pocket one with less than half as many. `edos` needs `edos.csv` (as `make bench-real`)
and a MiniLM: the full student is fine-tuned MiniLM, the pocket one has its first two layers and
6,000 of its tokens. Finished students are kept in the folder WORK, so that an interrupted run goes
on where it was.

    python -m benchmarks.ladder demo WORK
    python -m benchmarks.ladder edos WORK --encoder FOLDER [--data FOLDER] [--labels 4000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.labelled_captions import BY_LAYER, prepare_repository

from postbias.evaluation.labelled_folds import load_labelled_folds, score_folds
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.schema import SPLIT, axes_in_schema, labels_schema
from postbias.posts.shards import read_table, write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import Array, resample_authors, summarize_replicates
from postbias.stats.metrics import compute_metrics

ROOT = Path(__file__).resolve().parents[1]

#: Folder of the full student in the repository.
FULL = "full_students/full"
_REPLICATIONS = 2000

Settings = dict[str, Any]

# The head that the ladder was measured with, instead of that of `BY_LAYER`.
_MLP = {"head": "mlp", "head_epochs": 10}

#: Keys of the group `train` by student; those of the pocket student on the ladder are added.
_DEMO: Mapping[str, Settings] = {
    "full": {},
    "pocket": {
        "text_scratch": {"vocab_size": 2000, "hidden": 64, "layers": 1, "heads": 2},
        "image_encoder": "timm/resnet10t",
        "image_fit": "stretch",
        "head_hidden": 64,
        "epochs": 16,
    },
    "ladder": {},
}
_EDOS: Mapping[str, Settings] = {
    "full": BY_LAYER | _MLP | {"epochs": 2, "evaluations_per_epoch": 2},
    "pocket": BY_LAYER
    | _MLP
    | {
        "text_layers": 2,
        "text_vocabulary": 6000,
        "epochs": 6,
        "evaluations_per_epoch": 2,
    },
    "ladder": {"epochs": 4},  # of more posts
}


STUDENTS = {"demo": _DEMO, "edos": _EDOS}


def main() -> None:
    """Train what is missing, and print the table."""
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("postbias").setLevel(logging.INFO)
    options = _parse()
    prepare = prepare_demo if options.corpus == "demo" else prepare_edos
    students = STUDENTS[options.corpus]
    modality = "fusion" if options.corpus == "demo" else "text"
    base = base_params(options, modality)
    paths = Paths(options.work.resolve(), options.work.resolve())
    if not paths.split.is_file():
        prepare(paths, base, options)
    labelled, transfer = count_posts(paths)
    full = train(paths, paths.root / FULL, base, modality, students["full"])
    folders = {"full": full}
    ladder = students["ladder"] | {"distil_from": FULL, "transfer": transfer}
    for name, settings in (("pocket, labels only", {}), ("pocket, ladder", ladder)):
        folder = paths.students / name.replace(", ", "-").replace(" ", "-")
        wanted = dict(students["pocket"]) | settings
        folders[name] = train(paths, folder, base, modality, wanted)
    print(f"{labelled} labels to learn from, {transfer} posts without a label")
    print(format_table(paths, folders))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", choices=["demo", "edos"])
    parser.add_argument("work", type=Path, help="folder for the repository and its students")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "real")
    parser.add_argument("--encoder", type=Path, help="folder of MiniLM, for edos")
    parser.add_argument("--labels", type=int, default=4000, help="labels to learn from, for edos")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def base_params(options: argparse.Namespace, modality: str) -> Params:
    """Return the params of all students but for their sizes."""
    file = "demo" if options.corpus == "demo" else "labelled-text-pretrained"
    params = load_params(ROOT / "params" / f"{file}.yaml").model_dump(mode="json")
    params["threads"] = options.threads
    params["train"] |= {"modalities": [modality], "ablation": "whole"}
    params["evaluate"]["learning_curve"] = []
    if options.encoder is not None:
        params["train"]["text_encoder"] = str(options.encoder.resolve())
    return Params.model_validate_json(json.dumps(params))


def prepare_demo(paths: Paths, _: Params, __: argparse.Namespace) -> None:
    """Copy the demo; half of the authors of the train fold lose their labels."""
    paths.root.mkdir(parents=True)
    shutil.copytree(ROOT / "rubrics", paths.root / "rubrics")
    for name in ("sample", "labels.parquet", "split.parquet"):
        source, copy = ROOT / "build" / name, paths.build / name
        copy.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    split, labels = read_table(paths.split, SPLIT), read_table(paths.labels)
    is_lost = pa.array(
        [hashlib.sha256(a.encode()).digest()[0] % 2 == 0 for a in split["author"].to_pylist()]
    )
    kept = split.filter(pc.invert(pc.and_(pc.equal(split["fold"], "train"), is_lost)))
    ids = kept["post_id"].combine_chunks()
    labels = labels.filter(pc.is_in(labels["post_id"], value_set=ids))
    axes = axes_in_schema(labels.schema, companion="_sd")
    write_table(labels, paths.labels, labels_schema(axes))
    write_table(kept, paths.split, SPLIT)


def prepare_edos(paths: Paths, params: Params, options: argparse.Namespace) -> None:
    """Import EDOS with some labels of its train fold only."""
    import pandas as pd

    paths.root.mkdir(parents=True)
    posts = pd.read_csv(options.data / "edos.csv", keep_default_na=False)
    train = posts[posts["fold"] == "train"]
    unlabelled = train.drop(train.sample(options.labels, random_state=0).index).index
    posts.loc[unlabelled, "bias"] = np.nan
    prepare_repository(paths.root, posts, params)


def count_posts(paths: Paths) -> tuple[int, int]:
    """Count the posts of the train fold, and those without a label."""
    from postbias.student.fold_labels import read_fold_labels, read_unlabelled_ids

    return len(read_fold_labels(paths)["train"]), len(read_unlabelled_ids(paths))


def train(paths: Paths, folder: Path, base: Params, modality: str, settings: Settings) -> Path:
    """Train a student as the stage does; return its folder."""
    from postbias.student.distillation import distil_artifact

    if (folder / "student.json").is_file():
        return folder
    group = base.train.model_dump(mode="json") | settings
    tree = base.model_dump(mode="json") | {"train": group}
    params = Params.model_validate_json(json.dumps(tree))
    started = time.process_time()
    distil_artifact(folder, paths, params, modality, lambda _: nullcontext(lambda *_: None))
    print(f"{folder.name}: {time.process_time() - started:.0f} s of CPU", file=sys.stderr)
    return folder


def format_table(paths: Paths, folders: Mapping[str, Path]) -> str:
    """Score the test fold with all students; return a Markdown table."""
    axes = Artifact.open(folders["full"]).manifest.axes
    test = load_labelled_folds(paths, axes)["test"]
    rng = np.random.default_rng(0)
    resamples = resample_authors(test.authors, _REPLICATIONS, rng)
    measured: dict[str, dict[str, Array]] = {}
    for name, folder in folders.items():
        with Scorer.open(folder, threads=1) as scorer:
            (scored,) = score_folds(paths, [(scorer, test)], axes)
        values = scored.by_axis[axes[0].name]
        measured[name] = compute_metrics(test.labels[:, 0], values, axes[0], resamples)
    lines = ["| student | size, MB | R² | R² lost | AUC | AUC lost |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, found in measured.items():
        size = Artifact.open(folders[name]).size_bytes("int8") / 1e6
        full = measured["full"]
        cells = [_interval(found["r2"]), _interval(1 - found["r2"] / full["r2"], percent=True),
                 _interval(found["auc_high"]),
                 _interval(full["auc_high"] - found["auc_high"])]  # fmt: skip
        lines.append(f"| {name} | {size:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(replicates: Array, *, percent: bool = False) -> str:
    found = summarize_replicates(replicates)
    style = ".1%" if percent else ".3f"
    value, low, high = (format(x, style) for x in (found.value, found.lo, found.hi))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    # Threads that spin while waiting compete for the cores of a shared machine, as in
    # stages/train.py. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
