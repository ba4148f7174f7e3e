"""Near-duplicate detection, compared with brute force over all pairs."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from postbias.errors import CorpusError
from postbias.posts.captions import SHINGLE_LENGTH, make_shingles
from postbias.posts.duplicates import (
    COLOUR_DISTANCE,
    PostFeatures,
    find_similar_captions,
    find_similar_images,
    hash_image,
    jaccard_similarity,
    read_features,
)
from postbias.posts.fold_assignment import label_components
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table

WORDS = ["sun", "beach", "love", "dress", "girls", "boss", "mother", "kitchen", "day", "moon"]


def scene(seed: int, side: int = 160) -> Image.Image:
    """Draw a plain background and a few rectangles, similar to a synthetic image."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(map(int, rng.integers(90, 255, 3))))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.uniform(0, 0.8, 2) * side
        w, h = rng.uniform(0.1, 0.4, 2) * side
        draw.rectangle((x, y, x + w, y + h), fill=tuple(map(int, rng.integers(0, 255, 3))))
    return image


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def features_of(images: list[bytes]) -> PostFeatures:
    hashed = [hash_image(data) for data in images]
    return PostFeatures(
        authors=tuple(f"a{i}" for i in range(len(hashed))),
        captions=(frozenset(),) * len(hashed),
        image_post=np.arange(len(hashed)),
        hashes=np.array([bits for bits, _, _ in hashed], dtype=np.uint64),
        colours=np.array([colours for _, colours, _ in hashed]),
        shapes=np.array([shape for _, _, shape in hashed]),
        unreadable=0,
    )


def unordered(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(min(p), max(p)) for p in pairs.tolist()}


def test_similar_captions_are_those_that_brute_force_finds() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 14))) for _ in range(300)]
    texts += [text[:-2] + "x" for text in texts[:80]] + [text + " now" for text in texts[:80]]
    captions = [make_shingles(text) for text in texts]
    for threshold in (0.5, 0.8, 0.95):
        pairs = itertools.combinations(range(len(captions)), 2)
        brute = np.array(
            [p for p in pairs if jaccard_similarity(captions[p[0]], captions[p[1]]) >= threshold]
        )
        pairs = find_similar_captions(captions, threshold)
        assert unordered(pairs) <= unordered(brute)
        assert np.array_equal(
            label_components(pairs, len(captions)), label_components(brute, len(captions))
        )


def test_short_captions_are_similar_only_if_nearly_every_character_matches() -> None:
    texts = ["hi", "ho", "happy monday", "happy sunday", "happy mondays", "Hi", ""]
    assert unordered(find_similar_captions([make_shingles(text) for text in texts], 0.8)) == {
        (0, 5),
        (2, 4),
    }


def test_captions_without_spaces_are_compared() -> None:
    text = "夏天在海滩上穿着新裙子的女孩子们真的很快乐也很坚强"
    pairs = find_similar_captions(
        [make_shingles(text), make_shingles(text + "!"), make_shingles(text[::-1])], 0.8
    )
    assert unordered(pairs) == {(0, 1)}


def test_an_empty_caption_is_similar_to_nothing() -> None:
    assert make_shingles("") == frozenset()
    assert len(find_similar_captions([frozenset()] * 5, 0.5)) == 0


def test_a_caption_shorter_than_a_shingle_is_its_only_shingle() -> None:
    assert make_shingles("ab") == {"ab"}
    assert len(make_shingles("x" * SHINGLE_LENGTH + "y")) == 2


@pytest.mark.parametrize("max_distance", [0, 3, 6, 12])
def test_similar_images_are_those_that_brute_force_finds(max_distance: int) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for i in range(0, 200, 2):  # pairs at every distance around the limit
        flips = rng.choice(64, i % 16, replace=False).astype(np.uint64)
        bits[i + 1] = bits[i] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0))
    colours = np.zeros((300, 48), dtype=np.float32)
    colours[::5] = COLOUR_DISTANCE + 1
    owner = np.arange(300)
    shapes = np.ones((300, 256), dtype=np.float32)
    shapes[::7] = 0
    features = PostFeatures((), (), owner, bits, colours, shapes, 0)
    brute = {
        (i, j)
        for i, j in itertools.combinations(range(300), 2)
        if (int(bits[i]) ^ int(bits[j])).bit_count() <= max_distance
        and np.abs(colours[i] - colours[j]).mean() <= COLOUR_DISTANCE
        and i % 7
        and j % 7
    }
    assert brute
    assert unordered(find_similar_images(features, max_distance)) == brute


def test_a_recompressed_resized_or_brightened_image_is_found() -> None:
    originals = [scene(seed) for seed in range(30)]
    copies = [
        jpeg(image.resize((120, 120)).point(lambda v: min(255, v + 5)), quality=50)
        for image in originals
    ]
    features = features_of([jpeg(image) for image in originals] + copies)
    pairs = unordered(find_similar_images(features, 6))
    assert {(i, i + 30) for i in range(30)} <= pairs
    assert len(pairs) == 30  # and no pair of different scenes


def test_the_same_shapes_in_other_colours_are_not_similar() -> None:
    image = scene(3)
    red, green, blue = image.split()
    features = features_of([jpeg(image), jpeg(Image.merge("RGB", (blue, red, green)))])
    assert len(find_similar_images(features, 64)) == 0


def test_slides_of_black_text_on_white_are_not_one_cluster() -> None:
    rng = np.random.default_rng(0)
    slides = []
    for _ in range(120):
        slides.append(Image.new("RGB", (320, 320), "white"))
        draw = ImageDraw.Draw(slides[-1])
        for line in range(rng.integers(3, 9)):
            text = " ".join(rng.choice(WORDS, rng.integers(2, 5)))
            draw.text((20, 40 + 30 * line), text, fill="black", font_size=24)
    features = features_of([jpeg(slide) for slide in slides])
    clusters = np.bincount(label_components(find_similar_images(features, 6), 120))
    assert clusters.max() <= 3


def test_a_single_colour_image_is_similar_to_nothing() -> None:
    blank = jpeg(Image.new("RGB", (100, 100), "white"))
    copies = features_of([blank, jpeg(Image.new("RGB", (80, 80), "white"))])
    assert len(find_similar_images(copies, 6)) == 0


def test_a_thousand_copies_of_one_image_are_one_cluster() -> None:
    data = jpeg(scene(1))
    single = features_of([data])
    features = PostFeatures(
        (),
        (),
        np.arange(1000),
        np.repeat(single.hashes, 1000),
        np.repeat(single.colours, 1000, axis=0),
        np.repeat(single.shapes, 1000, axis=0),
        0,
    )
    assert np.bincount(label_components(find_similar_images(features, 6), 1000)).tolist() == [1000]


def test_two_similar_images_of_one_post_are_not_a_pair_of_posts() -> None:
    pair = features_of([jpeg(scene(1)), jpeg(scene(1), quality=60)])
    features = PostFeatures((), (), np.array([4, 4]), pair.hashes, pair.colours, pair.shapes, 0)
    assert len(find_similar_images(features, 6)) == 0


def test_features_keep_the_requested_order_and_skip_unreadable_images(
    tmp_path: Path,
) -> None:
    def post(name: str, files: list[bytes]) -> dict[str, object]:
        known = {"post_id": name, "author": f"by {name}", "caption": name * 3}
        images = [{"bytes": data, "path": "x"} for data in files]
        fixed = {"images": images, "platform": "t", "source": "t"}
        return dict.fromkeys(POSTS.names) | known | fixed

    posts = [
        post("a", [jpeg(scene(1)), b"broken"]),
        post("b", []),
        post("c", [jpeg(scene(2)), jpeg(scene(3))]),
        post("d", [b""]),
    ]
    write_table(pa.Table.from_pylist(posts, schema=POSTS), tmp_path / "x.parquet", POSTS)
    features = read_features(tmp_path, ["d", "c", "a"])
    assert features.authors == ("by d", "by c", "by a")
    assert features.image_post.tolist() == [1, 1, 2]
    assert features.unreadable == 2
    assert features.captions[0] == make_shingles("ddd")
    with pytest.raises(CorpusError, match=r"1 labelled posts are not in .*'z'"):
        read_features(tmp_path, ["a", "z"])
