"""`make bench-real`: compare students with simple methods on public data sets of real captions.

The data sets and the encoder are not part of the repository: whatever lacks one of them is skipped,
with the reason. Every finished training run is kept in `store/bench_real/`, by the content of its
posts, parameters, encoder and code, so that an interrupted benchmark resumes and a change repeats
only what it affects. Prints one table and writes it to `reports/bench_real.md`.

    python -m benchmarks.real_data --encoder FOLDER [--data FOLDER] [--only instagram edos-1000]
        [--methods tfidf frozen] [--threads 2]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.code_digest import ROOT, code_digest
from benchmarks.labelled_captions import (
    BY_LAYER,
    FILES,
    LABEL,
    TASKS,
    Task,
    is_positive,
    prepare_repository,
)
from benchmarks.ranking_metrics import METRICS, RankedPosts

from postbias.json_files import write_json
from postbias.params import Params, load_params
from postbias.stats.bootstrap import Array, summarize_replicates

logger = logging.getLogger("bench_real")

REPORT = ROOT / "reports" / "bench_real.md"
STORE = ROOT / "store" / "bench_real"

_REPLICATIONS = 2000
_STAGES = ("sample", "annotate", "split", "train")
#: Params file of everything that is not the recipe: where labels and folds are.
_BASE = "labelled-text-pretrained"


_STUDENT = "score_student"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        title: Its name there.
        method: How posts are scored.
        recipe: Params file whose group `train` is used.
        settings: Keys of that group to change.
        needs_encoder: Whether it uses the pretrained text encoder.
        takes_unlabelled: Whether it learns from posts without a label too.
    """

    title: str
    method: str  # a function of benchmarks/text_classifiers.py
    recipe: str = _BASE
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs_encoder: bool = True
    takes_unlabelled: bool = False


#: Four cross-fitted students, whose mean scores of unlabelled posts the one that ships learns too.
_TRANSFER = BY_LAYER | {
    "cross_fit": 4,
    "transfer": 6000,
    "head": "mlp",
    "epochs": 4,
    "evaluations_per_epoch": 1,
    "average": None,
}

ROWS = {
    "tfidf": Row("TF-IDF + ridge", "score_tfidf_ridge", needs_encoder=False),
    "frozen": Row("frozen encoder + ridge", "score_frozen_features"),
    "labelled-text": Row("`labelled-text-pretrained.yaml`", _STUDENT),
    "by-layer": Row("head first, rates by layer, averaged", _STUDENT, settings=BY_LAYER),
    "small-data": Row("`small-data.yaml`", _STUDENT, "small-data"),
    "transfer": Row(
        "4 students, 6,000 unlabelled posts", _STUDENT, settings=_TRANSFER, takes_unlabelled=True
    ),
}
_REFERENCE = "labelled-text"  # differences in the table are to this row

Json = dict[str, Any]


def main() -> None:
    """Run what is not in the store, print the table and write it."""
    options = _parse()
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    for name in (logger.name, "postbias"):
        logging.getLogger(name).setLevel(logging.INFO)
    if missing := [name for name in FILES if not (options.data / name).is_file()]:
        print(f"bench-real is skipped: {options.data} has no {', '.join(missing)}")
        return
    rows = dict(_usable_rows(options))
    lines = []
    for name in options.only:
        task = TASKS[name](options.data).first(options.partitions)
        results = {
            key: _run_all(task, row, options)
            for key, row in rows.items()
            if task.unlabelled is not None or not row.takes_unlabelled
        }
        lines += _format(task, results)
    header = ("data", "method", "ships in", "AUC", "difference", "average precision", "difference",
              "wall, s", "CPU, s")  # fmt: skip
    table = "\n".join(_markdown([header, *lines]))
    print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(f"{table}\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "real")
    parser.add_argument("--encoder", type=Path, help="folder of a text encoder, such as MiniLM")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--partitions", type=int, help="run only the first ones of each data set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--out", type=Path, default=REPORT)
    return parser.parse_args()


def _usable_rows(options: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    """Yield the rows that can be computed; print why the others cannot."""
    encoder = options.encoder
    for key in options.methods:
        row = ROWS[key]
        if row.needs_encoder and encoder is None:
            print(f"{row.title} is skipped: --encoder (make: ENCODER) names no text encoder")
        elif row.needs_encoder and not (encoder / "config.json").is_file():
            print(f"{row.title} is skipped: {encoder} has no config.json")
        else:
            yield key, row


def _run_all(task: Task, row: Row, options: argparse.Namespace) -> list[Json]:
    """Score the test posts of every partition, or read the scores from the store."""
    params = _params(row, options)
    results = []
    for number, labelled in enumerate(task.partitions, 1):
        partition = task.with_unlabelled(labelled) if row.takes_unlabelled else labelled
        file = options.store / f"{_key(partition, row, params)}.json"
        if not file.is_file():
            logger.info("%s, %s, %d of %d", task.name, row.title, number, len(task.partitions))
            write_json(file, _run(partition, row, params))
        results.append(json.loads(file.read_text(encoding="utf-8")))
    return results


def _params(row: Row, options: argparse.Namespace) -> Params:
    """Take the group `train` of the row's recipe, and everything else from the base file."""
    base = load_params(ROOT / "params" / f"{_BASE}.yaml").model_dump(mode="json")
    recipe = load_params(ROOT / "params" / f"{row.recipe}.yaml").model_dump(mode="json")
    train = recipe["train"] | row.settings | {"modalities": ["text"], "ablation": "whole"}
    if options.encoder is not None:
        train["text_encoder"] = str(options.encoder.resolve())
    changed = base | {"threads": options.threads, "train": train}
    return Params.model_validate_json(json.dumps(changed))


def _run(partition: pd.DataFrame, row: Row, params: Params) -> Json:
    """Prepare a repository and score its test fold; only the students' preparation is timed."""
    method = getattr(import_module("benchmarks.text_classifiers"), row.method)
    with tempfile.TemporaryDirectory(prefix="postbias-real-") as name:
        started = _clocks()
        paths = prepare_repository(Path(name), partition, params)
        if row.method != _STUDENT:
            started = _clocks()
        result = method(paths, params)
        wall_s, cpu_s = _clocks() - started
    return asdict(result) | {"wall_s": wall_s, "cpu_s": cpu_s}


def _clocks() -> Array:
    """Read the wall clock and the CPU time of this process and its children.

    Returns:
        Both in seconds. (2,)
    """
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)])


def _key(partition: pd.DataFrame, row: Row, params: Params) -> str:
    """Digest everything that the scores of a partition depend on."""
    hasher = hashlib.sha256(partition.to_csv(index=False).encode())
    hasher.update(f"{row.method} {code_digest('text_classifiers.py')}".encode())
    group = params.model_dump(mode="json", include={"seed", "threads", "split", "train"})
    if row.needs_encoder:
        for file in sorted(Path(params.train.text_encoder).rglob("*.*")):
            if file.suffix in (".json", ".safetensors", ".txt"):
                hasher.update(file.read_bytes())
        del group["train"]["text_encoder"]  # its content counts, not its place
        hasher.update(json.dumps(group, sort_keys=True).encode())
    if row.method == _STUDENT:
        hasher.update(code_digest(*_STAGES).encode())
    return hasher.hexdigest()[:32]


def _format(task: Task, results: Mapping[str, list[Json]]) -> Iterator[tuple[str, ...]]:
    """Format a task as rows of the table."""
    posts = task.posts
    labels = is_positive(posts[LABEL].to_numpy(float))
    test = RankedPosts.draw(posts.index.tolist(), labels, _REPLICATIONS)
    measured = {key: test.measure([r["scores"] for r in runs]) for key, runs in results.items()}
    reference = measured.get(_REFERENCE)
    for key, replicates in measured.items():
        cells = []
        for metric in METRICS:
            cells.append(_interval(replicates[metric]))
            has_difference = reference is not None and key != _REFERENCE
            cells.append(
                _interval(replicates[metric] - reference[metric], sign="+")
                if has_difference and reference is not None
                else ""
            )
        times = (np.mean([run[clock] for run in results[key]]) for clock in ("wall_s", "cpu_s"))
        precision = ", ".join(sorted({run["precision"] or "" for run in results[key]}))
        yield (
            task.name,
            ROWS[key].title,
            precision,
            *cells,
            *(f"{seconds:.0f}" for seconds in times),
        )


def _interval(replicates: Array, sign: str = "") -> str:
    found = summarize_replicates(replicates)
    value, low, high = (format(x, f"{sign}.3f") for x in (found.value, found.lo, found.hi))
    return f"{value} [{low}, {high}]"


def _markdown(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Format rows as a Markdown table, the first row being its header."""
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if number == 0:
            yield f"|{'---|' * 3}{'---:|' * (len(row) - 3)}"


if __name__ == "__main__":
    # Threads that spin while waiting compete for the cores of a shared machine, as in
    # stages/train.py. Must be set before torch is loaded, which text_classifiers.py does.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
