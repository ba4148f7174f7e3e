"""Intervals by language: coverage is nominal in each, where enough posts support it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import ROOT
from tests.post_shards import sample_all_posts, write_shard
from tests.tiny_artifact import write_tiny_artifact

from postbias.axes import Axis
from postbias.demo.caption_writer import CaptionCues, write_caption
from postbias.demo.ground_truth import CLAIMS, TOPICS
from postbias.evaluation.calibration_scores import CalibrationScores
from postbias.evaluation.coverage import ALL_GROUPS, CalibrationSample, measure_coverage
from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.interval_languages import CaptionLanguages, fit_language_intervals
from postbias.evaluation.labelled_folds import FoldPredictions, LabelledFold
from postbias.evaluation.out_of_fold_predictions import predict_out_of_fold
from postbias.paths import Paths
from postbias.posts.languages import identify_languages
from postbias.posts.schema import SPLIT
from postbias.posts.shards import write_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Interval, Manifest
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.scoring.post_scores import AxisScore, PostScore
from postbias.scoring.scorer import PostInput, Scorer
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import Predictions
from postbias.student.interval_fitting import add_intervals, score_calib

#: Posts of the calib fold by language; two posts per author.
SHARES = {"en": 420, "de": 320, "zh": 160, "hi": 160, "ar": 60}
#: Standard deviation of the errors, in points.
SPREAD = {"en": 0.5, "de": 1.0, "zh": 1.0, "hi": 1.0, "ar": 1.0}


def _captions(language: str, n: int, rng: np.random.Generator) -> list[str]:
    """Write captions that are identified as the language."""
    drawn = []
    for _ in range(2 * n + 20):
        topic, claim = TOPICS[int(rng.integers(len(TOPICS)))], int(rng.integers(len(CLAIMS)))
        cues = CaptionCues(language, topic, claim, int(rng.choice([-1, 1])), False, None, False)
        drawn.append(write_caption(cues, rng))
    codes = identify_languages(drawn)
    kept = [caption for caption, code in zip(drawn, codes, strict=True) if code == language][:n]
    assert len(kept) == n
    return kept


def _write_repo(root: Path, shares: Mapping[str, int], rng: np.random.Generator) -> Paths:
    """Write posts in several languages and a split that puts all of them into calib."""
    paths = Paths(root, root)
    paths.posts.mkdir(parents=True)
    for language, n in shares.items():
        posts = [(caption, []) for caption in _captions(language, n, rng)]
        write_shard(paths.posts / f"{language}.parquet", posts)
    sample_all_posts(paths)
    rows = [
        {"post_id": f"{language}-{row}", "author": f"{language}{row // 2}", "cluster": "",
         "fold": "calib", "round": 1}
        for language, n in shares.items()
        for row in range(n)
    ]  # fmt: skip
    write_table(pa.Table.from_pylist(rows, SPLIT), paths.split, SPLIT)
    return paths


def _draw_labels(
    scorer: Scorer, posts: Mapping[str, str], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the labels of captions by post id: the student's scores plus errors by language."""
    results = scorer.score([PostInput(caption) for caption in posts.values()])
    labels = {}
    for post_id, result in zip(posts, results, strict=True):
        spread = SPREAD[post_id.partition("-")[0]]
        scores = np.array([result.scores[axis].value for axis in scorer.axes])
        labels[post_id] = (scores + rng.normal(0, spread, len(scores))).astype(np.float32)
    return labels


def _calibrate(
    folder: Path, shares: Mapping[str, int], rng: np.random.Generator
) -> tuple[Artifact, Mapping[str, str]]:
    """Write a student of captions and calibrate it; returns captions by post id too."""
    paths = _write_repo(folder / "repo", shares, rng)
    student = write_tiny_artifact(folder / "student", "text", with_intervals=False).folder
    captions = {
        f"{language}-{row}": caption
        for language in shares
        for row, caption in enumerate(_read_captions(paths, language))
    }
    with Scorer.open(student) as scorer:
        labels = _draw_labels(scorer, captions, rng)
    views = score_calib(student, paths, labels, threads=1)
    return add_intervals(student, paths, views, coverage=0.9), captions


def _read_captions(paths: Paths, language: str) -> list[str]:
    import pyarrow.parquet as pq

    table = pq.read_table(paths.posts / f"{language}.parquet", columns=["caption"])
    captions: list[str] = table["caption"].to_pylist()
    return captions


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("languages")
    return _calibrate(folder, SHARES, np.random.default_rng(0))[0]


def test_languages_with_enough_posts_have_their_own_and_the_others_share_one(
    calibrated: Artifact,
) -> None:
    by_language = calibrated.manifest.language_intervals["bias"]["text"]
    assert {code: one.n for code, one in by_language.items()} == {
        "en": 420, "de": 320, "other": 380,
    }  # fmt: skip
    joint = calibrated.manifest.intervals["bias"]["text"]
    assert joint.n == sum(SHARES.values())
    assert by_language["en"].hi < joint.hi < by_language["de"].hi


def test_the_coverage_of_each_language_is_restored(calibrated: Artifact) -> None:
    rng = np.random.default_rng(1)
    joint_only = replace(calibrated.manifest, language_intervals={})
    for language in SHARES:
        posts = {f"{language}-{i}": text for i, text in enumerate(_captions(language, 400, rng))}
        with Scorer.open(calibrated.folder) as scorer:
            labels = _draw_labels(scorer, posts, rng)
            results = scorer.score([PostInput(caption) for caption in posts.values()])
        covered, jointly = [], []
        offsets = joint_only.intervals["bias"]["text"]
        for label, result in zip(labels.values(), results, strict=True):
            value, lo, hi = result.scores["bias"]
            assert lo is not None
            assert hi is not None
            covered.append(lo <= label[0] <= hi)
            jointly.append(value + offsets.lo <= label[0] <= value + offsets.hi)
        # 0.9 within three standard deviations: 2 points of calib, 1.5 of these posts.
        assert np.mean(covered) == pytest.approx(0.9, abs=0.075)
        assert np.mean(jointly) > 0.96 if language == "en" else np.mean(jointly) < 0.87


def test_posts_of_unknown_language_have_the_intervals_of_all(calibrated: Artifact) -> None:
    joint = calibrated.manifest.intervals["bias"]["text"]
    own = calibrated.manifest.language_intervals["bias"]["text"]
    expected = {"ok abc": joint, "The weather in the garden is lovely this morning.": own["en"]}
    expected["El tiempo en el jardín es muy bueno esta mañana."] = own["other"]
    with Scorer.open(calibrated.folder) as scorer:
        for caption, interval in expected.items():
            (result,) = scorer.score([PostInput(caption)])
            value, lo, hi = result.scores["bias"]
            assert lo == pytest.approx(max(0, value + interval.lo))
            assert hi == pytest.approx(min(10, value + interval.hi))


@pytest.mark.parametrize(
    "shares",
    [{"en": 400, "de": 290}, {"en": 500}, {"en": 299, "de": 299}],
    ids=["a single group", "one language", "too few posts"],
)
def test_without_two_groups_the_manifest_has_no_intervals_by_language(
    tmp_path: Path, shares: dict[str, int]
) -> None:
    artifact, _ = _calibrate(tmp_path, shares, np.random.default_rng(2))
    assert artifact.manifest.language_intervals == {}
    assert "language" not in (artifact.folder / "student.json").read_text(encoding="utf-8")


def test_the_students_of_the_demo_have_none() -> None:
    evaluate = json.loads((ROOT / "reports" / "evaluate.json").read_text(encoding="utf-8"))
    rows = [row for codes in evaluate["languages"].values() for row in codes.values()]
    assert len(rows) > 8
    assert not any("intervals" in row for row in rows)


def _scores(languages: Mapping[str, int], per_author: int) -> tuple[CaptionLanguages, list[str]]:
    ids = [f"{code}-{i}" for code, n in languages.items() for i in range(n)]
    authors = {i: f"{i.partition('-')[0]}{int(i.partition('-')[2]) // per_author}" for i in ids}
    return CaptionLanguages({i: i.partition("-")[0] for i in ids}, authors), ids


@pytest.mark.parametrize(("per_author", "is_enough"), [(5, True), (6, False)])
def test_few_prolific_authors_are_not_enough(per_author: int, is_enough: bool) -> None:
    languages, ids = _scores({"en": 300, "de": 300}, per_author)
    scores = CalibrationScores(tuple(ids), ("text",) * len(ids), np.zeros((len(ids), 1)))
    expected = {"text": ("de", "en")} if is_enough else {}
    assert languages.choose_groups(scores) == expected


def test_posts_without_captions_and_of_unknown_language_have_no_group() -> None:
    languages, ids = _scores({"en": 300, "unknown": 300, "de": 300}, 2)
    scores = CalibrationScores(
        tuple(ids * 2), ("image",) * len(ids) + ("text",) * len(ids), np.zeros((len(ids) * 2, 1))
    )
    assert languages.choose_groups(scores) == {"text": ("de", "en")}
    groups = languages.assign(["unknown-1", "en-1", "en-1"], ["text", "image", "text"], {
        "text": ("de", "en", "other")
    })  # fmt: skip
    assert groups.tolist() == [None, None, "en"]


def _fold(shares: Mapping[str, int], rng: np.random.Generator, name: str) -> LabelledFold:
    """Make labelled posts whose scores are 5 and whose errors differ between languages."""
    ids, authors, captions, labels = [], [], [], []
    for language, n in shares.items():
        ids += [f"{name}-{language}-{i:04d}" for i in range(n)]
        authors += [f"{name}-{language}-{i // 2}" for i in range(n)]
        captions += _captions(language, n, rng)
        labels += (5 + rng.normal(0, SPREAD[language], n)).tolist()
    return LabelledFold(tuple(ids), tuple(authors), tuple(captions), np.array(labels)[:, None])


def test_the_measured_coverage_refits_the_intervals_of_each_language(calibrated: Artifact) -> None:
    rng = np.random.default_rng(3)
    axis = Axis("bias", 0, 10)
    calib, fold = _fold(SHARES, rng, "calib"), _fold({"en": 200, "de": 200, "zh": 100}, rng, "t")
    test = EvaluationSet(fold, (axis,), resample_authors(fold.authors, 200, rng))
    views = CalibrationScores(calib.post_ids, ("text",) * len(calib), calib.labels - 5)
    languages = CaptionLanguages.of_fold(calib)
    groups = languages.choose_groups(views)
    resamples = resample_authors(calib.authors, 200, rng)
    sample = CalibrationSample(views, resamples, 0.9, languages, groups)
    own = CaptionLanguages.of_fold(fold)
    code_of = own.assign(fold.post_ids, ("text",) * len(fold), groups)
    rows = languages.find_rows(views, groups)
    offsets = fit_language_intervals(views.residuals[:, 0], rows, 0.9, span=10)["text"]
    fitted = {code: Interval(**one) for code, one in offsets.items()}
    manifest = replace(calibrated.manifest, language_intervals={"bias": {"text": fitted}})
    lo = np.array([5 + fitted[code].lo for code in code_of])
    hi = np.array([5 + fitted[code].hi for code in code_of])
    scored = Predictions(np.full(len(fold), 5.0), lo, hi)
    predictions = FoldPredictions({"bias": scored}, {}, ("text",) * len(fold))

    measured = measure_coverage(test, predictions, manifest, sample)["bias"]
    assert list(measured) == [ALL_GROUPS, "text"]
    together = measured[ALL_GROUPS]
    assert together.n == len(fold)
    # A mean of three independent shares varies as one of 1 / (sum of share squared / n) posts.
    shares = {"en": 200 / 500, "de": 200 / 500, "other": 100 / 500}
    assert together.n_calib == round(1 / sum(w**2 / fitted[c].n for c, w in shares.items()))
    # Refitted: widths vary about those as shipped, which a refit on all languages would not have.
    assert np.std(together.width[1:]) > 0
    assert np.median(together.width[1:]) == pytest.approx(together.width[0], rel=0.05)
    assert together.value[0] == pytest.approx(0.9, abs=0.04)


def test_out_of_fold_intervals_are_those_of_the_language_too() -> None:
    rng = np.random.default_rng(4)
    fold = _fold({"en": 420, "de": 420}, rng, "all")
    results = [
        (1 + row % 3, (post_id, True, PostScore("ok", {"bias": AxisScore(5.0, None, None)}, "low",
                                                "text", 0, "")))
        for row, post_id in enumerate(fold.post_ids)
    ]  # fmt: skip
    scores = OutOfFoldScores.of_results(("bias",), results)
    found = predict_out_of_fold(scores, fold, fold, ((Axis("bias", 0, 10),), 0.9)).by_axis["bias"]
    width = found.hi - found.lo
    is_english = np.array(["-en-" in post_id for post_id in fold.post_ids])
    # Normal errors: 2 x 1.645 standard deviations.
    assert width[is_english] == pytest.approx(1.645, rel=0.2)
    assert width[~is_english] == pytest.approx(3.29, rel=0.2)
    covered = (found.lo <= fold.labels[:, 0]) & (fold.labels[:, 0] <= found.hi)
    assert covered[is_english].mean() == pytest.approx(0.9, abs=0.03)
    assert covered[~is_english].mean() == pytest.approx(0.9, abs=0.03)


def test_a_manifest_with_intervals_by_language_is_read_as_it_was_written(
    calibrated: Artifact,
) -> None:
    manifest = calibrated.manifest
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert '"language_intervals"' in text
    older = replace(manifest, language_intervals={}).to_json()
    assert "language" not in older
    assert Manifest.from_json(older).language_intervals == {}
