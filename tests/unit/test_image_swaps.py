"""Images with a swapped person: drawn again by the demo, read from a folder, and scored."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.tiny_artifact import write_tiny_artifact

from postbias.demo.build import build_demo_data
from postbias.demo.ground_truth import TOPICS, Cues, read_cues
from postbias.demo.illustrations import ImageCues, draw_scene, image_cues_of, redraw_scene
from postbias.demo.image_encoding import encode_jpeg
from postbias.demo.planted_objects import PERSON
from postbias.demo.random_states import read_states, restore_generator, save_generator
from postbias.errors import InputError
from postbias.evaluation.image_pairs import ImagePair, load_image_pairs, redraw_image_pairs
from postbias.evaluation.image_swaps import ImageSwapSettings, measure_image_swaps
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.paths import Paths
from postbias.scoring.scorer import PostInput, Scorer

N_POSTS = 120
SETTINGS = ImageSwapSettings("orientation", 200, seed=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    build_demo_data(folder, n_posts=N_POSTS, seed=8)
    return folder


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("student") / "image"
    write_tiny_artifact(folder, "image")
    return Scorer.open(folder)


def _fold(data: Path) -> tuple[LabelledFold, Cues]:
    posts = pq.read_table(data / "posts", columns=["post_id", "author"]).sort_by("post_id")
    ids = tuple(posts["post_id"].to_pylist())
    labels = np.zeros((len(ids), 2))
    fold = LabelledFold(ids, tuple(posts["author"].to_pylist()), ("",) * len(ids), labels)
    cues = read_cues(data / "truth.parquet", ids)
    assert cues is not None
    return fold, cues


@pytest.mark.parametrize("n_drawn", [0, 1, 2, 5])
def test_a_restored_generator_continues_as_the_saved_one(n_drawn: int) -> None:
    rng = np.random.default_rng(4)
    rng.integers(10, size=n_drawn, dtype=np.int32)  # an odd number leaves half of a 64-bit number
    restored = restore_generator(save_generator(rng))
    for each in (
        lambda g: g.integers(10, dtype=np.int32),
        lambda g: g.normal(),
        lambda g: g.random(),
    ):
        assert each(restored) == each(rng)


def test_a_damaged_state_is_refused() -> None:
    with pytest.raises(ValueError, match="a state of 3 bytes; 37 are expected"):
        restore_generator(b"abc")


@pytest.mark.parametrize("figure", [-1, 1])
@pytest.mark.parametrize("seed", range(6))
def test_only_the_pixels_of_the_person_change_in_a_swapped_image(figure: int, seed: int) -> None:
    cues = ImageCues(TOPICS[seed], figure, prop=seed % 4, sticker=seed % 2 == 0)
    rng = np.random.default_rng(seed)
    scene = draw_scene(cues, rng)
    after = rng.random()
    again, swapped = (
        redraw_scene(cues, scene.state, is_figure_swapped=is_swapped)
        for is_swapped in (False, True)
    )
    np.testing.assert_array_equal(np.asarray(again.image), np.asarray(scene.image))
    assert swapped.objects == scene.objects
    changed = (np.asarray(swapped.image) != np.asarray(scene.image)).any(axis=2)
    (person,) = [found for found in scene.objects if found.name == PERSON]
    side = len(changed)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 0.05 * side**2
    assert person.left * side - 1 <= columns.min() <= columns.max() <= person.right * side + 1
    assert person.top * side - 1 <= rows.min() <= rows.max() <= person.bottom * side + 1
    # What is drawn later is the same, too: the random numbers are used up alike.
    other = restore_generator(scene.state)
    draw_scene(cues, other, is_figure_swapped=True)
    assert other.random() == after


def test_an_image_of_both_genders_or_nobody_has_nothing_to_swap() -> None:
    for seed in range(8):
        cues = ImageCues("gym", 0, prop=1, sticker=False)
        scene = draw_scene(cues, np.random.default_rng(seed))
        swapped = redraw_scene(cues, scene.state, is_figure_swapped=True)
        assert swapped.image.tobytes() == scene.image.tobytes()


def test_the_images_of_a_corpus_are_drawn_again_byte_for_byte(data: Path) -> None:
    fold, cues = _fold(data)
    posts = pq.read_table(data / "posts").sort_by("post_id")
    states = read_states(data / "truth.parquet", fold.post_ids)
    assert states is not None
    n_equal = n_scenes = 0
    for row, images in enumerate(posts["images"].to_pylist()):
        shown = [redraw_scene(image_cues_of(cues, row), state).image for state in states[row]]
        files = [image["bytes"] for image in images]
        assert bool(shown) == bool(cues.has_picture[row])
        n_scenes += len(shown)
        n_equal += sum(encode_jpeg(a) == b for a, b in zip(shown, files, strict=False))
    # The others are reposts, which are compressed again, and unusual formats.
    assert 0.9 * n_scenes < n_equal <= n_scenes


def test_demo_posts_that_show_one_person_are_redrawn_with_a_man_and_with_a_woman(
    data: Path, tmp_path: Path
) -> None:
    fold, cues = _fold(data)
    paths = Paths(tmp_path, tmp_path)
    assert redraw_image_pairs(paths, fold, range(len(fold))) is None
    truth = paths.sampled_file("data/truth.parquet")
    truth.parent.mkdir(parents=True)
    truth.write_bytes((data / "truth.parquet").read_bytes())
    pairs = redraw_image_pairs(paths, fold, range(len(fold)))
    rows = np.flatnonzero(cues.figure != 0)
    assert pairs is not None
    assert [pair.unit for pair in pairs] == [fold.authors[row] for row in rows]
    assert [pair.scene for pair in pairs] == [TOPICS[cues.topic[row]] for row in rows]
    states = read_states(truth, fold.post_ids)
    assert states is not None
    for pair, row in zip(pairs[:20], rows, strict=False):
        as_it_was = [
            redraw_scene(image_cues_of(cues, int(row)), state).image for state in states[row]
        ]
        kept, swapped = (pair.woman, pair.man) if cues.figure[row] > 0 else (pair.man, pair.woman)
        assert kept == tuple(map(encode_jpeg, as_it_was))
        assert swapped != kept


def test_a_demo_corpus_without_states_or_posts_is_not_redrawn(data: Path, tmp_path: Path) -> None:
    fold, _ = _fold(data)
    table = pq.read_table(data / "truth.parquet")
    paths = Paths(tmp_path, tmp_path)
    truth = paths.sampled_file("data/truth.parquet")
    truth.parent.mkdir(parents=True)
    for without in (table.drop_columns("drawn_from"), table.slice(5)):
        pq.write_table(without, truth)
        assert redraw_image_pairs(paths, fold, [0, 1, 2, *range(len(fold))]) is None


def _image(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(out, "PNG")
    return out.getvalue()


def _write_pairs(folder: Path, rows: str, header: str = "file,section,scene,skin,gender") -> Path:
    folder.mkdir(exist_ok=True)
    for name, shade in (("m1", 40), ("w1", 90), ("m2", 140), ("w2", 190)):
        (folder / f"{name}.png").write_bytes(_image((shade, 255 - shade, 90)))
    (folder / "pairs.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    return folder


def test_rows_that_agree_but_for_file_and_gender_are_a_pair(tmp_path: Path) -> None:
    rows = "m1.png,work,bank,black,man\nw2.png,work,bank,white,woman\n"
    rows += "m2.png,work,bank,white,man\nw1.png,work,bank,black,woman\n"
    folder = _write_pairs(tmp_path / "pairs", rows)
    pairs = load_image_pairs(folder)
    files = [(pair.man[0], pair.woman[0]) for pair in pairs]
    expected = [("m1", "w1"), ("m2", "w2")]
    assert files == [
        tuple((folder / f"{name}.png").read_bytes() for name in names) for names in expected
    ]
    assert {(pair.scene, pair.unit) for pair in pairs} == {("bank", "bank")}


def test_a_table_without_rows_has_no_pairs(tmp_path: Path) -> None:
    assert load_image_pairs(_write_pairs(tmp_path / "pairs", "", "file,scene,gender")) == []


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("", "file,scene", "lacks columns.*gender"),
        ("m1.png,bank,man\n", "file,scene,gender", "no partner of the other gender.*bank"),
        ("m1.png,bank,boy\n", "file,scene,gender", "line 2.*gender is unknown.*boy"),
        ("m1.png,,man\n", "file,scene,gender", "line 2: a value is missing"),
        ("m1.png\n", "file,scene,gender", "line 2: a value is missing"),
        (
            "m1.png,bank,man\nm2.png,bank,man\n",
            "file,scene,gender",
            "line 3: the pair already has a man.*tells the pairs of this scene apart",
        ),
        ("no.png,bank,man\n", "file,scene,gender", "line 2: no such file in the folder"),
        ("../secret.png,bank,man\n", "file,scene,gender", "line 2: no such file in the folder"),
        ("/etc/hostname,bank,man\n", "file,scene,gender", "line 2: no such file in the folder"),
        (f"{'x' * 5000},bank,man\n", "file,scene,gender", "line 2: no such file in the folder"),
    ],
)
def test_an_invalid_table_of_pairs_is_an_error_that_names_fault_and_line(
    tmp_path: Path, rows: str, header: str, message: str
) -> None:
    (tmp_path / "secret.png").write_bytes(_image((1, 2, 3)))
    with pytest.raises(InputError, match=message):
        load_image_pairs(_write_pairs(tmp_path / "pairs", rows, header))


def test_a_missing_folder_of_pairs_is_an_error_that_names_the_param(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the table.*evaluate\.audit\.image_pairs"):
        load_image_pairs(tmp_path)


def _pairs(n_scenes: int, per_scene: int) -> list[ImagePair]:
    rng = np.random.default_rng(0)
    return [
        ImagePair(f"s{scene:02d}", f"s{scene:02d}", *(
            (_image(tuple(rng.integers(256, size=3).tolist())),) for _ in range(2)
        ))
        for scene in range(n_scenes)
        for _ in range(per_scene)
    ]  # fmt: skip


def test_changes_are_those_of_images_scored_one_by_one(scorer: Scorer) -> None:
    pairs = _pairs(12, 3)
    result = measure_image_swaps(scorer, pairs, SETTINGS)
    assert result is not None

    def score(files: tuple[bytes, ...], axis: str) -> float:
        (scored,) = scorer.score([PostInput("", files)])
        return scored.scores[axis].value

    bias, orientation = (
        np.array([score(pair.woman, axis) - score(pair.man, axis) for pair in pairs])
        for axis in ("bias", "orientation")
    )
    assert result.overall.n == 36
    assert result.units == 12
    assert result.unscored == 0
    assert result.is_enough
    assert result.overall.change[0] == pytest.approx(np.abs(bias).mean() / 10, abs=1e-5)
    assert result.overall.difference[0] == pytest.approx(bias.mean() / 10, abs=1e-5)
    values = [score(files, "bias") for pair in pairs for files in (pair.man, pair.woman)]
    assert result.spread == pytest.approx(np.std(values) / 10, abs=1e-5)
    assert result.shift is not None
    assert result.right is not None
    assert result.shift[0] == pytest.approx(orientation.mean(), abs=1e-4)
    assert result.right[0] == np.mean(orientation > 0)
    assert list(result.scenes) == [f"s{scene:02d}" for scene in range(12)]
    for number, scene in enumerate(result.scenes.values()):
        own = bias[3 * number : 3 * number + 3] / 10
        assert scene.n == 3
        assert scene.change[0] == pytest.approx(np.abs(own).mean(), abs=1e-5)
        # Pairs of the scene are resampled: the replicates lie between its smallest and largest.
        assert np.abs(own).min() - 1e-5 <= scene.change.min() < scene.change.max()
        assert scene.change.max() <= np.abs(own).max() + 1e-5


def test_the_control_compares_images_of_one_scene_and_gender(scorer: Scorer) -> None:
    pairs = _pairs(12, 3)
    result = measure_image_swaps(scorer, pairs, replace(SETTINGS, has_control=True))
    assert result is not None
    assert result.control is not None
    apart = []
    for scene in range(12):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            for gender in ("man", "woman"):
                posts = [PostInput("", getattr(pairs[3 * scene + i], gender)) for i in (a, b)]
                first, second = (scored.scores["bias"].value for scored in scorer.score(posts))
                apart.append(abs(first - second) / 10)
    assert result.control[0] == pytest.approx(np.mean(apart), abs=1e-5)
    assert len(result.control) == 201
    without = measure_image_swaps(scorer, _pairs(5, 1), replace(SETTINGS, has_control=True))
    assert without is not None
    assert without.control is None


def test_scenes_are_resampled_whole(scorer: Scorer) -> None:
    """Equal pairs within a scene add no information: the interval stays as wide."""
    once = _pairs(15, 1)
    often = [pair for pair in once for _ in range(6)]
    spreads = []
    for pairs in (once, often):
        result = measure_image_swaps(scorer, pairs, ImageSwapSettings(None, 500, seed=3))
        assert result is not None
        assert result.shift is result.right is None
        spreads.append(float(np.std(result.overall.change)))
    assert spreads[1] == pytest.approx(spreads[0], rel=1e-6)


def test_a_pair_with_an_image_that_cannot_be_read_is_counted_and_left_out(scorer: Scorer) -> None:
    pairs = _pairs(3, 1)
    broken = ImagePair("broken", "broken", (b"no image",), pairs[0].woman)
    with_broken = measure_image_swaps(scorer, [*pairs, broken], SETTINGS)
    without = measure_image_swaps(scorer, pairs, SETTINGS)
    assert with_broken is not None
    assert without is not None
    assert (with_broken.unscored, with_broken.units, with_broken.overall.n) == (1, 3, 3)
    assert with_broken.overall.change[0] == without.overall.change[0]
    assert with_broken.scenes["broken"].n == 0
    assert not with_broken.is_enough
    assert measure_image_swaps(scorer, [], SETTINGS) is None
    alone = measure_image_swaps(scorer, [broken], SETTINGS)
    assert alone is not None
    assert (alone.unscored, alone.units, alone.spread) == (1, 0, None)
