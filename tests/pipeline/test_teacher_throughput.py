"""Labelling uses constant memory; benchmarks/annotate_engine.py measures its rate."""

from __future__ import annotations

import argparse

import pytest
from benchmarks.annotate_engine import measure


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_posts() -> None:
    # Pools and caches fill up during the first few hundred posts.
    options = argparse.Namespace(latency=0.01, concurrency=16, side=112)
    few, many = (measure(n, options)["peak_mb"] for n in (1000, 4000))
    assert many < 1.2 * few
