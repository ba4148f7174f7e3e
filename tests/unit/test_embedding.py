"""The embedding cache: embeddings equal the student's own, and do not depend on the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.test_export import SIZE, small_student
from torch.utils.data import DataLoader

from postbias.student import embedding_cache
from postbias.student.dataset import Examples, PostDataset
from postbias.student.embedding_cache import EmbeddedDataset, Embedder, EmbeddingStore
from postbias.student.network import Student

N = 37


def make_examples() -> Examples:
    rng = np.random.default_rng(0)
    n_tokens, n_images = rng.integers(0, 6, N), rng.integers(0, 3, N)
    ends = np.cumsum(n_images)
    return Examples(
        post_ids=tuple(f"p{i}" for i in range(N)),
        token_ids=tuple(tuple(rng.integers(3, 30, n).tolist()) for n in n_tokens),
        pixels=rng.integers(0, 256, (ends[-1], SIZE, SIZE, 3), np.uint8),
        image_rows=tuple(range(end - n, end) for n, end in zip(n_images, ends, strict=True)),
        labels=rng.uniform(0, 10, (N, 2)).astype(np.float32),
    )


def embedder(student: Student, store: Path, *, bf16: bool = False) -> Embedder:
    return Embedder(student, store, device="cpu", bf16=bf16)


def test_a_head_on_embeddings_scores_as_the_whole_student(tmp_path: Path) -> None:
    student, examples = small_student().eval(), make_examples()
    rows = examples.usable_rows("fusion")
    parts = embedder(student, tmp_path).embed(examples, rows)
    fast = student.head(**parts)
    (batch,) = DataLoader(PostDataset(examples, rows), len(rows), collate_fn=PostDataset.collate)
    batch.pop("labels")
    plain = student(**batch)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bf16", [False, True])
def test_an_embedding_does_not_depend_on_its_batch(tmp_path: Path, *, bf16: bool) -> None:
    student, examples = small_student(), make_examples()
    rows = examples.usable_rows("fusion")
    batched = embedder(student, tmp_path / "all", bf16=bf16).embed(examples, rows)
    for row in (rows[0], rows[5], rows[-1]):
        alone = embedder(student, tmp_path / f"one{row}", bf16=bf16).embed(examples, [row])
        for name, part in alone.items():
            assert torch.equal(part[0], batched[name][rows.index(row)]), name


def test_stored_embeddings_are_not_computed_again(tmp_path: Path) -> None:
    student, examples = small_student(), make_examples()
    rows = examples.usable_rows("fusion")
    first = embedder(student, tmp_path).embed(examples, rows[: len(rows) // 2])
    passes = []
    again = embedder(student, tmp_path)
    for encoder in (student.text, student.image):
        encoder.register_forward_hook(lambda module, *_: passes.append(module))
    half = again.embed(examples, rows[: len(rows) // 2])
    assert passes == []
    assert all(torch.equal(half[name], first[name]) for name in first)
    again.embed(examples, rows)
    assert passes


def test_embeddings_of_a_killed_run_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "_PART_ROWS", 16)  # one pass
    student, examples = small_student(), make_examples()
    rows = examples.usable_rows("image")
    whole = embedder(student, tmp_path / "whole").embed(examples, rows)
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 2:
            raise KeyboardInterrupt

    student.image.register_forward_hook(count)
    with pytest.raises(KeyboardInterrupt):
        embedder(student, tmp_path / "cut").embed(examples, rows)
    passes = 2
    resumed = embedder(student, tmp_path / "cut").embed(examples, rows)
    n_images = sum(len(examples.image_rows[row]) for row in rows)
    assert passes - 2 == -(-n_images // 16) - 1
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_other_weights_have_a_separate_store(tmp_path: Path) -> None:
    examples = make_examples()
    rows = examples.usable_rows("fusion")
    one = embedder(small_student(), tmp_path).embed(examples, rows)
    two = embedder(small_student(seed=1), tmp_path).embed(examples, rows)
    assert not torch.equal(one["text"], two["text"])
    assert len(list(tmp_path.iterdir())) == 4  # two encoders, each with two sets of weights


def test_an_incomplete_part_is_not_read(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "s", 3)
    kept = {b"a" * 32: np.arange(3, dtype=np.float32)}
    store.write(kept)
    store.write({})
    (tmp_path / "s" / ".cut.tmp").write_bytes(b"PAR1")
    stored = store.read()
    assert stored.keys() == kept.keys()
    np.testing.assert_array_equal(stored[b"a" * 32], kept[b"a" * 32])


def test_modality_dropout_hides_one_of_two_and_never_the_only_one(tmp_path: Path) -> None:
    student, examples = small_student(), make_examples()
    rows = examples.usable_rows("fusion")
    parts = embedder(student, tmp_path).embed(examples, rows)
    posts = EmbeddedDataset(parts, examples.labels[rows], modality_dropout=0.5)
    torch.manual_seed(0)
    both = [i for i in range(len(posts)) if parts["has_text"][i] and parts["has_image"][i]]
    seen = [
        (int(post["has_text"]), int(post["has_image"]))
        for _ in range(40)
        for post in map(posts.__getitem__, both)
    ]
    assert set(seen) == {(1, 1), (0, 1), (1, 0)}
    assert np.mean([pair == (1, 1) for pair in seen]) == pytest.approx(0.5, abs=0.08)
    for i in set(range(len(posts))) - set(both):
        assert float(posts[i]["has_text"] + posts[i]["has_image"]) == 1
