"""The report is complete, reproducible, escapes captions and renders in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.conftest import ROOT, run_command
from tests.scored_repo import HOSTILE, write_scored_repo

from postbias.cli import main
from postbias.errors import InputError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.population.brands import load_and_estimate_brands, write_brands
from postbias.report.findings import Findings, Origin, gather_findings, write_findings
from postbias.reproduce.compare import read_lock

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_SECTIONS = (
    "scored", "answer", "trust", "drift", "distributions", "groups", "posts", "rejects", "cost",
    "reproduce",
)  # fmt: skip
_WIDTHS = {"telephone": 390, "desk": 1280}
_FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
    "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip

needs_browser = pytest.mark.skipif(
    not (_CHROMIUM and _DRIVER), reason="needs chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def params(paths: Paths) -> Params:
    return load_params(paths.params)


@pytest.fixture(scope="module")
def found(paths: Paths, params: Params) -> Findings:
    result = gather_findings(paths, params, {})
    write_findings(result, paths)
    return result


@pytest.fixture(scope="module")
def page(paths: Paths, found: Findings) -> str:
    del found
    return paths.report.read_text(encoding="utf-8")


def test_sections_are_in_the_documented_order(page: str) -> None:
    assert tuple(re.findall(r'<section id="(\w+)"', page)) == _SECTIONS


def test_posts_unlike_the_training_posts_are_listed_with_their_distance(page: str) -> None:
    section = page.partition('<section id="drift">')[2].partition("</section>")[0]
    assert "They differ</strong> in 1 of 2 features" in section
    rows = re.findall(r"<tr><td.*?</tr>", section)
    assert [("language" in row, "0.400" in row, ">yes<" in row) for row in rows] == [
        (False, False, False),
        (True, True, True),
    ]


def test_the_same_inputs_give_the_same_bytes(paths: Paths, params: Params) -> None:
    outs = [paths.report, *sorted(paths.cards.iterdir()), *sorted(paths.reports.glob("[bp]*.*"))]
    before = {out: out.read_bytes() for out in outs}
    write_findings(gather_findings(paths, params, {}), paths)
    assert {out: out.read_bytes() for out in outs} == before


def _in_chinese(params: Params) -> Params:
    report = params.report.model_copy(update={"language": "zh"})
    return params.model_copy(update={"report": report})


@pytest.fixture(scope="module")
def chinese(paths: Paths, params: Params) -> Findings:
    return gather_findings(paths, _in_chinese(params), {})


def test_the_page_has_the_same_structure_and_numbers_in_chinese(
    chinese: Findings, page: str
) -> None:
    def shape(text: str) -> list[str]:
        text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
        return re.findall(r"<(/?(?:section|h\d|table|tr|t[dh]|figure|article|dl|d[td]))\b", text)

    text = chinese.page()
    assert '<html lang="zh-CN">' in text
    assert f"<h1>{chinese.population['n']['posts']:,} 条帖子中的性别偏见</h1>" in text
    assert shape(text) == shape(page)
    assert text.count("条帖子") > 5
    cells = re.compile(r"<td[^>]*>(\d[\d.,%]*) ?(?:<small>|</td>)")
    assert cells.findall(text) == cells.findall(page)
    assert chinese.page() == text
    assert "<h1>Gender bias in" in page


def test_titles_of_charts_are_chinese_too(chinese: Findings) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*[A-Za-z\u4e00-\u9fff]{2}[^<]*)</text>", chinese.page())
    assert "发布日期" in texts
    assert [text for text in texts if not re.search("[\u4e00-\u9fff]", text)] == []


def test_cards_are_english_in_every_language(chinese: Findings, found: Findings) -> None:
    assert chinese.cards == found.cards
    assert chinese.population == found.population


def test_captions_and_reasons_are_text_only(page: str) -> None:
    assert "<script" not in page
    assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", page)
    assert page.count("<img ") == page.count('src="data:image/jpeg;base64,')
    assert HOSTILE[0].replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in page
    assert "{{ 7 * 7 }}" in page


def test_the_page_loads_nothing(page: str) -> None:
    assert re.findall(r'<(?!a )[^>]*(?:src|href)="(?!data:|#)([^"]*)"', page) == []
    assert "url(" not in page
    assert "@import" not in page


def test_only_the_copy_in_mlflow_names_commit_and_runs(found: Findings, page: str) -> None:
    run = ("train@text", "f" * 32, "http://localhost:5000/#/experiments/1/runs/" + "f" * 32)
    copy = found.page(Origin("c" * 40, (run,)))
    assert "c" * 40 in copy
    assert run[2] in copy
    assert "c" * 40 not in page
    assert "localhost" not in page
    assert "/runs/" not in page


def test_every_estimate_is_shown_beside_the_plug_in_estimate(found: Findings) -> None:
    for name in ("bias", "orientation", "share_low", "share_moderate", "share_high"):
        estimate = found.population["all"][name]
        assert estimate["lo"] < estimate["value"] < estimate["hi"]
        assert {"uncorrected", "labels_alone"} <= estimate.keys()
    shares = [found.population["all"][f"share_{band}"] for band in ("low", "moderate", "high")]
    assert sum(share["value"] for share in shares) == pytest.approx(1)


def test_posts_without_a_score_are_counted_and_not_estimated(found: Findings) -> None:
    n = found.population["n"]
    assert n["posts"] == 480
    assert n["scored"] == 480 - 8
    assert n["labels"] == n["learned"] + n["held_out"] == 480 * 9 // 10 - n["lost_labels"]


def test_reports_and_metrics_agree(paths: Paths, found: Findings) -> None:
    written = json.loads((paths.reports / "population.json").read_text(encoding="utf-8"))
    value = written["all"]["bias"]["value"]
    assert found.metrics()["population.bias"] == pytest.approx(value, rel=1e-5)


def test_the_higher_scores_of_sponsored_posts_are_found(found: Findings) -> None:
    apart = found.population["differences"][0]
    assert (apart["kind"], apart["one"], apart["two"]) == ("sponsored", "sponsored", "organic")
    assert 0.5 < apart["bias"]["value"] < 2.5
    assert apart["bias"]["lo"] > 0


def test_cards_state_what_scores_must_not_be_used_for(found: Findings) -> None:
    card = found.cards["model_card.md"]
    assert "Judging individuals" in card
    assert "The teacher's bias is in it" in card
    assert "fewer than a few hundred labels" in card
    assert "leaks between folds | 0" in found.cards["data_sheet.md"]


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [("sampling", "the randomness of the model."), ("rewording", "of the model to the wording.")],
)
def test_the_source_of_the_teachers_noise_is_named_where_it_is_known(
    paths: Paths, params: Params, found: Findings, page: str, measured: str, sentence: str
) -> None:
    for text in (page, *found.cards.values()):
        assert sentence not in text
    file = paths.reports / "labels.json"
    before = file.read_text(encoding="utf-8")
    labels = json.loads(before)
    labels["teacher"]["retest_measures"] = measured
    try:
        file.write_text(json.dumps(labels), encoding="utf-8")
        changed = gather_findings(paths, params, {})
    finally:
        file.write_text(before, encoding="utf-8")
    for text in (changed.page(), *changed.cards.values()):
        assert sentence in text


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_brands_are_written_with_intervals(
    paths: Paths, params: Params, tmp_path: Path, ending: str
) -> None:
    report = load_and_estimate_brands(paths, params.report)
    write_brands(report, tmp_path / f"brands{ending}")
    read = pyarrow.csv.read_csv if ending == ".csv" else pq.read_table
    table = read(tmp_path / f"brands{ending}")
    assert table["brand"].to_pylist() == [row["brand"] for row in report["brands"]]
    assert {"bias_pooled_lo", "bias_pooled_hi", "is_small"} <= set(table.column_names)
    assert [row["posts"] for row in report["brands"]] == sorted(
        (row["posts"] for row in report["brands"]), reverse=True
    )
    # More digits differ from machine to machine, and the file is an output that DVC compares.
    means = [value for value in table["bias"].to_pylist() if value is not None]
    assert means == [float(f"{value:.6g}") for value in means]


def test_the_command_shows_brands_with_intervals_and_writes_them(
    paths: Paths, found: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.root)
    done = CliRunner().invoke(main, ["brands", "--out", str(tmp_path / "b.csv")])
    assert done.exit_code == 0, done.output
    rows = done.output.splitlines()[2:-1]
    assert [row.split("  ")[0] for row in rows] == [b["brand"] for b in found.brands["brands"]]
    assert all(row.count("[") == 3 for row in rows)
    assert (tmp_path / "b.csv").is_file()


def test_brands_in_another_format_are_refused(paths: Paths, params: Params, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown file format"):
        write_brands(load_and_estimate_brands(paths, params.report), tmp_path / "brands.xlsx")


def test_without_a_table_brands_are_the_accounts_mentioned_most(
    paths: Paths, params: Params
) -> None:
    report = load_and_estimate_brands(paths, params.report.model_copy(update={"brands": None}))
    names = {row["brand"] for row in report["brands"]}
    assert names == {"@auralane", "@nordpfad", "@casalume", "@velvetoak"}


def test_swapped_images_and_unaudited_languages_are_reported(found: Findings) -> None:
    page = found.page()
    assert "Not audited, because there is no list of words for the language: 4 captions" in page
    assert re.search(r"Images of the folder of pairs: 20 pairs .* changed by 3.0% of its", page)
    assert "standard deviation of 5.0%" in page
    assert "same scene and gender differ by 2.0% (1.0% to 3.0%)" in page
    assert "1 pair could not be scored" in page
    assert "too few pairs for the gate" in page
    assert "<td>office &lt;b&gt;</td>" in page


def test_a_corpus_without_any_estimate_still_gets_a_page(
    paths: Paths, params: Params, tmp_path: Path
) -> None:
    root = tmp_path / "bare"
    shutil.copytree(paths.root, root)
    for name in ("label_rejects.parquet", "score_rejects.parquet"):
        (root / "build" / name).unlink()
    evaluate = json.loads((root / "reports" / "evaluate.json").read_text(encoding="utf-8"))
    for key in ("retest", "slices", "coverage", "audit", "image_audit"):
        evaluate[key] = {}
    evaluate["ceiling"], evaluate["champion"] = {}, None
    (root / "reports" / "evaluate.json").write_text(json.dumps(evaluate), encoding="utf-8")
    high = params.report.model_copy(update={"min_posts": 10_000, "examples": 0})
    bare = params.model_copy(update={"report": high})
    text = gather_findings(replace(paths, root=root), bare, {}).page()
    assert "No brand is named" in text
    assert "No student passed the gate" in text
    assert "Not measured: the champion does not use images" in text
    assert "<img" not in text


def test_the_stage_writes_the_same_page_and_stores_copies_with_its_run(
    paths: Paths, page: str, mlruns_template: Path
) -> None:
    shutil.copytree(mlruns_template, paths.mlruns, dirs_exist_ok=True)
    shutil.rmtree(paths.build / "cards")
    paths.report.unlink()
    run_command(paths.root, sys.executable, str(ROOT / "stages" / "report.py"))
    assert paths.report.read_text(encoding="utf-8") == page
    kept = {file.name for file in (paths.mlruns / "artifacts").rglob("*.*")}
    assert {"report.html", "model_card.md", "data_sheet.md"} <= kept


def test_two_clones_with_different_histories_write_the_same_bytes(
    paths: Paths, tmp_path: Path, mlruns_template: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    outs = ("report.html", "cards", "mlruns")
    shutil.copytree(paths.root, one, ignore=shutil.ignore_patterns(*outs))
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, one / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(mlruns_template, one / "mlruns")
    (one / ".gitignore").write_text("/mlruns/\n", encoding="utf-8")
    run_command(one, "git", "init", "-q")
    run_command(one, "dvc", "init", "-q")
    shutil.copytree(one, two)
    # The second clone has another history, other runs, and a lock with other scores.
    run_command(two, "git", "commit", "-q", "--allow-empty", "-m", "something else")
    run_command(two, sys.executable, "stages/report.py", PYTHONPATH=str(two / "src"))
    run_command(two, "dvc", "commit", "-q", "-f", "report")
    lock = two / "dvc.lock"
    text, n = re.subn(
        r"(path: build/scores\n.*\n? *md5: )\w+", r"\g<1>" + 32 * "0", lock.read_text()
    )
    assert n == 1
    lock.write_text(text, encoding="utf-8")
    for root in (one, two):
        run_command(root, "dvc", "repro", "-s", "report", PYTHONPATH=str(root / "src"))
    known = read_lock(one / "dvc.lock")
    assert known == read_lock(two / "dvc.lock")
    assert len(known) == 5
    page = (one / "build" / "report.html").read_text(encoding="utf-8")
    (scores,) = re.findall(
        r"path: build/scores\n.*\n? *md5: ([\w.]+)", (one / "dvc.lock").read_text()
    )
    assert f"<code>{scores}</code>" in page
    filters = [
        unquote(found) for found in re.findall(r'href="http[^"]*searchFilter=([^"]*)"', page)
    ]
    assert len(filters) == 6
    assert filters[-1] == f"tags.`dvc.outs.build/scores` = '{scores}'"
    assert filters[3].startswith("tags.`dvc.outs.build/students/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(_DRIVER)))
    yield driver
    driver.quit()


def _open(browser: Any, paths: Paths, *, width: int, scheme: str) -> list[str]:
    """Open the page and return the URLs that it requested."""
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(paths.report.as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", _WIDTHS)
def test_a_browser_renders_the_page_without_errors_or_requests(
    browser: Any, paths: Paths, found: Findings, where: str, scheme: str
) -> None:
    requests = _open(browser, paths, width=_WIDTHS[where], scheme=scheme)
    asked = [url for url in requests if not url.startswith("data:")]
    assert asked == [paths.report.as_uri()]
    assert browser.get_log("browser") == []
    assert browser.title == f"Gender bias in {found.population['n']['posts']} posts"
    for section in _SECTIONS:
        size = browser.execute_script(
            "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return [box.width, box.height]",
            section,
        )
        assert min(size) > 100, section
    assert browser.execute_script("return document.documentElement.scrollWidth") <= _WIDTHS[where]
    bad = "return [...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert browser.execute_script(bad) == 0
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", colour)[:3])) < 3 * 128
    assert is_dark == (scheme == "dark")


@needs_browser
@pytest.mark.parametrize("where", _WIDTHS)
def test_no_text_of_the_chinese_page_is_wider_than_the_window(
    browser: Any, paths: Paths, chinese: Findings, where: str
) -> None:
    file = paths.report.with_name("chinese.html")
    file.write_text(chinese.page(), encoding="utf-8")
    _open(browser, paths, width=_WIDTHS[where], scheme="light")
    browser.get(file.as_uri())
    assert browser.execute_script("return document.documentElement.lang") == "zh-CN"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= _WIDTHS[where]


@needs_browser
def test_no_mark_or_label_of_a_chart_is_outside_its_image(browser: Any, paths: Paths) -> None:
    _open(browser, paths, width=_WIDTHS["telephone"], scheme="light")
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg.chart')].flatMap(chart => {"
        "  const box = chart.getBoundingClientRect();"
        "  return [...chart.querySelectorAll('text,path,rect')].filter(mark => {"
        "    const at = mark.getBoundingClientRect();"
        "    return at.width + at.height > 0 && (at.left < box.left - 2 || at.right > box.right + 2"
        "        || at.top < box.top - 2 || at.bottom > box.bottom + 2);"
        "  }).map(mark => mark.outerHTML);"
        "})"
    )
    assert outside == []
