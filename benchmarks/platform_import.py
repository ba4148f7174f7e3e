"""Measure imports of each layout against bare loops over the same bytes.

    .venv/bin/python benchmarks/platform_import.py [N_POSTS [NAME ...]]

Writes exports of N posts without images (default 100,000; see `large_exports.py`) to a temporary
folder and imports each, in a process of its own. Two loops in a process of its own are the
references: `parse` reads and parses the bytes and does nothing with them; `write` also takes six
values of each post and writes them to Parquet as importers do, without any check. Prints, per
export, the microseconds per post of all three, `NAME.ratio` (import / parse),
`NAME.ratio_to_write` (import / write) and `NAME.peak_mb`, the memory of the import beyond that of
ten posts; exits with 1 if a peak exceeds 200 MB. Times are CPU times of all threads, the best of
two, so that other work on the machine changes them little.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from large_exports import EXPORTS, LargeExport, Values
from memory import peak_rss_mb

LIMIT_MB = 200
ROUNDS = 2
_TARGET = 1.5
_COLUMNS = ("post_id", "author", "caption", "posted_at", "likes", "comments")
_GROUP_POSTS = 500


def read_files(path: Path) -> Iterator[Any]:
    """Read and parse the files of an export: rows of CSV, lines of NDJSON, whole JSON files."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8", newline="") as lines:
                yield from csv.reader(lines)
        elif file.suffix in {".jsonl", ".ndjson"}:
            with file.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)
        elif file.suffix == ".json":
            yield json.loads(file.read_bytes())
        else:
            file.read_bytes()


def parse(export: LargeExport, src: Path, _dest: Path) -> None:
    """Read and parse an export, the minimum that any import has to do."""
    del export
    for _ in read_files(src):
        pass


def write(export: LargeExport, src: Path, dest: Path) -> None:
    """Read and parse an export, and write six values of each post to Parquet."""
    from postbias.posts.shards import parquet_writer

    parts = read_files(src)
    if src.suffix == ".csv":
        next(parts)
    posts = (export.values(node) for part in parts for node in export.nodes(part))
    first = _to_table(list(islice(posts, _GROUP_POSTS)))
    with parquet_writer(dest, first.schema) as out:
        out.write_table(first)
        while group := list(islice(posts, _GROUP_POSTS)):
            out.write_table(_to_table(group).cast(first.schema))


def _to_table(posts: list[Values]) -> pa.Table:
    return pa.table(dict(zip(_COLUMNS, zip(*posts, strict=True), strict=True)))


def import_export(export: LargeExport, src: Path, dest: Path) -> None:
    """Import an export."""
    from postbias.posts.importers import import_posts

    import_posts(export.layout, src, dest)


TASKS: dict[str, Callable[[LargeExport, Path, Path], None]] = {
    "parse": parse, "write": write, "import": import_export,
}  # fmt: skip


def run(task: str, name: str, src: Path, dest: Path) -> tuple[float, float]:
    """Run a task in a process of its own; return its CPU time in seconds and its peak in MB."""
    command = [sys.executable, __file__, "--task", task, name, str(src), str(dest)]
    output = subprocess.run(  # noqa: S603 - this file
        command, check=True, capture_output=True, text=True
    ).stdout
    seconds, peak_mb = map(float, output.split()[-2:])
    return seconds, peak_mb


def _run_here(task: str, name: str, src: str, dest: str) -> None:
    from postbias.posts import importers, shards

    # The time to load them, and what Arrow loads with the first array, does not count.
    del importers, shards
    pa.array(["", None])
    start = time.process_time()
    TASKS[task](EXPORTS[name], Path(src), Path(dest))
    print(time.process_time() - start, peak_rss_mb())


def compare(root: Path, name: str, n_posts: int) -> float:
    """Measure one export, print the results, return the additional memory in MB."""
    export = EXPORTS[name]
    few, many = root / "few" / export.file, root / "many" / export.file
    for path, n in ((few, 10), (many, n_posts)):
        path.parent.mkdir()
        export.write(path, n)
    _, base_mb = run("import", name, few, root / "dest-few")
    best = dict.fromkeys(TASKS, float("inf"))
    peak_mb = 0.0
    for number in range(ROUNDS):
        for task in TASKS:
            seconds, task_mb = run(task, name, many, root / f"dest-{task}-{number}")
            best[task] = min(best[task], seconds)
            if task == "import":
                peak_mb = max(peak_mb, task_mb - base_mb)
    times = ", ".join(f"{task} {seconds / n_posts * 1e6:.1f}" for task, seconds in best.items())
    print(f"{name}: {n_posts} posts; us per post: {times}")
    print(f"{name}.ratio {best['import'] / best['parse']:.2f} (target {_TARGET})")
    print(f"{name}.ratio_to_write {best['import'] / best['write']:.2f}")
    print(f"{name}.peak_mb {peak_mb:.0f} (at most {LIMIT_MB})", flush=True)
    return peak_mb


def main() -> int:
    """Measure all exports, or those that are named."""
    if sys.argv[1:2] == ["--task"]:
        _run_here(*sys.argv[2:6])
        return 0
    n_posts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    peaks = []
    for name in sys.argv[2:] or EXPORTS:
        with tempfile.TemporaryDirectory() as folder:
            peaks.append(compare(Path(folder), name, n_posts))
    return int(max(peaks) > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
