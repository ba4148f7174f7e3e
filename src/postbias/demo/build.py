"""Build the demo's `data/` folder: generate a raw export and import it like any other."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from postbias.demo.raw_export import DemoSummary, write_raw_export
from postbias.errors import InputError
from postbias.posts.importers import import_posts

#: Seed of the corpus in the demo remote.
SEED = 20260521

# Part of the DVC-tracked data: a change of this text changes the digest of the corpus.
_README = """\
# The demo corpus

Synthetic: a program drew the pictures and wrote the captions and the teacher's answers. No person,
brand or post in it exists. `make demo-data` makes it again, byte for byte.

- `posts/`: the posts, imported from an export in the influencer-brand layout
- `rejects.parquet`: what could not be imported, with reasons
- `labels.csv`: recorded teacher answers (noisy, heaped), for most posts
- `truth.parquet`: the planted truth, without noise, the cues behind it, and where they are drawn,
  for every post
"""


def build_demo_data(
    dest: Path, *, n_posts: int = 5000, seed: int = SEED, image_text: float = 0.0
) -> DemoSummary:
    """Generate the corpus and import it.

    Args:
        dest: The folder to create; replaces an earlier demo corpus, but no other content.
        seed: Seed of the corpus.
        image_text: Share of posts whose claim is legible in the image only.

    Returns:
        Counts of what was generated.

    Raises:
        InputError: If the folder is not empty and not a demo corpus.
        StorageError: If the disk is full or the folder is not writable.
    """
    if dest.is_dir() and any(dest.iterdir()) and not (dest / "truth.parquet").is_file():
        raise InputError(
            "the folder is not empty and not a demo corpus",
            seen=str(dest),
            do="choose an empty or new folder, or move its content elsewhere first",
        )
    with tempfile.TemporaryDirectory(prefix="postbias-demo-") as scratch:
        raw = Path(scratch) / "export"
        summary = write_raw_export(raw, n_posts=n_posts, seed=seed, image_text=image_text)
        shutil.rmtree(dest, ignore_errors=True)
        import_posts("influencer-brand", raw, dest)
        for name in ("labels.csv", "truth.parquet"):
            shutil.copyfile(raw / name, dest / name)
    (dest / "README.md").write_text(_README, encoding="utf-8")
    return summary
