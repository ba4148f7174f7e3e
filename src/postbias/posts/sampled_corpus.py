"""Write the sampled posts as a corpus of their own, which the later stages read instead of `data/`.

It has the layout of `data/`. Its bytes depend on the sampled posts only, so posts that are added to
`data/` make no later stage run again; and each of them reads the sample, not all posts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CountsError, StorageError
from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.cross_fitting_groups import draw_unlabelled
from postbias.posts.schema import FRAME, POSTS
from postbias.posts.selected_shards import write_selected_shards
from postbias.posts.shards import atomic_write, count_rows, list_shards, read_table, write_table

# Ground truth of the demo corpus, which `evaluate` compares with.
_TRUTH_FILE = "data/truth.parquet"


def write_sampled_corpus(
    paths: Paths, params: Params, shards: Sequence[Path], post_ids: pa.Array
) -> None:
    """Write `build/sample/corpus/` and `build/sample/frame.parquet`.

    Args:
        params: `annotate.labels` and `split.folds` name files to copy if they are inside `data/`;
            with `train.cross_fit` or `train.transfer`, unlabelled posts are written too.
        shards: Shards of the posts that could have been sampled.
        post_ids: Ids of the sampled posts.

    Raises:
        CountsError: If the number of posts on disk is wrong.
        SchemaError: If a shard is damaged.
        StorageError: If a file cannot be written.
    """
    frame = pa.concat_tables([read_table(shard, POSTS, ["post_id"]) for shard in shards])
    write_table(frame, paths.sample_frame, FRAME)
    post_ids = pa.concat_arrays([post_ids, _draw_others(frame, post_ids, params)])
    try:
        shutil.rmtree(paths.sampled_corpus, ignore_errors=True)
        write_selected_shards(shards, post_ids, paths.sampled_posts, first=0)
        for name in (params.annotate.labels, params.split.folds, _TRUTH_FILE):
            if name is not None:
                _copy_file(paths.root / name, paths.sampled_file(name))
    except OSError as error:
        raise StorageError(
            f"cannot write {paths.sampled_corpus}: {error.strerror or error}",
            do="free space or choose another disk",
        ) from error
    n_written = count_rows(list_shards(paths.sampled_posts))
    if n_written != len(post_ids):
        raise CountsError(
            "the sampled posts on disk are not all posts of the sample",
            seen=n_written,
            allowed=len(post_ids),
            do="report this bug in postbias",
        )


def _draw_others(frame: pa.Table, post_ids: pa.Array, params: Params) -> pa.Array:
    """Draw posts that are not sampled for labelling, but scored by students during training."""
    if params.train.cross_fit is None and params.train.transfer is None:
        return pa.array([], pa.string())
    others = frame.filter(pc.invert(pc.is_in(frame["post_id"], value_set=post_ids)))
    drawn = draw_unlabelled(others["post_id"].to_pylist(), params)
    return pa.array(sorted({*drawn.sampled, *drawn.transfer}), pa.string())


def _copy_file(source: Path, copy: Path) -> None:
    """Copy a file of `data/`; the stage that needs a missing one says so."""
    if copy != source and source.is_file():
        with atomic_write(copy) as temporary:
            shutil.copyfile(source, temporary)
