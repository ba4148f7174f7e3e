"""Generate the demo corpus: python -m postbias.demo DEST."""

from __future__ import annotations

import sys
from pathlib import Path

from postbias.demo.build import build_demo_data
from postbias.errors import PostbiasError


def _main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m postbias.demo DEST")
    try:
        summary = build_demo_data(Path(sys.argv[1]))
    except PostbiasError as error:
        sys.exit(f"postbias: {error}")
    print(f"{summary.n_posts} posts, {summary.n_labelled} labelled, {summary.n_images} images")  # noqa: T201


if __name__ == "__main__":
    _main()
