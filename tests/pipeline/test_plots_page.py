"""The page of DVC's plots, opened offline in a real browser."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import ROOT, clean_environment, run_command

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_MODALITIES = ("fusion", "text", "image")
_FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-background-networking",
    "disable-component-update", "disable-sync", "window-size=1100,3000",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    not (_CHROMIUM and _DRIVER), reason="needs chromium and chromium-driver"
)


def _write(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def _write_reports(reports: Path, rng: np.random.Generator) -> None:
    for modality in _MODALITIES:
        curve = [(epoch, 1 / epoch, 1.2 / epoch) for epoch in range(1, 5)]
        _write(reports / "curves" / f"{modality}.csv", "epoch,train_loss,valid_loss", curve)
    scores = rng.uniform(0, 10, 40)
    points = [
        (modality, "bias", f"</script>{i}", round(score + rng.normal(), 3), score, 0, 10)
        for modality in _MODALITIES
        for i, score in enumerate(scores)
    ]
    plots = reports / "plots"
    _write(plots / "predictions.csv", "modality,axis,post_id,label,score,lo,hi", points)
    bins = [(m, "bias", 2 * i, 2 * i + 0.5, 8) for m in _MODALITIES for i in range(5)]
    _write(plots / "calibration.csv", "modality,axis,score,label,n", bins)
    heaps = [
        (axis, i / 2, i / 2 + 0.5, i + 1, (i + 1) / 210)
        for axis in ("bias", "orientation")
        for i in range(20)
    ]
    _write(plots / "labels.csv", "axis,score_from,score_to,posts,share", heaps)
    models = [
        (model, "bias", metric, *(("", "", "") if metric == "spearman" else (1.0, 0.5, 1.5)))
        for model in (*_MODALITIES, "constant")
        for metric in ("mae", "r2", "spearman")
    ]
    _write(plots / "comparison.csv", "model,axis,metric,value,lo,hi", models)
    learned = [
        (axis, labels, labels / 800, metric, 90 / labels, 80 / labels, 100 / labels)
        for axis in ("bias", "orientation")
        for labels in (200, 400, 800)
        for metric in ("mae", "r2")
    ]
    _write(plots / "learning_curve.csv", "axis,labels,share,metric,value,lo,hi", learned)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plots")
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        run_command(root, "git", "init", "-q")
        run_command(root, "dvc", "init", "-q")
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(ROOT / name, root)
        shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots", dirs_exist_ok=True)
        _write_reports(root / "reports", np.random.default_rng(0))
        run_command(root, sys.executable, str(ROOT / "docs" / "plots.py"))
    return root / "dvc_plots" / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    yield driver
    driver.quit()


def test_every_plot_is_rendered_without_requests_or_console_messages(
    page: Path, browser: Any
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(
        lambda driver: len(driver.find_elements("css selector", "svg.marks")) == 9
    )
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {params["request"]["url"] for params in asked} == {page.as_uri()}
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('svg.marks')].map("
        "svg => [svg.getBoundingClientRect().width,"
        " svg.querySelectorAll('.mark-symbol path, .mark-line path, .mark-rect path').length])"
    )
    widths, marks = zip(*drawn, strict=True)
    assert min(widths) > 400
    # Residuals in three students; bins of two axes; epochs of two folds; posts, bins and models
    # with their numbers, in three students each; shares of the labels of two axes.
    least = (120, 40, 8, 8, 8, 120, 15, 8, 6)
    assert all(n >= at_least for n, at_least in zip(marks, least, strict=True)), marks
