"""Posts with real image files are scored, or rejected with the true reason; nothing crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.post_shards import write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.scorer import Scorer

# The fault of each file, determined from its bytes.
REASONS = {
    "pillow_apng_chunk_no_fctl.png": "damaged",  # an animation without frame control
    "pillow_apng_syntax_num_frames_zero.png": "damaged",  # has no pixels
    "pillow_broken.png": "damaged",  # noise after the signature
    "pillow_decompression_bomb.gif": "too_large",
    "pillow_png_decompression_dos.png": "too_large",  # its text chunks decompress to gigabytes
    "pillow_truncated_image.png": "truncated",
    "pillow_truncated_jpeg.jpg": "truncated",
    "pillow_ultrahdr.jpg": "truncated",  # its first image has no end marker
    "pillow_unknown_compression_method.png": "damaged",
    "pillow_zero_width.gif": "damaged",
    "sharp_65536-uint32-limit.png": "too_large",
    "sharp_corrupt-header.jpg": "truncated",  # 1,024 bytes, in the middle of the Exif header
    "sharp_giant-image.jpg": "too_large",
    "sharp_truncated.jpg": "truncated",
    "sharp_truncated.png": "truncated",
}
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "images"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images beside this checkout")
def test_every_real_image_is_scored_or_rejected_with_the_true_reason(tmp_path: Path) -> None:
    files = sorted(path for path in REAL.iterdir() if path.name != "manifest.csv")
    shard = write_shard(tmp_path / "p.parquet", [("", [path.read_bytes()]) for path in files])
    to = ScoreOutputs(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    with Scorer(write_tiny_artifact(tmp_path / "student"), threads=2) as scorer:
        summary = score_shards([shard], scorer, to, batch_size=16)
        schema = scores_schema(scorer.axes)
    assert summary.posts == len(files) >= 100
    scores = read_table(to.scores / "p.parquet", schema)
    details = iter(read_table(to.rejects, REJECTS)["detail"].to_pylist())
    seen = {}
    for path, status in zip(files, scores["status"].to_pylist(), strict=True):
        assert status in {"ok", "unreadable"}, path.name
        if status == "unreadable":
            seen[path.name] = next(details).partition(":")[0]
    assert seen == REASONS
