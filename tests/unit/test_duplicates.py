"""Near-duplicates, against brute force over all pairs."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from postbias.errors import CorpusError
from postbias.posts.captions import SHINGLE, shingles
from postbias.posts.duplicates import (
    COLOUR_DISTANCE,
    Content,
    caption_pairs,
    components,
    hash_image,
    image_pairs,
    jaccard,
    read_content,
)
from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table

WORDS = ["sun", "beach", "love", "dress", "girls", "boss", "mother", "kitchen", "day", "moon"]


def scene(seed: int, side: int = 160) -> Image.Image:
    """A plain background and a few shapes, as a drawn post has."""
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


def content_of(pictures: list[bytes]) -> Content:
    hashed = [hash_image(data) for data in pictures]
    return Content(
        authors=tuple(f"a{i}" for i in range(len(hashed))),
        captions=(frozenset(),) * len(hashed),
        owner=np.arange(len(hashed)),
        bits=np.array([bits for bits, _, _ in hashed], dtype=np.uint64),
        colours=np.array([colours for _, colours, _ in hashed]),
        shapes=np.array([shape for _, _, shape in hashed]),
        unreadable=0,
    )


def linked(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(min(p), max(p)) for p in pairs.tolist()}


def test_near_captions_are_those_that_brute_force_finds() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 14))) for _ in range(300)]
    texts += [text[:-2] + "x" for text in texts[:80]] + [text + " now" for text in texts[:80]]
    cut = [shingles(text) for text in texts]
    for threshold in (0.5, 0.8, 0.95):
        pairs = itertools.combinations(range(len(cut)), 2)
        brute = np.array([p for p in pairs if jaccard(cut[p[0]], cut[p[1]]) >= threshold])
        found = caption_pairs(cut, threshold)
        assert linked(found) <= linked(brute)
        assert np.array_equal(components(found, len(cut)), components(brute, len(cut)))


def test_short_captions_are_alike_only_if_nearly_every_character_is() -> None:
    texts = ["hi", "ho", "happy monday", "happy sunday", "happy mondays", "Hi", ""]
    assert linked(caption_pairs([shingles(text) for text in texts], 0.8)) == {(0, 5), (2, 4)}


def test_captions_without_spaces_are_compared_too() -> None:
    text = "夏天在海滩上穿着新裙子的女孩子们真的很快乐也很坚强"
    pairs = caption_pairs([shingles(text), shingles(text + "!"), shingles(text[::-1])], 0.8)
    assert linked(pairs) == {(0, 1)}


def test_empty_captions_are_like_nothing() -> None:
    assert shingles("") == frozenset()
    assert len(caption_pairs([frozenset()] * 5, 0.5)) == 0


def test_a_caption_shorter_than_a_shingle_is_one() -> None:
    assert shingles("ab") == {"ab"}
    assert len(shingles("x" * SHINGLE + "y")) == 2


@pytest.mark.parametrize("most", [0, 3, 6, 12])
def test_near_pictures_are_those_that_brute_force_finds(most: int) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for i in range(0, 200, 2):  # neighbours at every distance around the limit
        flips = rng.choice(64, i % 16, replace=False).astype(np.uint64)
        bits[i + 1] = bits[i] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0))
    colours = np.zeros((300, 48), dtype=np.float32)
    colours[::5] = COLOUR_DISTANCE + 1
    owner = np.arange(300)
    shapes = np.ones((300, 256), dtype=np.float32)
    shapes[::7] = 0
    content = Content((), (), owner, bits, colours, shapes, 0)
    brute = {
        (i, j)
        for i, j in itertools.combinations(range(300), 2)
        if (int(bits[i]) ^ int(bits[j])).bit_count() <= most
        and np.abs(colours[i] - colours[j]).mean() <= COLOUR_DISTANCE
        and i % 7
        and j % 7
    }
    assert brute
    assert linked(image_pairs(content, most)) == brute


def test_a_recompressed_resized_or_brightened_picture_is_found() -> None:
    originals = [scene(seed) for seed in range(30)]
    copies = [
        jpeg(image.resize((120, 120)).point(lambda v: min(255, v + 5)), quality=50)
        for image in originals
    ]
    content = content_of([jpeg(image) for image in originals] + copies)
    pairs = linked(image_pairs(content, 6))
    assert {(i, i + 30) for i in range(30)} <= pairs
    assert len(pairs) == 30  # and no two different scenes are taken for one


def test_the_same_shapes_in_other_colours_are_another_picture() -> None:
    image = scene(3)
    red, green, blue = image.split()
    content = content_of([jpeg(image), jpeg(Image.merge("RGB", (blue, red, green)))])
    assert len(image_pairs(content, 64)) == 0


def test_slides_of_black_text_on_white_are_not_taken_for_one() -> None:
    rng = np.random.default_rng(0)
    slides = []
    for _ in range(120):
        slides.append(Image.new("RGB", (320, 320), "white"))
        draw = ImageDraw.Draw(slides[-1])
        for line in range(rng.integers(3, 9)):
            text = " ".join(rng.choice(WORDS, rng.integers(2, 5)))
            draw.text((20, 40 + 30 * line), text, fill="black", font_size=24)
    content = content_of([jpeg(slide) for slide in slides])
    clusters = np.bincount(components(image_pairs(content, 6), 120))
    assert clusters.max() <= 3


def test_pictures_of_one_plain_colour_are_like_nothing() -> None:
    blank = jpeg(Image.new("RGB", (100, 100), "white"))
    copies = content_of([blank, jpeg(Image.new("RGB", (80, 80), "white"))])
    assert len(image_pairs(copies, 6)) == 0


def test_a_thousand_copies_of_one_picture_are_one_cluster() -> None:
    data = jpeg(scene(1))
    one = content_of([data])
    content = Content(
        (),
        (),
        np.arange(1000),
        np.repeat(one.bits, 1000),
        np.repeat(one.colours, 1000, axis=0),
        np.repeat(one.shapes, 1000, axis=0),
        0,
    )
    assert np.bincount(components(image_pairs(content, 6), 1000)).tolist() == [1000]


def test_two_pictures_of_one_post_link_it_to_nothing_else() -> None:
    one = content_of([jpeg(scene(1)), jpeg(scene(1), quality=60)])
    content = Content((), (), np.array([4, 4]), one.bits, one.colours, one.shapes, 0)
    assert len(image_pairs(content, 6)) == 0


def test_content_keeps_the_order_asked_for_and_passes_over_unreadable_pictures(
    tmp_path: Path,
) -> None:
    def post(name: str, pictures: list[bytes]) -> dict[str, object]:
        known = {"post_id": name, "author": f"by {name}", "caption": name * 3}
        images = [{"bytes": data, "path": "x"} for data in pictures]
        fixed = {"images": images, "platform": "t", "source": "t"}
        return dict.fromkeys(POSTS.names) | known | fixed

    posts = [
        post("a", [jpeg(scene(1)), b"broken"]),
        post("b", []),
        post("c", [jpeg(scene(2)), jpeg(scene(3))]),
        post("d", [b""]),
    ]
    write_table(pa.Table.from_pylist(posts, schema=POSTS), tmp_path / "x.parquet", POSTS)
    content = read_content(tmp_path, ["d", "c", "a"])
    assert content.authors == ("by d", "by c", "by a")
    assert content.owner.tolist() == [1, 1, 2]
    assert content.unreadable == 2
    assert content.captions[0] == shingles("ddd")
    with pytest.raises(CorpusError, match=r"1 labelled posts are not in .*'z'"):
        read_content(tmp_path, ["a", "z"])
