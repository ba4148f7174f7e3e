"""Peak memory of a program itself, for the benchmarks that start another one.

`getrusage` will not do on Linux: a new process takes over the peak of the one that started it, and
a benchmark that has made a student and its posts is larger than what it measures. The peak in
`/proc` starts anew with the program.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float:
    """Give the peak resident memory of this program until now.

    Returns:
        MiB.
    """
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024
    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kept / 2**20 if sys.platform == "darwin" else kept / 1024
