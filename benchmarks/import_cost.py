"""Measure the cost of an import against a minimal loop that reads the same files and parses JSON.

    .venv/bin/python benchmarks/import_cost.py [N_POSTS]

Writes an influencer-brand export of N posts (default 5,000) to a temporary folder and times both
alternately: first with the files out of the page cache, as for an export larger than memory, then
from memory. Prints `import.ratio` (from disk) and `import.ratio_warm`; exits with 1 if the first
exceeds 1.5. The importer writes in a second thread: both ratios are higher on a busy machine.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from postbias.posts.importers import import_posts

LIMIT = 1.5
ROUNDS = 3
FOLDERS = 16
# The published data set contains resized images, in folders called img_resized_*.
IMAGE_BYTES = (6_000, 24_000)
CAPTION = "Good morning from the kitchen \u2615 new recipe is up, link in bio #food #homemade "


def make_export(root: Path, n_posts: int, rng: np.random.Generator) -> None:
    """Write a synthetic export: 85% single images, some carousels, two JSON views."""
    (root / "json").mkdir(parents=True)
    for number in range(1, FOLDERS + 1):
        (root / f"img_resized_{number}").mkdir()
    lines = []
    for row in range(n_posts):
        post_id = str(1_300_000_000_000_000_000 + row)
        n_images = 1 if rng.random() < 0.85 else int(rng.integers(2, 6))
        names = [
            f"{post_id}_{n}.jpg" if n_images > 1 else f"{post_id}.jpg" for n in range(n_images)
        ]
        for name in names:
            folder = root / f"img_resized_{rng.integers(1, FOLDERS + 1)}"
            (folder / name).write_bytes(rng.bytes(int(rng.integers(*IMAGE_BYTES))))
        (root / "json" / f"{post_id}.json").write_text(json.dumps(_node(post_id, rng)))
        lines.append(
            f"{row}\tuser{row % 97}\t{int(rng.random() < 0.14)}\t{post_id}.json\t{names}\n"
        )
    (root / "post_info.txt").write_text("".join(lines), encoding="utf-8")


def _node(post_id: str, rng: np.random.Generator) -> dict[str, object]:
    url = f"https://example.org/{'x' * 250}/{post_id}.jpg"
    node: dict[str, object] = {
        "__typename": "GraphImage",
        "id": post_id,
        "edge_media_to_caption": {"edges": [{"node": {"text": CAPTION * int(rng.integers(1, 9))}}]},
        "edge_media_preview_like": {"count": int(rng.integers(0, 9999))},
        "edge_media_to_comment": {"count": int(rng.integers(0, 99))},
        "taken_at_timestamp": 1_500_000_000,
        "is_video": False,
        "display_url": url,
        "thumbnail_resources": [
            {"src": url, "config_width": side} for side in (150, 240, 320, 480)
        ],
    }
    if rng.random() < 0.16:  # the detail view includes the first comments
        node["owner"] = {"id": "1", "username": "user"}
        comment = {"id": post_id, "text": "so pretty!", "owner": {"profile_pic_url": url}}
        node["edge_media_to_parent_comment"] = {"edges": [{"node": comment}] * 24}
    return node


def minimal_loop(root: Path) -> int:
    """Read the same files and parse the JSON, the minimum that any import has to do."""
    paths = {path.name: path for path in root.glob("img_resized_*/*")}
    n_bytes = 0
    with (root / "post_info.txt").open(encoding="utf-8") as lines:
        for line in lines:
            _, _, _, json_name, names = line.rstrip("\n").split("\t")
            json.loads((root / "json" / json_name).read_text(encoding="utf-8"))
            for name in ast.literal_eval(names):
                n_bytes += len(paths[name].read_bytes())
    return n_bytes


def drop_from_cache(root: Path) -> None:
    """Drop the files from the page cache, which is too small for an export of a million posts."""
    for path in root.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def compare(root: Path, *, is_cold: bool) -> tuple[float, float]:
    """Time the minimal loop and the import alternately; return the best time of each in seconds."""
    minimal, full = [], []
    for number in range(ROUNDS):
        if is_cold:
            drop_from_cache(root / "export")
        start = time.perf_counter()
        minimal_loop(root / "export")
        minimal.append(time.perf_counter() - start)
        if is_cold:
            drop_from_cache(root / "export")
        start = time.perf_counter()
        import_posts("influencer-brand", root / "export", root / f"dest-{is_cold}-{number}")
        full.append(time.perf_counter() - start)
    return min(minimal), min(full)


def main() -> int:
    """Compare the import with the minimal loop, from disk and from memory."""
    n_posts = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_export(root / "export", n_posts, np.random.default_rng(0))
        os.sync()
        n_bytes = minimal_loop(root / "export")
        print(f"posts                {n_posts} ({n_bytes / 1e6:.0f} MB of images)")
        minimal, full = compare(root, is_cold=True)
        print(f"from disk            minimal loop {minimal:.2f} s, import {full:.2f} s")
        print(f"import.ratio         {full / minimal:.2f} (at most {LIMIT})")
        minimal_warm, full_warm = compare(root, is_cold=False)
        print(f"from memory          minimal loop {minimal_warm:.2f} s, import {full_warm:.2f} s")
        ratio_warm = full_warm / minimal_warm
        print(f"import.ratio_warm    {ratio_warm:.2f} (writing costs as much as reading)")
    return int(full / minimal > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
