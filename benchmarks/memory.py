"""Measure the peak memory of the current process, for benchmarks that run in a subprocess."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float:
    """Return the peak resident set size of this process in MiB."""
    # On Linux `ru_maxrss` survives `exec`: a subprocess would report the peak of the benchmark that
    # started it. `VmHWM` is reset.
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS reports bytes, other systems KiB.
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
