"""Every real picture, put into posts: scored, or rejected with a true reason; nothing dies."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.post_shards import write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.posts.images import MAX_BYTES, MAX_PIXELS, MIN_SIDE_PX
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import read_table
from postbias.scoring.bulk import Destination, score_shards
from postbias.scoring.scorer import Scorer

REASONS = {"unknown_format", "too_small", "too_large", "truncated", "damaged"}
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "images"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images beside this checkout")
def test_every_real_picture_is_scored_or_rejected_with_a_true_reason(tmp_path: Path) -> None:
    files = sorted(path for path in REAL.iterdir() if path.name != "manifest.csv")
    with (REAL / "manifest.csv").open(newline="", encoding="utf-8") as file:
        known = {row["file"]: row for row in csv.DictReader(file)}
    shard = write_shard(tmp_path / "p.parquet", [("", [path.read_bytes()]) for path in files])
    to = Destination(tmp_path / "scores", tmp_path / "rejects.parquet", tmp_path / "store")
    with Scorer(write_tiny_artifact(tmp_path / "student"), threads=2) as scorer:
        summary = score_shards([shard], scorer, to, batch_size=16)
        schema = scores_schema(scorer.axes)
    assert summary.posts == len(files) >= 100
    scores = read_table(to.scores / "p.parquet", schema)
    reasons = iter(read_table(to.rejects, REJECTS)["detail"].to_pylist())
    for path, status in zip(files, scores["status"].to_pylist(), strict=True):
        detail = "" if status == "ok" else next(reasons)
        assert _is_true(path, known[path.name], status, detail), (path.name, status, detail)


def _is_true(path: Path, says: dict[str, str], status: str, detail: str) -> bool:
    """Say whether a status agrees with what the manifest says of a file."""
    width, height = (int(says[name] or 0) for name in ("width", "height"))
    if status == "ok":
        return says["format"] in {"JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF"}
    if status == "unreadable" and says["pillow_result"] not in {"ok", ""}:
        return detail.partition(":")[0] in REASONS  # Pillow refuses it as well
    return status == "unreadable" and {
        "unknown_format": says["format"] not in {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"},
        "too_small": 0 < min(width, height) < MIN_SIDE_PX,
        "too_large": says["pillow_result"].startswith("Decompression")
        or width * height > MAX_PIXELS
        or path.stat().st_size > MAX_BYTES,
        "truncated": says["pillow_result"] != "ok",
        # Whole pixels, a broken animation: Pillow says so on the first load only.
        "damaged": says["pillow_result"] != "ok" or path.name == "pillow_apng_chunk_no_fctl.png",
    }.get(detail.partition(":")[0], False)
