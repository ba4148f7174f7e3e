"""Repeated images and captions are embedded once, and the scores are the same as without reuse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.post_shards import jpeg, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.errors import SchemaError
from postbias.scoring.post_scores import PostInput
from postbias.scoring.repeated_inputs import RecentInputs
from postbias.scoring.scorer import Scorer
from postbias.scoring.shard_scores import iter_shard_scores

RNG = np.random.default_rng(0)
IMAGES = [jpeg(RNG) for _ in range(12)]
BROKEN = [b"", b"not an image", IMAGES[0][:200]]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("student") / "artifact"
    write_tiny_artifact(folder)
    return Scorer.open(folder, threads=2)


def draw_posts(rng: np.random.Generator, count: int) -> list[PostInput]:
    """Draw captions and images, some of them broken, from so few that most are repeats."""
    captions = ["", "she", "he cooks", "a boss", "the boss and her team", "妈妈"]
    files = [*IMAGES, *BROKEN]
    return [
        PostInput(
            captions[rng.integers(len(captions))],
            tuple(files[rng.integers(len(files))] for _ in range(rng.integers(4))),
        )
        for _ in range(count)
    ]


def test_posts_with_repeats_have_the_results_of_single_posts(scorer: Scorer) -> None:
    posts = draw_posts(np.random.default_rng(1), 120)
    alone = [scorer.score([post], RecentInputs())[0] for post in posts]
    assert len({result.status for result in alone}) == 3  # ok, no_content, unreadable
    recent = RecentInputs()
    in_calls = [r for at in range(0, 120, 7) for r in scorer.score(posts[at : at + 7], recent)]
    assert scorer.score(posts) == in_calls == alone


def test_a_broken_image_is_a_fault_of_each_post_that_has_it(scorer: Scorer) -> None:
    recent = RecentInputs()
    first = scorer.score([PostInput("", (BROKEN[1],))] * 2, recent)
    later = scorer.score(
        [PostInput("", (BROKEN[1], BROKEN[1])), PostInput("she", (IMAGES[0], BROKEN[1]))], recent
    )
    assert [result.status for result in (*first, *later)] == ["unreadable"] * 3 + ["ok"]
    assert [result.detail.count("unknown_format") for result in (*first, *later)] == [1, 1, 2, 1]


def test_each_distinct_image_and_text_is_embedded_once(scorer: Scorer) -> None:
    recent = RecentInputs()
    graphs, manifest = scorer.graphs, scorer.manifest
    files = [*IMAGES, IMAGES[3], *BROKEN, bytes(bytearray(IMAGES[5])), BROKEN[0]]
    for turn in range(3):
        found = recent.start_images(graphs, manifest, files, scorer.pool)
        assert len({(id(e.run), e.position) for e in found}) == len(set(files))
        places = dict(zip(files, found, strict=True))
        assert all(place is places[data] or place == places[data]
                   for data, place in zip(files, found, strict=True))  # fmt: skip
        started = recent.start_texts(graphs, ["she", "", "he", "she", "he"], scorer.pool)
        new = sorted(row for rows, _ in started.runs for row in rows)
        assert (new, sorted(started.repeats)) == (
            ([0, 2], [3, 4]) if turn == 0 else ([], [0, 2, 3, 4])
        )
    embedding = graphs.embed_captions([graphs.tokenize("he")])[0]
    where = started.repeats[4]
    assert (where.run.result()[where.position] == embedding).all()


def test_images_that_differ_in_one_byte_are_not_taken_for_repeats(scorer: Scorer) -> None:
    """Neither among the images of one call nor among earlier ones."""
    image = jpeg(RNG, 400, 300)
    at = len(image) // 4
    changed = image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]
    recent = RecentInputs()
    for files in ([image, changed, image], [changed, image]):
        found = recent.start_images(scorer.graphs, scorer.manifest, files, scorer.pool)
        for data, embedded in zip(files, found, strict=True):
            (own,) = RecentInputs().start_images(
                scorer.graphs, scorer.manifest, [data], scorer.pool
            )
            run, single = embedded.run.result(), own.run.result()
            actual = run.embeddings[run.rows[embedded.position]]
            assert (actual == single.embeddings[0]).all()


def test_old_inputs_are_dropped_and_used_ones_are_kept(scorer: Scorer) -> None:
    size = len(IMAGES[0]) + 4096
    recent = RecentInputs(image_bytes=3 * size, text_bytes=0)

    def start(*files: bytes) -> list[int]:
        found = recent.start_images(scorer.graphs, scorer.manifest, files, scorer.pool)
        return [id(embedded.run) for embedded in found]

    a, b, c, d = (bytes([number]) * len(IMAGES[0]) for number in range(4))
    runs = [*start(a), *start(b), *start(c)]
    assert start(a) == [runs[0]]
    start(d)  # drops b, which was not used for the longest time
    assert [*start(a), *start(c)] == [runs[0], runs[2]]
    assert start(b) != [runs[1]]
    texts = recent.start_texts(scorer.graphs, ["she"], scorer.pool)
    assert not texts.repeats
    assert recent.start_texts(scorer.graphs, ["she"], scorer.pool).runs


def test_concurrent_calls_share_repeats(scorer: Scorer) -> None:
    posts = draw_posts(np.random.default_rng(2), 60)
    expected = scorer.score(posts)
    recent = RecentInputs(image_bytes=20_000, text_bytes=20_000)  # drops entries all the time
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: scorer.score(posts, recent), range(12)):
            assert results == expected


def test_shards_before_a_damaged_one_are_scored(scorer: Scorer, tmp_path: Path) -> None:
    posts = [("she", IMAGES[:1])] * 30
    good, empty = (
        write_shard(tmp_path / f"{n}.parquet", rows) for n, rows in ((0, posts), (1, []))
    )
    damaged = write_shard(tmp_path / "2.parquet", posts)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    scored = iter_shard_scores(
        [good, empty, damaged, good], scorer, "x", batch_size=8, on_progress=lambda _: None
    )
    done = [(shard, len(results.scores)) for shard, results in (next(scored), next(scored))]
    with pytest.raises(SchemaError, match="damaged"):
        next(scored)
    assert done == [(good, 30), (empty, 0)]
