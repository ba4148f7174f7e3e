"""The sample, compared with brute-force simulation of its design."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.post_shards import write_shard

from postbias.errors import CorpusError, InputError, ParamsError
from postbias.params import SampleParams, load_params
from postbias.paths import Paths
from postbias.posts import cross_fitting_groups
from postbias.posts.captions import normalise_caption
from postbias.posts.cross_fitting_groups import draw_unlabelled
from postbias.posts.sample_summary import SampleSummary
from postbias.posts.sampling import sample, sample_posts
from postbias.posts.sampling_phases import allocate_to_strata
from postbias.posts.schema import FRAME, POSTS, SAMPLE
from postbias.posts.shards import list_shards, read_posts, read_table, write_table

ROOT = Path(__file__).resolve().parents[2]
EDOS = ROOT.parent / "shared" / "real" / "edos.csv"


def params(**changes: object) -> SampleParams:
    values = {"n": None, "method": "simple", "stratify_by": (), "max_per_author": None}
    values["imports"] = 1
    return SampleParams.model_validate(values | changes)


def write_posts(folder: Path, posts: Sequence[Mapping[str, object]], *, shards: int = 1) -> Path:
    fixed = {"author": "a", "caption": "", "images": [], "platform": "test", "source": "test"}
    full = [dict.fromkeys(POSTS.names) | fixed | dict(post) for post in posts]
    for i in range(shards):
        table = pa.Table.from_pylist(full[i::shards], schema=POSTS)
        write_table(table, folder / f"posts-{i:05d}.parquet", POSTS)
    return folder


def image(data: bytes = b"not an image") -> list[dict[str, object]]:
    return [{"bytes": data, "path": None}]


def draw(folder: Path, seed: int = 1, **changes: object) -> dict[str, dict[str, object]]:
    table, _ = sample_posts(list_shards(folder), params(**changes), seed)
    assert table.schema == SAMPLE
    return {row["post_id"]: row for row in table.to_pylist()}


def draw_with_given(
    folder: Path, given: Sequence[str], seed: int = 1, **changes: object
) -> tuple[dict[str, dict[str, object]], SampleSummary]:
    ids = pa.array(given, pa.string())
    table, summary = sample_posts(list_shards(folder), params(**changes), seed, ids)
    return {row["post_id"]: row for row in table.to_pylist()}, summary


def plain(n: int) -> list[dict[str, object]]:
    return [{"post_id": f"p{i}", "author": f"a{i}", "caption": f"caption {i}"} for i in range(n)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 40 posts of 7 authors; captions are shared within and between authors and strata."""
    rng = np.random.default_rng(3)
    posts = [
        {
            "post_id": f"p{i:02d}",
            "author": f"a{min(rng.integers(0, 10), 6)}",
            "caption": "" if i % 9 == 0 else f"Caption {rng.integers(0, 25)}",
            "sponsored": [True, False, False, None][rng.integers(0, 4)],
            "images": image() if i % 3 else [],
        }
        for i in range(40)
    ]
    return write_posts(tmp_path_factory.mktemp("mixed"), posts, shards=3)


def test_the_mean_of_one_over_probability_is_one_for_every_post(mixed: Path) -> None:
    # Horvitz-Thompson and prediction-powered estimates rely on it. The design has all phases
    # at once: captions shared across authors and strata, a cap per author, and strata.
    design = {
        "n": 9,
        "method": "stratified",
        "stratify_by": ("sponsored", "has_image"),
        "max_per_author": 3,
    }
    seeds = 600
    weights = np.zeros((seeds, 40))
    for seed in range(seeds):
        for post_id, row in draw(mixed, seed, **design).items():
            weights[seed, int(post_id[1:])] = 1 / float(row["probability"])  # type: ignore[arg-type]
    error = weights.std(axis=0) / np.sqrt(seeds)
    assert (weights > 0).any(axis=0).all()
    assert np.abs((weights.mean(axis=0) - 1) / error).max() < 4.5


def test_a_weighted_mean_estimates_the_mean_of_all_posts(mixed: Path) -> None:
    y = np.random.default_rng(5).normal(size=40)
    estimates = []
    for seed in range(400):
        chosen = draw(mixed, seed, n=8, max_per_author=2)
        estimates.append(sum(y[int(i[1:])] / row["probability"] for i, row in chosen.items()) / 40)  # type: ignore[operator]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - y.mean()) < 4 * error


def test_probability_is_the_share_of_seeds_that_sample_the_post(tmp_path: Path) -> None:
    # No caption is shared between authors, so the probability of each phase is known in advance.
    captions = {"a": ["x", "x", "x", "y", "z"], "b": ["u", "v", ""], "c": ["w"]}
    posts = [
        {"post_id": f"{author}{i}", "author": author, "caption": caption}
        for author, texts in captions.items()
        for i, caption in enumerate(texts)
    ]
    write_posts(tmp_path, posts)
    # a has 3 captions, b 3, c 1; the cap of 2 leaves 5, of which 3 are drawn.
    expected = {p["post_id"]: 3 / 5 * (1 if p["author"] == "c" else 2 / 3) for p in posts}
    expected |= {name: expected[name] / 3 for name in ("a0", "a1", "a2")}
    seen = dict.fromkeys(expected, 0)
    for seed in range(600):
        for post_id, row in draw(tmp_path, seed, n=3, max_per_author=2).items():
            seen[post_id] += 1
            assert row["probability"] == pytest.approx(expected[post_id])
    for post_id, p in expected.items():
        assert abs(seen[post_id] / 600 - p) < 4 * np.sqrt(p * (1 - p) / 600)


def test_one_post_represents_all_with_the_same_normalised_caption(tmp_path: Path) -> None:
    texts = [
        "Hello  World",
        "hello world\n",
        "\uff28\uff25\uff2c\uff2c\uff2f world",
        "hello world https://x.y/z @you",
        "other",
    ]
    posts = [{"post_id": f"p{i}", "caption": t, "author": f"a{i}"} for i, t in enumerate(texts)]
    chosen = draw(write_posts(tmp_path, posts))
    assert sorted(row["group_size"] for row in chosen.values()) == [1, 4]  # type: ignore[type-var]
    assert sorted(row["probability"] for row in chosen.values()) == [0.25, 1]  # type: ignore[type-var]


def test_posts_without_a_caption_are_all_distinct(tmp_path: Path) -> None:
    texts = ["", "  ", "@friend", "https://example.com/a"]
    posts = [{"post_id": f"p{i}", "caption": text} for i, text in enumerate(texts)]
    assert len(draw(write_posts(tmp_path, posts))) == 4


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Stra\u00dfe", "STRASSE"),
        ("ﬁne", "fine"),
        ("a\u200bb", "ab"),
        ("❤️", "❤"),
        ("see www.example.com/x now", "see now"),
        ("thanks @some.one!", "thanks !"),
    ],
)
def test_captions_that_read_the_same_are_equal_when_normalised(left: str, right: str) -> None:
    assert normalise_caption(left) == normalise_caption(right)


def test_normalising_keeps_hashtags_emoji_and_email_addresses() -> None:
    assert normalise_caption("#GirlBoss 💪 me@example.com") == "#girlboss 💪 me@example.com"


def test_no_author_has_more_than_the_cap(mixed: Path) -> None:
    authors = [row["author"] for row in draw(mixed, max_per_author=2).values()]
    assert max(map(authors.count, authors)) == 2


def test_each_stratum_contributes_equally(mixed: Path) -> None:
    _, summary = sample_posts(
        list_shards(mixed), params(n=12, method="stratified", stratify_by=("has_image",)), 1
    )
    assert {name: drawn for name, (_, drawn) in summary.strata.items()} == {
        "has_image=false": 6,
        "has_image=true": 6,
    }
    assert sum(drawn for _, drawn in summary.strata.values()) == summary.sampled == 12


@pytest.mark.parametrize(
    ("available", "n", "allocated"),
    [
        ([10, 10, 10], 9, [3, 3, 3]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([10, 2, 1], 9, [6, 2, 1]),
        ([5, 5], 5, [2, 3]),
        ([3, 4], 7, [3, 4]),
        ([1, 1, 1], 3, [1, 1, 1]),
    ],
)
def test_larger_strata_make_up_for_exhausted_ones(
    available: list[int], n: int, allocated: list[int]
) -> None:
    assert allocate_to_strata(np.array(available), n).tolist() == allocated


def test_missing_values_form_their_own_stratum(mixed: Path) -> None:
    chosen = draw(mixed, method="stratified", stratify_by=("sponsored",))
    assert {row["stratum"] for row in chosen.values()} == {
        "sponsored=true",
        "sponsored=false",
        "sponsored=unknown",
    }


def test_counts_add_up(mixed: Path) -> None:
    _, counts = sample_posts(list_shards(mixed), params(n=5, max_per_author=2), 1)
    dropped = counts.repeated + counts.capped + counts.not_drawn
    assert counts.posts == dropped + counts.sampled == 40
    assert counts.largest_group > 1
    assert counts.effective_n <= counts.sampled == 5


def test_a_given_test_fold_keeps_all_its_posts_and_repeated_captions_are_reported(
    mixed: Path,
) -> None:
    given = [f"p{i:02d}" for i in range(0, 40, 2)]  # many of them share captions
    design = {"n": 26, "method": "stratified", "stratify_by": ("has_image",), "max_per_author": 2}
    sampled, counts = draw_with_given(mixed, given, **design)
    assert set(given) <= set(sampled)
    assert {sampled[post_id]["probability"] for post_id in given} == {1.0}
    assert counts.given_test == 20
    captions = [row["group_size"] for post_id, row in sampled.items() if post_id in given]
    assert counts.given_test_repeated == sum(size > 1 for size in captions) > 0  # type: ignore[operator]
    assert counts.sampled == len(sampled) == 26
    dropped = counts.repeated + counts.capped + counts.not_drawn
    assert counts.posts == dropped + counts.sampled == 40


def test_beside_a_given_test_fold_the_weights_are_unbiased_for_every_post(mixed: Path) -> None:
    given = [f"p{i:02d}" for i in range(0, 40, 5)]
    seeds = 400
    weights = np.zeros((seeds, 40))
    for seed in range(seeds):
        sampled, _ = draw_with_given(mixed, given, seed, n=16, max_per_author=4)
        for post_id, row in sampled.items():
            weights[seed, int(post_id[1:])] = 1 / float(row["probability"])  # type: ignore[arg-type]
    error = weights.std(axis=0) / np.sqrt(seeds)
    is_given = np.arange(40) % 5 == 0
    assert (weights[:, is_given] == 1).all()
    assert np.abs((weights.mean(axis=0) - 1)[~is_given] / error[~is_given]).max() < 4.5


def test_a_corpus_that_is_all_test_fold_is_sampled_whole(tmp_path: Path) -> None:
    write_posts(tmp_path, plain(6))
    sampled, counts = draw_with_given(tmp_path, [f"p{i}" for i in range(6)])
    assert len(sampled) == counts.given_test == 6


def test_a_sample_smaller_than_the_given_test_fold_raises_a_clear_error(tmp_path: Path) -> None:
    write_posts(tmp_path, plain(9))
    with pytest.raises(ParamsError, match=r"smaller than the given test fold of 5 posts.*saw 4"):
        draw_with_given(tmp_path, [f"p{i}" for i in range(5)], n=4)


@pytest.mark.skipif(not EDOS.exists(), reason="needs the real data in ../shared/real")
def test_the_official_test_fold_of_edos_is_sampled_whole(tmp_path: Path) -> None:
    # Of every fourth row, some test posts repeat a caption.
    with EDOS.open(encoding="utf-8", newline="") as file:
        table = [row for i, row in enumerate(csv.DictReader(file)) if i % 4 == 0]
    test = [row for row in table if row["fold"] == "test"]
    test[1]["caption"] = test[0]["caption"]
    paths = Paths(tmp_path, tmp_path)
    write_posts(
        paths.posts,
        [{k: row[k] for k in ("post_id", "caption")} | {"author": row["post_id"]} for row in table],
    )
    (tmp_path / "folds.csv").write_text(
        "post_id,fold\n" + "".join(f"{row['post_id']},{row['fold']}\n" for row in table)
    )
    settings = load_params(ROOT / "params.yaml")
    split = settings.split.model_copy(update={"folds": "folds.csv"})
    summary = sample(paths, settings.model_copy(update={"split": split, "sample": params()}))
    sampled = set(read_table(paths.sample, SAMPLE)["post_id"].to_pylist())
    assert {row["post_id"] for row in test} <= sampled
    assert summary.given_test == len(test)
    assert summary.given_test_repeated >= 2


def test_sampling_reads_no_image_bytes(tmp_path: Path) -> None:
    posts = [{"post_id": f"p{i}", "images": image(bytes(10_000))} for i in range(20)]
    posts.append({"post_id": "no_image"})
    write_posts(tmp_path, posts)
    design = {"method": "stratified", "stratify_by": ("has_image",), "n": 4}
    before = draw(tmp_path, **design)
    shard = tmp_path / "posts-00000.parquet"
    group = pq.read_metadata(shard).row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    chunk = chunks["images.list.element.bytes"]
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    damaged = bytearray(shard.read_bytes())
    damaged[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    shard.write_bytes(damaged)
    with pytest.raises(OSError, match=r".+"):
        pq.read_table(shard)
    assert draw(tmp_path, **design) == before
    assert {row["stratum"] for row in before.values()} == {"has_image=true", "has_image=false"}


def test_a_sample_larger_than_the_corpus_is_the_corpus_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_posts(tmp_path, plain(5))
    with caplog.at_level(logging.WARNING):
        assert len(draw(tmp_path, n=6)) == 5
    assert "only 5 posts can be drawn" in caplog.text


@pytest.mark.parametrize(
    ("posts", "changes", "error", "message"),
    [
        ([], {}, CorpusError, "no posts"),
        (plain(2) + plain(1), {}, CorpusError, "'p0'"),
        (plain(3), {"method": "stratified"}, ParamsError, "stratify_by is empty"),
        (
            plain(3),
            {"method": "stratified", "stratify_by": ("sponsored",)},
            CorpusError,
            "no post has a value in column 'sponsored'",
        ),
        (
            [*plain(2), {"post_id": "x", "platform": "other"}],
            {"method": "stratified", "stratify_by": ("platform",), "n": 1},
            ParamsError,
            "at least 2",
        ),
    ],
)
def test_impossible_designs_raise_a_clear_error(
    tmp_path: Path,
    posts: list[dict[str, object]],
    changes: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    write_posts(tmp_path, posts)
    with pytest.raises(error, match=message):
        draw(tmp_path, **changes)


def test_the_stage_writes_the_sample_and_its_report(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    write_posts(paths.posts, plain(60))
    settings = load_params(ROOT / "params.yaml")
    settings = settings.model_copy(update={"sample": params(n=10)})
    (paths.data / "labels.csv").write_text("post_id,bias\n")
    summary = sample(paths, settings)
    table = read_table(paths.sample, SAMPLE)
    ids = table["post_id"].to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == summary.metrics()["sampled"] == 10
    assert '"not_drawn": 50' in (paths.reports / "sample.json").read_text()
    posts = read_posts(paths.posts, POSTS.names)
    assert read_table(paths.sample_frame, FRAME).equals(posts.select(["post_id"]))
    is_sampled = pc.is_in(posts["post_id"], value_set=pa.array(ids))
    assert read_posts(paths.sampled_posts, POSTS.names).equals(posts.filter(is_sampled))
    assert paths.sampled_file("data/labels.csv").read_text() == "post_id,bias\n"
    assert sorted(p.name for p in paths.sampled_corpus.iterdir()) == ["labels.csv", "posts"]
    assert paths.sampled_file("ratings.csv") == tmp_path / "ratings.csv"


def test_with_cross_fitting_unlabelled_posts_are_written_beside_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fitting_groups, "SAMPLED_POSTS", 15)
    paths = Paths(tmp_path, tmp_path)
    write_posts(paths.posts, plain(60))
    settings = load_params(ROOT / "params.yaml")
    train = settings.train.model_copy(update={"cross_fit": 3, "transfer": 12})
    settings = settings.model_copy(update={"sample": params(n=10), "train": train})
    sample(paths, settings)
    sampled = set(read_table(paths.sample, SAMPLE)["post_id"].to_pylist())
    everything = read_posts(paths.posts, ["post_id"])["post_id"].to_pylist()
    written = set(read_posts(paths.sampled_posts, ["post_id"])["post_id"].to_pylist())
    assert len(sampled) == 10
    # The students draw from the posts that were written what they would draw from all posts, even
    # if some of the sampled posts get no label.
    for labelled in (sampled, set(sorted(sampled)[:4])):
        drawn = draw_unlabelled(sorted(written - labelled), settings)
        assert drawn == draw_unlabelled([p for p in everything if p not in labelled], settings)
        assert (len(drawn.sampled), len(drawn.transfer)) == (15, 12)


def test_with_a_full_student_the_transfer_set_is_written_beside_the_sample(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    write_posts(paths.posts, plain(60))
    settings = load_params(ROOT / "params.yaml")
    train = settings.train.model_copy(update={"distil_from": "full_students/a", "transfer": 12})
    settings = settings.model_copy(update={"sample": params(n=10), "train": train})
    sample(paths, settings)
    sampled = set(read_table(paths.sample, SAMPLE)["post_id"].to_pylist())
    written = set(read_posts(paths.sampled_posts, ["post_id"])["post_id"].to_pylist())
    drawn = draw_unlabelled(sorted(written - sampled), settings)
    assert drawn.sampled == ()
    assert set(drawn.transfer) == written - sampled
    assert len(drawn.transfer) == 12


@pytest.mark.parametrize("imports", [1, 2, 3, None])
def test_posts_of_later_imports_change_no_output(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, imports: int | None
) -> None:
    paths = Paths(tmp_path, tmp_path)
    write_posts(paths.posts, plain(700))
    (paths.posts / "posts-00000.parquet").rename(paths.posts / "00000.parquet")
    settings = load_params(ROOT / "params.yaml")
    settings = settings.model_copy(update={"sample": params(n=600, imports=imports)})
    outputs = []
    for first_shard in (0, 1, 2):
        if first_shard:
            write_shard(paths.posts / f"{first_shard:05d}.parquet", [("new", [])] * 3)
            starts = [{"first_shard": n} for n in range(first_shard + 1)]
            (paths.data / "import.json").write_text(json.dumps({"n_posts": 1, "imports": starts}))
        caplog.clear()
        summary = sample(paths, settings)
        n_new = 3 * min(first_shard, (imports or 9) - 1)
        assert summary.posts == 700 + n_new
        n_later = 3 * first_shard - n_new
        assert (f"{n_later} posts of later imports" in caplog.text) == (n_later > 0)
        files = [path for path in (tmp_path / "build").rglob("*") if path.is_file()]
        outputs.append({path: path.read_bytes() for path in files})
    assert (outputs[0] == outputs[1]) == (imports == 1)
    assert (outputs[1] == outputs[2]) == (imports in {1, 2})


def test_a_damaged_summary_of_imports_is_a_clear_error(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    write_posts(paths.posts, plain(3))
    (paths.data / "import.json").write_text('{"n_posts": 3, "imports": [{}]}')
    with pytest.raises(InputError, match="earlier imports cannot be read"):
        sample(paths, load_params(ROOT / "params.yaml"))
