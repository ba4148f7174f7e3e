"""Save the state of a random generator, so that an image can be drawn again from it.

A column of `truth.parquet` holds the states; the audit of image swaps draws from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from postbias.demo.recorded_columns import read_recorded

STATES = "drawn_from"

# State, increment, whether half of a 64-bit number is left over, and that half.
_PARTS = (16, 16, 1, 4)
_N_BYTES = sum(_PARTS)
_TYPE = pa.list_(pa.binary())  # of fixed size, pandas cannot read it


def save_generator(rng: np.random.Generator) -> bytes:
    """Return the state of a generator made by `numpy.random.default_rng`: 37 bytes."""
    state = rng.bit_generator.state
    numbers = (*state["state"].values(), state["has_uint32"], state["uinteger"])
    return b"".join(
        int(number).to_bytes(size, "little") for number, size in zip(numbers, _PARTS, strict=True)
    )


def restore_generator(saved: bytes) -> np.random.Generator:
    """Return a generator in a saved state.

    Args:
        saved: Result of `save_generator`.

    Raises:
        ValueError: If it has another length.
    """
    if len(saved) != _N_BYTES:
        raise ValueError(f"a state of {len(saved)} bytes; {_N_BYTES} are expected")
    numbers, start = [], 0
    for size in _PARTS:
        numbers.append(int.from_bytes(saved[start : start + size], "little"))
        start += size
    state, increment, has_uint32, uinteger = numbers
    generator = np.random.PCG64()
    generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(generator)


def states_column(by_post: Sequence[Sequence[bytes]]) -> pa.Array:
    """Convert the states of the images of posts to a column: one list per post."""
    return pa.array(by_post, _TYPE)


def read_states(path: Path, post_ids: Sequence[str]) -> list[list[bytes]] | None:
    """Read the states that the images of some posts of a demo corpus were drawn from.

    Args:
        path: `truth.parquet` of the corpus.
        post_ids: Ids of the posts.

    Returns:
        For each post the state of each image; None if the corpus does not record states, or lacks a
        post.

    Raises:
        SchemaError: If the file cannot be read.
    """
    return read_recorded(path, STATES, post_ids)
