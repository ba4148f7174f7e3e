"""`make pareto`: train students of several sizes, and compare their quality, speed, size and cost.

Each size is one experiment in DVC's queue, named `pareto-<name>`: `params.yaml` with another
section `train`, run up to `evaluate`. What has been trained before comes from DVC's run cache.
Afterwards, the int8 artifacts of all sizes score the same posts of the corpus in turns in this
process, so that load from other processes affects all of them. Prints a table; writes
`reports/pareto.json` and `build/pareto.png`. To adopt a size: `dvc exp apply pareto-<name>`.

    python -m benchmarks.pareto [params/small.yaml params/base.yaml ...] [--posts 512] [--rounds 5]

Without files, the sizes in `benchmarks/demo_sizes.yaml`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import yaml
from benchmarks.size_comparison import (
    HeldOutErrors,
    MeasuredSize,
    chart_sizes,
    find_front,
    format_sizes,
    pair_errors,
)
from dvc.exceptions import DvcException

from postbias.charts.chart_rendering import render_png
from postbias.json_files import write_json
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.shards import iter_posts, list_shards
from postbias.scoring.artifact import Artifact
from postbias.scoring.post_scores import BATCH_SIZE, PostInput
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import Estimate

DEMO_SIZES = Path(__file__).with_name("demo_sizes.yaml")
THREADS = 2
#: Keys of `train` that say where to train, not what.
_KEPT = {"modalities", "launch", "device", "precision"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished experiment: its evaluation, its test scores and its artifact."""

    evaluation: Json
    errors: HeldOutErrors
    artifact: Artifact


def main() -> None:
    """Queue and run the experiments, time the students, print the table and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="params files, one for each size")
    parser.add_argument("--posts", type=int, default=512, help="posts that each student scores")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    paths = Paths.find()
    params = load_params(paths.params)
    sizes = read_sizes(options.files)
    for name, train in sizes.items():
        check_size(name, train, paths.params)
    run_experiments(sizes, params)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: read_experiment(name, Path(folder) / name) for name in sizes}
        trained = {name: run for name, run in found.items() if run is not None}
        if not trained:
            sys.exit("no size has results")
        posts = read_posts(paths, options.posts)
        rates = time_students({n: t.artifact for n, t in trained.items()}, posts, options.rounds)
        measured = compare(trained, rates, params)
    report = {
        "posts": len(posts),
        "threads": THREADS,
        "usd_per_hour": params.report.cost.machine_usd_per_hour,
        "sizes": {size.name: size.as_dict() for size in measured},
    }
    write_json(paths.reports / "pareto.json", report)
    paths.build.mkdir(exist_ok=True)
    (paths.build / "pareto.png").write_bytes(render_png(chart_sizes(measured)))
    print(format_sizes(measured))
    print(f"Chart: {paths.build / 'pareto.png'}")
    if failed := sorted(sizes.keys() - trained.keys()):
        sys.exit(f"without results, and not in the table: {', '.join(failed)}")


def read_sizes(files: list[Path]) -> dict[str, Json]:
    """Read the section `train` of each size, of params files or of the demo's sizes."""
    if not files:
        return dict(yaml.safe_load(DEMO_SIZES.read_text(encoding="utf-8")))
    return {
        file.stem: load_params(file).train.model_dump(mode="json", exclude=_KEPT) for file in files
    }


def check_size(name: str, train: Json, params_file: Path) -> None:
    """Check the params of a size before anything is trained.

    Raises:
        ParamsError: If a value is not allowed; names the size.
    """
    params = yaml.safe_load(params_file.read_text(encoding="utf-8"))
    for key, value in _leaves(train):
        *path, last = key.split(".")
        section = params["train"]
        for part in path:
            section = section[part]
        section[last] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.yaml"
        file.write_text(yaml.safe_dump(params), encoding="utf-8")
        load_params(file)


def run_experiments(sizes: Mapping[str, Json], params: Params) -> None:
    """Queue one experiment per size, and run everything in DVC's queue."""
    modality = params.train.modalities[0]
    for name, train in sizes.items():
        settings = [f"train.modalities=[{modality}]"]
        settings += [f"train.{key}={json.dumps(value)}" for key, value in _leaves(train)]
        options = [part for setting in settings for part in ("--set-param", setting)]
        # Else the results of an earlier run stand in for one that fails.
        _dvc("exp", "remove", "--quiet", experiment(name), check=False)
        _dvc(
            "exp",
            "run",
            "--quiet",
            "--queue",
            "--force",
            "--name",
            experiment(name),
            *options,
            "evaluate",
        )
    print(
        f"training {len(sizes)} students; `dvc queue logs --follow NAME` shows more",
        file=sys.stderr,
    )
    _dvc("exp", "run", "--run-all", check=False)  # a size that fails costs only its row


def experiment(name: str) -> str:
    """Name the experiment of a size."""
    return f"pareto-{name}"


def _leaves(values: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _dvc(*arguments: str, check: bool = True) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=check)  # noqa: S603 - no shell


def read_experiment(name: str, folder: Path) -> Trained | None:
    """Read the results of one experiment from DVC; its artifact is copied to a folder.

    Returns:
        The results; None, with a message, if the experiment failed.
    """
    revision = experiment(name)
    try:
        evaluation = json.loads(dvc.api.read("reports/evaluate.json", rev=revision))
        predictions = dvc.api.read("reports/plots/predictions.csv", rev=revision)
        files = dvc.api.DVCFileSystem(rev=revision)
        modality, axis = evaluation["chosen"], evaluation["main"]["axis"]
        files.get(f"build/students/{modality}", str(folder), recursive=True)
    except (DvcException, OSError) as error:
        message = f"{name} has no results ({error}); its log: dvc queue logs {revision}"
        print(message, file=sys.stderr)
        return None
    errors = HeldOutErrors.read(predictions, modality, axis)
    return Trained(evaluation, errors, Artifact.open(folder))


def read_posts(paths: Paths, count: int) -> list[PostInput]:
    """Read the first posts of the corpus."""
    posts: list[PostInput] = []
    for batch in iter_posts(list_shards(paths.posts), ["caption", "images"], count):
        for row in batch.to_pylist():
            files = tuple(image["bytes"] or b"" for image in row["images"])
            posts.append(PostInput(row["caption"], files))
        if len(posts) >= count:
            break
    return posts[:count]


def time_students(
    artifacts: Mapping[str, Artifact], posts: list[PostInput], rounds: int
) -> dict[str, float]:
    """Score the posts with each student in turns; return the median posts per second of each."""
    scorers = {name: Scorer(artifact, threads=THREADS) for name, artifact in artifacts.items()}
    rates: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(rounds + 1):
        for name, scorer in scorers.items():
            started = time.perf_counter()
            for start in range(0, len(posts), BATCH_SIZE):
                scorer.score(posts[start : start + BATCH_SIZE])
            rates[name].append(len(posts) / (time.perf_counter() - started))
    for scorer in scorers.values():
        scorer.close()
    return {name: statistics.median(values[1:]) for name, values in rates.items()}


def compare(
    trained: Mapping[str, Trained], rates: Mapping[str, float], params: Params
) -> list[MeasuredSize]:
    """Combine quality, speed, size and cost."""
    paired = pair_errors(
        {name: run.errors for name, run in trained.items()}, params.evaluate.bootstrap, params.seed
    )
    metrics = {name: _metrics(run.evaluation) for name, run in trained.items()}
    errors = [metrics[name]["mae"].value or 0.0 for name in trained]
    front = find_front(errors, [rates[name] for name in trained])
    hourly = params.report.cost.machine_usd_per_hour
    return [
        MeasuredSize(
            name=name,
            digest=run.artifact.digest,
            mae=metrics[name]["mae"],
            r2=metrics[name]["r2"],
            excess=paired[name][0],
            p_worse=paired[name][1],
            mb=run.artifact.size_bytes("int8") / 1e6,
            posts_per_s=rates[name],
            usd_per_million=1e6 / rates[name] / 3600 * hourly,
            on_front=is_on_front,
        )
        for (name, run), is_on_front in zip(trained.items(), front, strict=True)
    ]


def _metrics(evaluation: Json) -> dict[str, Estimate]:
    test = evaluation["students"][evaluation["chosen"]]["test"][evaluation["main"]["axis"]]
    return {key: Estimate(**test[key]) for key in ("mae", "r2")}


if __name__ == "__main__":
    main()
