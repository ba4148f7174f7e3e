"""Read and write `DEST/videos.parquet`: duration and transcript of the videos of posts.

They are kept beside the shards, so that the shards of a corpus with videos have the schema of all
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.posts.schema import POSTS
from postbias.posts.shards import read_table, write_table

VIDEOS_FILE = "videos.parquet"

#: Precedes a transcript in a caption; words that every tokenizer can express.
MARKER = "[transcript]"

#: Maximum number of characters of a transcript in a caption: some four minutes of speech.
MAX_CHARS = 4000

#: One row per post whose duration or transcript is known; `duration_s` is in seconds.
VIDEO_DETAILS = pa.schema(
    [
        POSTS.field("post_id"),
        pa.field("duration_s", pa.float64()),
        pa.field("transcript", pa.string()),
    ]
)


def append_transcript(caption: str, transcript: str) -> str:
    """Append a transcript to a caption, marked as such.

    The caption comes first, so that a limit on tokens shortens the transcript before it.

    Args:
        caption: The caption; may be empty.
        transcript: What is said in the video; may be empty.

    Returns:
        The caption of the post; unchanged if there is no transcript.
    """
    text = " ".join(transcript.split())[:MAX_CHARS].rstrip()
    return f"{caption.strip()}\n{MARKER} {text}".lstrip() if text else caption


def read_video_details(data: Path) -> pa.Table:
    """Read the durations and transcripts of a corpus; an empty table if none is known.

    Args:
        data: The folder that contains `posts/`.

    Raises:
        SchemaError: If the file is damaged.
    """
    path = data / VIDEOS_FILE
    return read_table(path, VIDEO_DETAILS) if path.is_file() else VIDEO_DETAILS.empty_table()


def write_video_details(parts: Sequence[pa.Table], path: Path) -> bool:
    """Write details sorted by post id; nothing if there are none.

    Args:
        parts: Tables of `VIDEO_DETAILS`. Of several rows of a post, the last known values count.
        path: The file; removed if there is no row.

    Returns:
        Whether there is a row.

    Raises:
        StorageError: If the file cannot be written.
    """
    table = pa.concat_tables([VIDEO_DETAILS.empty_table(), *parts])
    path.unlink(missing_ok=True)
    if not table.num_rows:
        return False
    if pc.count_distinct(table["post_id"]).as_py() < table.num_rows:
        # `last` leaves out nulls: an unknown value does not replace a known one.
        grouped = table.group_by("post_id", use_threads=False)
        found = grouped.aggregate([("duration_s", "last"), ("transcript", "last")])
        columns = ["post_id", "duration_s_last", "transcript_last"]
        table = found.select(columns).rename_columns(VIDEO_DETAILS.names)
    write_table(table.sort_by("post_id").cast(VIDEO_DETAILS), path, VIDEO_DETAILS)
    return True
