"""Makes the folder `data/` of the demo: the raw export, imported as a user's own posts would be."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from postbias.demo.raw_export import DemoSummary, write_demo
from postbias.errors import InputError
from postbias.posts.importers import import_posts

#: The seed of the corpus that ships.
SEED = 20260521

_README = """\
# The demo corpus

Synthetic: a program drew the pictures and wrote the captions and the teacher's answers. No person,
brand or post in it exists. `make demo-data` makes it again, byte for byte.

- `posts/`: the posts, imported from an export in the influencer-brand layout
- `rejects.parquet`: what could not be imported, with reasons
- `labels.csv`: recorded teacher answers (noisy, heaped), for most posts
- `truth.parquet`: the planted truth, without noise, and the cues behind it, for every post
"""


def build_demo_data(dest: Path, *, n_posts: int = 5000, seed: int = SEED) -> DemoSummary:
    """Make the corpus and import it.

    Args:
        dest: The folder to make; an earlier demo corpus there is replaced, anything else is not.
        n_posts: How many posts.
        seed: Another seed, another corpus.

    Returns:
        What was made.

    Raises:
        InputError: If the folder holds something else.
        StorageError: If the disk is full or the place cannot be written.
    """
    if dest.is_dir() and any(dest.iterdir()) and not (dest / "truth.parquet").is_file():
        raise InputError(
            "this folder holds something else than a demo corpus",
            seen=str(dest),
            do="name an empty or new folder, or move your own posts away first",
        )
    with tempfile.TemporaryDirectory(prefix="postbias-demo-") as scratch:
        raw = Path(scratch) / "export"
        summary = write_demo(raw, n_posts=n_posts, seed=seed)
        shutil.rmtree(dest, ignore_errors=True)
        import_posts("influencer-brand", raw, dest)
        for name in ("labels.csv", "truth.parquet"):
            shutil.copyfile(raw / name, dest / name)
    (dest / "README.md").write_text(_README, encoding="utf-8")
    return summary
