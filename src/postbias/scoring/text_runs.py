"""Embed texts in batches of one padded length, on the threads of a scorer."""

# Ships inside the registered model.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor, Future

from postbias.scoring.graphs import Floats, Graphs

#: Enough for full-speed kernels, few enough for the cache and for threads to finish together.
TOKENS_PER_RUN = 512


def start_text_runs(
    graphs: Graphs, texts: Sequence[str], pool: Executor
) -> list[tuple[list[int], Future[Floats]]]:
    """Start to embed texts.

    Args:
        graphs: The graphs of a student that reads text.
        texts: Texts, valid in UTF-8; empty ones are left out.
        pool: Threads that embed.

    Returns:
        Positions of the texts of each run, and its embeddings, (B, Dt).
    """
    tokens = {row: graphs.tokenize(text) for row, text in enumerate(texts) if text}
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, ids in tokens.items():
        by_length[graphs.padded_length(len(ids))].append(row)
    runs = []
    for length, rows in sorted(by_length.items(), reverse=True):
        size = max(1, TOKENS_PER_RUN // length)
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            captions = [tokens[row] for row in chunk]
            runs.append((chunk, pool.submit(graphs.embed_captions, captions)))
    return runs
