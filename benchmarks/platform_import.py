"""Measure imports of platform exports against a minimal loop that reads and parses the same bytes.

    .venv/bin/python benchmarks/platform_import.py [N_POSTS]

Writes exports of N posts without images (default 100,000) to a temporary folder: NDJSON of
Zeeschuimer, a CSV of 4CAT, and pages of X's API v2; and NDJSON of N / 10 posts with an image each.
Each import runs in a process of its own. Prints `NAME.ratio`, its time as a multiple of that of the
minimal loop, `NAME.us_per_post`, and `NAME.peak_mb`, the memory beyond that of a process that has
imported ten posts; exits with 1 if a peak exceeds 200 MB. Without images, the import mostly costs
what parsing is not: repair and checks of the text, and writing.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_MB = 200
ROUNDS = 3
CAPTION = "Good morning from the kitchen \u2615 new recipe is up, link in bio #food #homemade "
PAGE_POSTS = 100
_TIME_S = 1_709_280_550


def _capture(number: int) -> dict[str, object]:
    url = f"https://example.org/{'x' * 250}/{number}_n.jpg?{'y' * 150}"
    candidates = [
        {"url": url, "width": side, "height": side} for side in (1080, 750, 640, 480, 320)
    ]
    user = {"pk": str(number % 97), "username": f"user{number % 97}", "profile_pic_url": url}
    node = {
        "pk": str(number), "id": f"{number}_{number % 97}", "code": f"C{number}", "media_type": 1,
        "taken_at": _TIME_S + number, "caption": {"text": CAPTION * (1 + number % 4), "user": user},
        "user": user, "like_count": number, "comment_count": 3, "image_versions2": {},
        "video_versions": candidates, "usertags": None, "location": None, "has_liked": False,
    }  # fmt: skip
    return {
        "nav_index": "1:2:0", "item_id": str(number), "timestamp_collected": _TIME_S * 1000,
        "source_platform": "instagram.com", "source_platform_url": "https://example.org",
        "source_url": "https://example.org", "user_agent": "benchmark", "data": node,
    }  # fmt: skip


def _tweet(number: int) -> dict[str, object]:
    return {
        "id": str(number), "text": CAPTION, "author_id": str(number % 97),
        "created_at": "2024-03-01T08:09:10.000Z", "conversation_id": str(number), "lang": "en",
        "public_metrics": {"like_count": 5, "reply_count": 1, "retweet_count": 0, "quote_count": 0},
        "entities": {"hashtags": [{"start": 1, "end": 5, "tag": "food"}] * 3},
        "edit_history_tweet_ids": [str(number)], "possibly_sensitive": False,
    }  # fmt: skip


def write_captures(path: Path, n_posts: int) -> None:
    """Write NDJSON of Zeeschuimer."""
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"{json.dumps(_capture(number))}\n" for number in range(n_posts))


def write_table(path: Path, n_posts: int) -> None:
    """Write a CSV of 4CAT."""
    names = ("id", "thread_id", "url", "body", "author", "timestamp", "type", "image_url",
             "hashtags", "num_likes", "num_comments", "unix_timestamp")  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out, quoting=csv.QUOTE_ALL)
        rows.writerow(names)
        for n in range(n_posts):
            rows.writerow((n, n, f"https://www.instagram.com/p/{n}", CAPTION * (1 + n % 4),
                           f"user{n % 97}", "2024-03-01 08:09:10", "photo", "", "food,homemade",
                           n, 3, _TIME_S))  # fmt: skip


def write_pages(path: Path, n_posts: int) -> None:
    """Write pages of X's API v2, one per line."""
    users = [{"id": str(n), "username": f"user{n}", "name": f"User {n}"} for n in range(97)]
    with path.open("w", encoding="utf-8") as out:
        for start in range(0, n_posts, PAGE_POSTS):
            tweets = [_tweet(n) for n in range(start, min(start + PAGE_POSTS, n_posts))]
            page = {"data": tweets, "includes": {"users": users}, "meta": {"result_count": 100}}
            out.write(f"{json.dumps(page)}\n")


def write_captures_with_images(path: Path, n_posts: int) -> None:
    """Write NDJSON of Zeeschuimer for a tenth of the posts, each with an image."""
    write_captures(path, n_posts := max(n_posts // 10, 1))
    data = bytes(range(256)) * 64
    for number in range(n_posts):
        path.with_name(f"{number}_n.jpg").write_bytes(b"\xff\xd8\xff" + data)


EXPORTS: dict[str, tuple[str, str, Callable[[Path, int], None]]] = {
    "zeeschuimer": ("zeeschuimer", "a.ndjson", write_captures),
    "fourcat": ("4cat", "a.csv", write_table),
    "x": ("x", "a.jsonl", write_pages),
    "images": ("zeeschuimer", "images.ndjson", write_captures_with_images),
}


def minimal_loop(path: Path) -> int:
    """Read a file line by line and parse it, the minimum that any import has to do."""
    for image in path.parent.glob("*.jpg"):
        image.read_bytes()
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".csv":
            return sum(1 for _ in csv.reader(lines))
        return sum(1 for line in lines if json.loads(line))


def run_import(layout: str, src: Path, dest: Path) -> tuple[float, float]:
    """Import in a process of its own; return its seconds and its peak memory in MB."""
    command = [sys.executable, __file__, "--import", layout, str(src), str(dest)]
    output = subprocess.run(  # noqa: S603 - this file
        command, check=True, capture_output=True, text=True
    ).stdout
    seconds, peak_mb = map(float, output.split()[-2:])
    return seconds, peak_mb


def _import_here(layout: str, src: str, dest: str) -> None:
    from postbias.posts.importers import import_posts

    start = time.perf_counter()
    import_posts(layout, Path(src), Path(dest))
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def compare(root: Path, name: str, n_posts: int) -> float:
    """Measure the import of one export, print the results, return the additional memory in MB."""
    layout, file, write = EXPORTS[name]
    few, many = root / "few" / file, root / "many" / file
    for path, n in ((few, 10), (many, n_posts)):
        path.parent.mkdir(exist_ok=True)
        write(path, n)
    minimal, full, peak = [], [], []
    _, base_mb = run_import(layout, few, root / f"{name}-few")
    for number in range(ROUNDS):
        start = time.perf_counter()
        minimal_loop(many)
        minimal.append(time.perf_counter() - start)
        seconds, peak_mb = run_import(layout, many, root / f"{name}-{number}")
        full.append(seconds)
        peak.append(peak_mb - base_mb)
    size_mb = many.stat().st_size / 1e6
    print(f"{name:12} {n_posts} posts, {size_mb:.0f} MB: minimal loop {min(minimal):.2f} s, "
          f"import {min(full):.2f} s")  # fmt: skip
    print(f"{name}.ratio {min(full) / min(minimal):.2f}")
    n_read = n_posts // 10 if name == "images" else n_posts
    print(f"{name}.us_per_post {min(full) / n_read * 1e6:.0f}")
    print(f"{name}.peak_mb {max(peak):.0f} (at most {LIMIT_MB})")
    return max(peak)


def main() -> int:
    """Measure all exports."""
    if sys.argv[1:2] == ["--import"]:
        _import_here(*sys.argv[2:5])
        return 0
    n_posts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        peaks = [compare(Path(folder), name, n_posts) for name in EXPORTS]
    return int(max(peaks) > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
