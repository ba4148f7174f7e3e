"""`make bench`: run the benchmarks, print one table and write `reports/bench.json`.

Each benchmark is a separate process whose last output is a JSON object. A benchmark that fails is
reported and left out of the report; the exit code is then 1.

    python benchmarks/run.py [--only bulk_scoring rest] [--out reports/bench.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from postbias.cli.terminal_tables import format_table

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "reports" / "bench.json"
PLANNED_POSTS = 1_600_000
USD_PER_HOUR = 0.10

#: Scripts and their arguments; together they take 24 minutes on two cores.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "artifact_size": (),
    "bulk_scoring": (),
    "scoring_share": (),
    "bulk_memory": ("--few", "2000", "--many", "20000"),
    "rest": (),
    "ray_overhead": (),
    "fast_path": (),
}

#: Key, comparison, target value.
TARGETS: tuple[tuple[str, str, float | None], ...] = (
    ("bulk.ratio_to_naive", "≥", 9),
    ("bulk.fraction_of_compute", "≥", 0.85),
    ("bulk.posts_per_s", "", None),
    ("share.full", "≥", 0.8),
    ("share.small", "≥", 0.8),
    ("share.nano", "≥", 0.8),
    ("share.pocket", "≥", 0.8),
    ("cpu_share.full", "≥", 0.8),
    ("cpu_share.small", "≥", 0.8),
    ("cpu_share.nano", "≥", 0.8),
    ("cpu_share.pocket", "≥", 0.8),
    ("rate.pocket", "≥", 1000),
    ("repeats.pocket", "", None),
    ("bulk.peak_rss_mb", "≤", 1500),
    ("bulk.rss_growth", "≤", 0.10),
    ("rest.p50_ratio", "≤", 1.5),
    ("rest.throughput_fraction", "≥", 0.7),
    ("artifact.base_mb", "≤", 80),
    ("artifact.nano_mb", "≤", 10),
    ("ray.overhead", "≤", 0.20),
    ("fast_path.ratio", "≥", 8),
)

Json = dict[str, Any]


def main() -> None:
    """Run the benchmarks, print the table and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args()
    # Benchmarks that are not run keep their numbers; `machine` describes the latest run.
    is_part = set(options.only) != set(SCRIPTS)
    known = options.out.is_file() and is_part
    found: Json = json.loads(options.out.read_text(encoding="utf-8")) if known else {}
    failed = [name for name in options.only if not run(name, found)]
    report = keep(found) | {"machine": machine()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2, sort_keys=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(table(report))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str, found: Json) -> bool:
    """Run one script and add its numbers to `found`; return whether it succeeded."""
    started = time.monotonic()
    command = [sys.executable, str(HERE / f"{name}.py"), *SCRIPTS[name]]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if process.returncode:
        return False
    printed: Json = json.loads(process.stdout[process.stdout.index("{") :])
    for group, numbers in printed.items():
        if isinstance(numbers, dict):
            found[group] = found.get(group, {}) | numbers
    return True


def keep(found: Json) -> Json:
    """Select the keys that have a row in the table."""
    report: Json = {}
    for key, _, _ in TARGETS:
        group, name = key.split(".")
        if name in found.get(group, {}):
            report.setdefault(group, {})[name] = found[group][name]
    return report


def machine() -> Json:
    """Describe the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((x.split(":", 1)[1].strip() for x in lines if "model name" in x), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_1min": round(os.getloadavg()[0], 1),
    }


def table(report: Json) -> str:
    """Format the report with its targets, and the time and cost of scoring a large corpus."""
    rows = []
    for key, sign, target in TARGETS:
        group, name = key.split(".")
        value = report.get(group, {}).get(name)
        shown = "-" if value is None else f"{value:.4g}"
        aim = "-" if target is None else f"{sign} {target:g}"
        is_met = (
            value is None or target is None or (value >= target if sign == "≥" else value <= target)
        )
        rows.append((key, shown, aim, "" if is_met else "missed"))
    lines = [format_table(("", "measured", "target", ""), rows, left=(0, 3))]
    rate = report.get("bulk", {}).get("posts_per_s")
    if rate:
        hours = PLANNED_POSTS / rate / 3600
        lines.append(
            f"{PLANNED_POSTS:,} posts at {rate:.0f} posts/s on {report['machine']['cores']} cores:"
            f" {hours:.1f} h, ${hours * USD_PER_HOUR:.2f} at ${USD_PER_HOUR:.2f} an hour"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
