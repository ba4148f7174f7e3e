"""Generate the demo corpus: python -m postbias.demo DEST [--image-text SHARE]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from postbias.demo.build import build_demo_data
from postbias.errors import PostbiasError


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m postbias.demo")
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to create")
    parser.add_argument(
        "--image-text",
        metavar="SHARE",
        type=_share,
        default=0.0,
        help="share of posts whose claim is legible in the image only, 0 to 0.3 (default: 0)",
    )
    options = parser.parse_args()
    try:
        summary = build_demo_data(options.dest, image_text=options.image_text)
    except PostbiasError as error:
        sys.exit(f"postbias: {error}")
    print(f"{summary.n_posts} posts, {summary.n_labelled} labelled, {summary.n_images} images")  # noqa: T201


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) <= 0.3:
        raise ValueError
    return share


if __name__ == "__main__":
    _main()
