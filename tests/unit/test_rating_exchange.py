"""Posts to rate go to other tools and answers come back, with files that those tools wrote."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import openpyxl
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from tests.conftest import ROOT
from tests.scored_repo import write_scored_repo

from postbias.cli import main
from postbias.errors import InputError, MissingExtraError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.people.exchange.argilla import write_argilla_tasks
from postbias.people.exchange.label_studio import read_label_studio, write_label_studio_tasks
from postbias.people.exchange.potato import write_potato_tasks
from postbias.people.exchange.spreadsheet import (
    neutralise,
    read_spreadsheet,
    write_csv_tasks,
    write_excel_tasks,
)
from postbias.people.exchange.tool_answers import AnswersSummary, store_answers
from postbias.people.exchange.tool_formats import (
    ToolFormat,
    import_tool_answers,
    write_tool_tasks,
)
from postbias.people.exchange.tool_tasks import ALTERNATIVES, TaskList, ToolTask, task_key
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask
from postbias.people.rating_store import RatingStore
from postbias.posts.images import decode_upright
from postbias.teacher.rubric import Rubric, load_rubric

Json = dict[str, Any]

RUBRIC = load_rubric(ROOT / "rubrics" / "gender_bias.yaml")
DATA = ROOT / "tests" / "data" / "exchange"
EXPECTED = {
    "p0": (Outcome.RATED, {"bias": 3.0, "orientation": 5.0}, ""),
    "p1": (Outcome.RATED, {"bias": 10.0, "orientation": 0.0}, ""),
    "p2": (Outcome.CANNOT_TELL, {}, ""),
    "p3": (Outcome.SKIPPED, {}, "distressing"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return write_scored_repo(tmp_path_factory.mktemp("exchange"), n_posts=60)


@pytest.fixture
def repo(corpus: Paths) -> Paths:
    corpus.ratings.unlink(missing_ok=True)
    return corpus


def _params(repo: Paths, **rating: object) -> Params:
    params = load_params(repo.params)
    settings = {"n": 12, "repeat_share": 0.2} | rating
    return params.model_copy(update={"rating": params.rating.model_copy(update=settings)})


def _draw(paths: Paths, *post_ids: str) -> None:
    """Make a store with given posts, as those of the recorded files."""
    with RatingStore.open(paths.ratings) as store:
        store.add_items([RatingItem(p, "all", len(post_ids), 0.5, None) for p in post_ids])


def _answers(paths: Paths, rater: str | None = None) -> dict[RatingTask, Rating]:
    with RatingStore.open(paths.ratings) as store:
        return {rating.task: rating for rating in store.ratings(rater)}


def _contents(paths: Paths, rater: str) -> dict[str, tuple[Outcome, dict[str, float], str]]:
    return {
        task.post_id: (rating.outcome, dict(rating.scores), rating.note)
        for task, rating in _answers(paths, rater).items()
    }


def _ignore(_: str) -> None:
    pass


def _wanted(place: int) -> tuple[dict[str, float], str]:
    """Return simulated scores, or what is given in their place."""
    alternatives = ["", *ALTERNATIVES]
    if alternative := alternatives[place % len(alternatives)]:
        return {}, alternative
    return {"bias": float(place % 11), "orientation": float(10 - place % 11)}, ""


def _check_round_trip(paths: Paths, wanted: dict[str, tuple[dict[str, float], str]]) -> None:
    answers = _answers(paths)
    assert {task_key(task) for task in answers} == set(wanted)
    for task, rating in answers.items():
        scores, alternative = wanted[task_key(task)]
        outcome, note = ALTERNATIVES.get(alternative, (Outcome.RATED, ""))
        assert (rating.outcome, rating.scores, rating.note) == (outcome, scores, note)
        assert rating.rubric == RUBRIC.ref


def _fill_excel(path: Path) -> dict[str, tuple[dict[str, float], str]]:
    book = openpyxl.load_workbook(path)
    sheet = book["posts"]
    names = [cell.value for cell in sheet[1]]
    wanted = {}
    for place, row in enumerate(sheet.iter_rows(min_row=2)):
        cells = dict(zip(names, row, strict=True))
        scores, alternative = _wanted(place)
        for name, score in scores.items():
            cells[name].value = score
        cells["instead of scores"].value = alternative or None
        wanted[str(cells["task"].value)] = scores, alternative
    book.save(path)
    return wanted


def _fill_csv(path: Path) -> dict[str, tuple[dict[str, float], str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {}
    for place, row in enumerate(rows):
        scores, alternative = _wanted(place)
        row.update({name: f"{score:g}" for name, score in scores.items()})
        row["instead of scores"] = alternative
        wanted[row["task"]] = scores, alternative
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")  # as Excel does in Europe
        writer.writeheader()
        writer.writerows(rows)
    return wanted


@pytest.mark.parametrize("name", ["openpyxl.xlsx", "pandas.xlsx", "pandas.csv"])
def test_spreadsheets_that_other_programs_wrote_are_read(repo: Paths, name: str) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    path = DATA / "spreadsheet" / name
    tool = ToolFormat.SPREADSHEET
    summary = import_tool_answers(repo, _params(repo), tool, path, "ann")
    assert (summary.added, summary.faults) == (4, ())
    assert _contents(repo, "ann") == EXPECTED


@pytest.mark.parametrize(
    ("tool", "suffix", "fill"),
    [(ToolFormat.SPREADSHEET, "xlsx", _fill_excel), (ToolFormat.CSV, "csv", _fill_csv)],
)
def test_answers_in_spreadsheets_come_back_as_they_were_given(
    repo: Paths,
    tmp_path: Path,
    tool: ToolFormat,
    suffix: str,
    fill: Callable[[Path], dict[str, tuple[dict[str, float], str]]],
) -> None:
    params, dest = _params(repo), tmp_path / "tasks"
    lists = write_tool_tasks(repo, params, tool, dest, _ignore)
    assert [tasks.rater for tasks in lists] == ["rater-1", "rater-2"]
    keys = [[task.key for task in tasks.tasks] for tasks in lists]
    assert keys[0] != keys[1]
    path = dest / f"rater-2.{suffix}"
    assert import_tool_answers(repo, params, tool, path, None).added == 0
    wanted = fill(path)
    assert list(wanted) == keys[1]
    summary = import_tool_answers(repo, params, tool, path, None)
    assert (summary.added, summary.known, summary.faults) == (14, 0, ())
    _check_round_trip(repo, wanted)
    before = _answers(repo)
    assert {rating.rater for rating in before.values()} == {"rater-2"}
    again = import_tool_answers(repo, params, tool, path, None)
    assert (again.added, again.known) == (0, 14)
    assert _answers(repo) == before
    for name in {image for tasks in lists for task in tasks.tasks for image in task.images}:
        assert decode_upright((dest / name).read_bytes(), max_side_px=64).size


def test_no_exported_file_names_a_post_or_runs_a_formula(repo: Paths, tmp_path: Path) -> None:
    write_tool_tasks(repo, _params(repo), ToolFormat.CSV, tmp_path / "csv", _ignore)
    with RatingStore.open(repo.ratings) as store:
        post_ids = [item.post_id for item in store.items()]
    text = (tmp_path / "csv" / "rater-1.csv").read_text(encoding="utf-8-sig")
    assert not [post_id for post_id in post_ids if post_id in text]
    for formula in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\x00=1", "\r\n=1"):
        assert neutralise(formula).startswith("'")
    assert neutralise("a=1") == "a=1"


def test_formulas_in_captions_stay_text_in_excel(repo: Paths, tmp_path: Path) -> None:
    write_tool_tasks(repo, _params(repo, n=60), ToolFormat.SPREADSHEET, tmp_path / "x", _ignore)
    book = openpyxl.load_workbook(tmp_path / "x" / "rater-1.xlsx")
    types = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
    assert "f" not in types
    captions = [str(row[1].value) for row in book["posts"].iter_rows(min_row=2)]
    assert any("<script>" in caption for caption in captions)


def test_posts_of_one_rater_are_in_the_files_of_this_rater_only(
    repo: Paths, tmp_path: Path
) -> None:
    params = _params(repo, overlap=0.5, repeat_share=0.0)
    lists = write_tool_tasks(repo, params, ToolFormat.CSV, tmp_path / "tasks", _ignore)
    first, second = ({task.key for task in tasks.tasks} for tasks in lists)
    assert len(first & second) == 6
    assert len(first | second) == 12


def test_each_row_that_cannot_be_used_is_named(repo: Paths, tmp_path: Path) -> None:
    _draw(repo, "p0", "p1", "p2", "p3", "p4", "p5", "p6")
    key = [task_key(RatingTask(f"p{i}", 1)) for i in range(7)]
    rows = [
        ["task", "bias", "orientation", "instead of scores"],
        [key[0], "3", "5", ""],
        [key[0], "4", "5", ""],
        ["another-project", "3", "5", ""],
        [key[1], "11", "5", ""],
        [key[2], "3", "", ""],
        [key[3], "3", "5", "cannot tell"],
        [key[4], "", "", "dull"],
        [key[5], "", "", ""],
        ["", "3", "5", ""],
        [key[6], "nan", "1e999", ""],
        [key[6], "3,0", "5", ""],
        [key[5]],
    ]
    path = tmp_path / "rater-1.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    summary = import_tool_answers(repo, _params(repo), ToolFormat.CSV, path, None)
    assert {int(fault.split(":")[1]) for fault in summary.faults} == {3, 4, 5, 6, 7, 8, 10, 11}
    assert _contents(repo, "rater-1") == {
        "p0": EXPECTED["p0"],
        "p6": (Outcome.RATED, {"bias": 3.0, "orientation": 5.0}, ""),
    }


def test_answers_given_elsewhere_are_kept(repo: Paths, tmp_path: Path) -> None:
    _draw(repo, "p0", "p1")
    task = RatingTask("p0", 1)
    scores = {"bias": 9.0, "orientation": 9.0}
    own = Rating("page-nonce", "ann", task, Outcome.RATED, scores, "", 1.0, RUBRIC.ref, "")
    with RatingStore.open(repo.ratings) as store:
        store.add_rater("ann", 2)
        store.add(own)
    path = tmp_path / "any.csv"
    lines = [f"{task_key(RatingTask(p, 1))},3,5" for p in ("p0", "p1")]
    path.write_text("\n".join(("task,bias,orientation", *lines)), encoding="utf-8")
    params = _params(repo)
    with pytest.raises(InputError, match="does not say who filled it in"):
        import_tool_answers(repo, params, ToolFormat.CSV, path, None)
    with pytest.raises(InputError, match="not a pseudonym"):
        import_tool_answers(repo, params, ToolFormat.CSV, path, "ann@example.org")
    summary = import_tool_answers(repo, params, ToolFormat.CSV, path, "ann")
    assert (summary.added, summary.known) == (1, 1)
    assert _answers(repo)[task] == own
    assert import_tool_answers(repo, params, ToolFormat.CSV, path, "ben").added == 2
    full = import_tool_answers(repo, params, ToolFormat.CSV, path, "eve")
    assert full.added == 0
    assert all("all places for raters are taken" in fault for fault in full.faults)


def test_unusable_spreadsheets_are_refused(
    repo: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = _params(repo)
    path = tmp_path / "rater-1.csv"
    path.write_text("task,bias,orientation\n", encoding="utf-8")
    with pytest.raises(InputError, match="no posts were drawn"):
        import_tool_answers(repo, params, ToolFormat.CSV, path, None)
    path.write_text("task,bias\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no column orientation"):
        import_tool_answers(repo, params, ToolFormat.CSV, path, None)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8"):
        import_tool_answers(repo, params, ToolFormat.CSV, path, None)
    path.with_suffix(".xlsx").write_bytes(b"PK not a workbook")
    with pytest.raises(InputError, match="is damaged"):
        import_tool_answers(repo, params, ToolFormat.CSV, path.with_suffix(".xlsx"), None)
    with pytest.raises(InputError, match="folder for the tasks is not empty"):
        write_tool_tasks(repo, params, ToolFormat.CSV, tmp_path, _ignore)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'postbias\[excel\]'"):
        write_tool_tasks(repo, params, ToolFormat.SPREADSHEET, tmp_path / "new", _ignore)


def test_the_commands_say_what_they_did(
    repo: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.root)
    dest = tmp_path / "tasks"
    written = CliRunner().invoke(main, ["ratings", "tasks", "csv", str(dest)])
    assert written.exit_code == 0, written.output
    assert "posts for rater-1 in" in written.output
    wanted = _fill_csv(dest / "rater-1.csv")
    result = CliRunner().invoke(main, ["ratings", "import", "csv", str(dest / "rater-1.csv")])
    assert result.output == f"{len(wanted)} answers added, of rater-1\n"


def _edit(path: Path, change: Callable[[list[Json]], None], dest: Path) -> Path:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    dest.write_text(json.dumps(content), encoding="utf-8")
    return dest


def _check_recorded(paths: Paths, summary: AnswersSummary, n_faults: int) -> None:
    """Check the import of the recorded files: two annotators, four posts."""
    assert summary.raters == ("rater-1", "rater-2")
    assert _contents(paths, "rater-1") == EXPECTED
    second = _contents(paths, "rater-2")
    assert second["p0"] == (Outcome.RATED, {"bias": 4.0, "orientation": 5.0}, "")
    assert second["p1"] == (Outcome.RATED, {"bias": 9.0, "orientation": 1.0}, "")
    assert "p3" not in second
    assert len(summary.faults) == n_faults
    assert any("no score of orientation" in fault for fault in summary.faults)


def test_an_export_of_label_studio_is_read_and_annotators_stay_the_same(
    repo: Paths, tmp_path: Path
) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    params, path = _params(repo), DATA / "label_studio" / "export.json"
    summary = import_tool_answers(repo, params, ToolFormat.LABEL_STUDIO, path, None)
    _check_recorded(repo, summary, 1)
    assert _contents(repo, "rater-2")["p2"] == (Outcome.SKIPPED, {}, "other")
    answer = _answers(repo, "rater-1")[RatingTask("p0", 1)]
    assert answer.seconds == 7.5
    assert answer.rated_at.startswith("2026-11-27T")
    assert answer.rated_at.endswith("+00:00")

    def rename(tasks: list[Json]) -> None:
        """Order annotators otherwise, and export them with their addresses."""
        for task in tasks:
            task["annotations"].reverse()
            for annotation in task["annotations"]:
                email = f"name{annotation['completed_by']}@example.org"
                annotation["completed_by"] = {"id": None, "email": email}

    again = import_tool_answers(
        repo, params, ToolFormat.LABEL_STUDIO, _edit(path, rename, tmp_path / "e.json"), None
    )
    assert (again.added, again.known, again.raters) == (0, 7, ("rater-2", "rater-1"))
    assert b"example.org" not in repo.ratings.read_bytes()


def test_a_pseudonym_is_not_given_to_several_annotators(repo: Paths) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    params = _params(repo)
    for tool, path in (
        (ToolFormat.LABEL_STUDIO, DATA / "label_studio" / "export.json"),
        (ToolFormat.POTATO, DATA / "potato" / "annotation_output"),
        (ToolFormat.ARGILLA, DATA / "argilla" / "answers.json"),
    ):
        with pytest.raises(InputError, match="answers of several annotators"):
            import_tool_answers(repo, params, tool, path, "ann")
        assert _answers(repo) == {}


def test_answers_in_label_studio_come_back_as_they_were_given(repo: Paths, tmp_path: Path) -> None:
    params, dest = _params(repo), tmp_path / "tasks"
    write_tool_tasks(repo, params, ToolFormat.LABEL_STUDIO, dest, _ignore)
    wanted = {}
    tasks = json.loads((dest / "tasks.json").read_text(encoding="utf-8"))
    for place, task in enumerate(tasks):
        scores, alternative = _wanted(place)
        values = {name: f"{score:g}" for name, score in scores.items()}
        values |= {"instead": alternative} if alternative else {}
        results = [
            {"from_name": name, "type": "choices", "value": {"choices": [value]}}
            for name, value in values.items()
        ]
        task["annotations"] = [{"id": place, "completed_by": 1, "result": results}]
        wanted[task["data"]["task"]] = scores, alternative
        for url in task["data"]["images"]:
            assert (dest / url.partition("?d=")[2]).is_file()
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    summary = import_tool_answers(repo, params, ToolFormat.LABEL_STUDIO, path, None)
    assert (summary.added, summary.faults) == (14, ())
    _check_round_trip(repo, wanted)
    names = {node.get("name") for node in ET.parse(dest / "interface.xml").iter()}  # noqa: S314 - written above
    assert {"bias", "orientation", "instead", "images", "caption"} <= names


def test_odd_entries_of_a_label_studio_export_are_named(repo: Paths, tmp_path: Path) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")

    def spoil(tasks: list[Json]) -> None:
        first, second = tasks[0]["annotations"]
        tasks[0]["annotations"].append(second | {"unique_id": "another"})
        first["result"][0]["value"] = {"choices": ["11"]}
        tasks[1]["data"]["task"] = {"of": "another project"}
        del tasks[2]["annotations"]
        tasks[3]["annotations"] = [
            None, {}, {"completed_by": True, "id": 1}, {"completed_by": 1, "id": 8, "result": {}},
            {"completed_by": 1, "id": 9, "result": [{"from_name": "bias", "value": {"x": 1}}]},
            {"completed_by": 1, "id": 10, "result": [None]},
        ]  # fmt: skip
        tasks += [None, {"data": 3}, {"data": {}}]  # type: ignore[list-item]

    path = _edit(DATA / "label_studio" / "export.json", spoil, tmp_path / "e.json")
    params = _params(repo)
    summary = import_tool_answers(repo, params, ToolFormat.LABEL_STUDIO, path, None)
    assert summary.added == 1  # the second annotator's of p0
    assert len(summary.faults) == 14
    for content, message in (("{}", "not a list of tasks"), ("[" * 9, "not valid JSON")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            import_tool_answers(repo, params, ToolFormat.LABEL_STUDIO, path, None)


def test_annotations_of_potato_are_read_and_annotators_stay_the_same(
    repo: Paths, tmp_path: Path
) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    params, recorded = _params(repo), DATA / "potato" / "annotation_output"
    summary = import_tool_answers(repo, params, ToolFormat.POTATO, recorded, None)
    _check_recorded(repo, summary, 1)
    shutil.copytree(recorded / "first", tmp_path / "z@example.org")
    shutil.copytree(recorded / "second", tmp_path / "a@example.org")
    again = import_tool_answers(repo, params, ToolFormat.POTATO, tmp_path, None)
    assert (again.added, again.known, again.raters) == (0, 6, ("rater-2", "rater-1"))
    assert not any("example.org" in fault for fault in again.faults)


def test_odd_files_of_potato_are_named(repo: Paths, tmp_path: Path) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    params, recorded = _params(repo), DATA / "potato" / "annotation_output"
    with pytest.raises(InputError, match="no annotations of potato"):
        import_tool_answers(repo, params, ToolFormat.POTATO, tmp_path, None)
    shutil.copytree(recorded / "first", tmp_path / "a" / "1")
    (tmp_path / "a" / "1" / "annotation_history.jsonl").write_text("[]\n{\n{}\n", encoding="utf-8")
    summary = import_tool_answers(repo, params, ToolFormat.POTATO, tmp_path / "a", None)
    assert (summary.added, len(summary.faults)) == (0, 4)
    assert "give --rater" in summary.faults[0]
    source = tmp_path / "a" / "1"
    for n_new in (4, 0):
        assert import_tool_answers(repo, params, ToolFormat.POTATO, source, "ann").added == n_new
    labels = {"t1": [], "t2": 3, "t3": [[{"schema": "bias"}, "3"]] * 2, "t4": [["x", "3"]], "t5": 0}
    for number, content in enumerate(
        ("{", "[]", "{}", json.dumps({"instance_id_to_label_to_value": labels}))
    ):
        (tmp_path / "b" / str(number)).mkdir(parents=True)
        (tmp_path / "b" / str(number) / "user_state.json").write_text(content, encoding="utf-8")
    summary = import_tool_answers(repo, params, ToolFormat.POTATO, tmp_path / "b", "ann")
    assert (summary.added, len(summary.faults)) == (0, 7)


def _read_lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_answers_in_potato_come_back_as_they_were_given(repo: Paths, tmp_path: Path) -> None:
    params, dest = _params(repo, overlap=0.5), tmp_path / "tasks"
    lists = write_tool_tasks(repo, params, ToolFormat.POTATO, dest, _ignore)
    config = YAML(typ="safe").load(dest / "config-rater-2.yaml")
    rows = _read_lines(dest / config["data_files"][0])
    assert [row["task"] for row in rows] == [task.key for task in lists[1].tasks]
    assert not any("<" in row["caption"] for row in rows)
    wanted, labels, history = {}, {}, []
    for place, row in enumerate(rows):
        scores, alternative = _wanted(place)
        values = {name: f"{score:g}" for name, score in scores.items()} or {"instead": alternative}
        labels[row["task"]] = [[{"schema": k, "name": v}, v] for k, v in values.items()]
        history.append({"action_id": f"a{place}", "instance_id": row["task"]})
        wanted[row["task"]] = scores, alternative
    folder = dest / config["output_annotation_dir"] / "anybody"
    folder.mkdir(parents=True)
    spent = {row["task"]: {"total_time_ms": 2500} for row in rows}
    state = {"instance_id_to_label_to_value": labels, "instance_id_to_behavioral_data": spent}
    (folder / "user_state.json").write_text(json.dumps(state), encoding="utf-8")
    lines = "\n".join(map(json.dumps, history))
    (folder / "annotation_history.jsonl").write_text(lines, encoding="utf-8")
    summary = import_tool_answers(repo, params, ToolFormat.POTATO, folder.parent, None)
    assert (summary.added, summary.faults) == (len(wanted), ())
    _check_round_trip(repo, wanted)
    assert {rating.seconds for rating in _answers(repo).values()} == {2.5}


def test_records_of_argilla_are_read_and_annotators_stay_the_same(
    repo: Paths, tmp_path: Path
) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")
    params, path = _params(repo), DATA / "argilla" / "answers.json"
    summary = import_tool_answers(repo, params, ToolFormat.ARGILLA, path, None)
    _check_recorded(repo, summary, 1)
    before = _answers(repo, "rater-1")
    reversed_path = _edit(path, list.reverse, tmp_path / "reversed.json")
    again = import_tool_answers(repo, params, ToolFormat.ARGILLA, reversed_path, None)
    assert (again.added, again.known) == (0, 6)
    assert _answers(repo, "rater-1") == before


def test_odd_records_of_argilla_are_named(repo: Paths, tmp_path: Path) -> None:
    _draw(repo, "p0", "p1", "p2", "p3")

    def spoil(records: list[Json]) -> None:
        records[0]["responses"]["bias"][0]["value"] = 99
        records[1]["responses"]["bias"] *= 2
        records[2]["responses"] = {"bias": 3}
        records[3]["id"] = None
        records += [None, {"id": "t"}]  # type: ignore[list-item]

    path = _edit(DATA / "argilla" / "answers.json", spoil, tmp_path / "a.json")
    params = _params(repo)
    summary = import_tool_answers(repo, params, ToolFormat.ARGILLA, path, None)
    assert (summary.added, len(summary.faults)) == (3, 8)
    path.write_text("3", encoding="utf-8")
    with pytest.raises(InputError, match="not a list of records"):
        import_tool_answers(repo, params, ToolFormat.ARGILLA, path, None)


def test_answers_in_argilla_come_back_as_they_were_given(repo: Paths, tmp_path: Path) -> None:
    params, dest = _params(repo), tmp_path / "tasks"
    write_tool_tasks(repo, params, ToolFormat.ARGILLA, dest, _ignore)
    settings = json.loads((dest / "settings.json").read_text(encoding="utf-8"))
    assert [q["name"] for q in settings["questions"]] == ["bias", "orientation", "outcome"]
    records = json.loads((dest / "records.json").read_text(encoding="utf-8"))
    wanted = {}
    for place, record in enumerate(records):
        scores, alternative = _wanted(place)
        values = {**scores, "outcome": alternative or "rated"}
        record["responses"] = {
            name: [{"value": value, "user_id": "u"}] for name, value in values.items()
        }
        wanted[record["id"]] = scores, alternative
        names = {field["name"] for field in settings["fields"]}
        assert names >= record["fields"].keys()
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    summary = import_tool_answers(repo, params, ToolFormat.ARGILLA, path, None)
    assert (summary.added, summary.faults) == (14, ())
    _check_round_trip(repo, wanted)


def test_raters_who_have_begun_keep_their_names_and_others_get_free_ones(
    repo: Paths, tmp_path: Path
) -> None:
    with RatingStore.open(repo.ratings) as store:
        store.add_rater("rater-2", 3)
    params = _params(repo, raters=3)
    lists = write_tool_tasks(repo, params, ToolFormat.CSV, tmp_path / "tasks", _ignore)
    assert [tasks.rater for tasks in lists] == ["rater-2", "rater-1", "rater-3"]


def test_fine_scales_are_numbers_in_all_tools(tmp_path: Path) -> None:
    anchor = RUBRIC.axes[0].anchors[0]
    scale = (anchor.model_copy(update={"score": -5.0}), anchor.model_copy(update={"score": 5.0}))
    changes = {"low": -5.0, "high": 5.0, "step": 0.25, "anchors": scale}
    axes = (RUBRIC.axes[0].model_copy(update=changes),)
    rubric = Rubric("fine", 1, "0" * 12, axes, RUBRIC.prompt, RUBRIC.reply)
    key = task_key(RatingTask("p0", 1))
    lists = [TaskList("rater-1", (ToolTask(key, "=cmd", ()),))]
    (tmp_path / "images").mkdir()
    for write in (
        write_excel_tasks, write_csv_tasks, write_label_studio_tasks, write_potato_tasks,
        write_argilla_tasks,
    ):  # fmt: skip
        write(tmp_path, lists, axes)
    number = ET.parse(tmp_path / "interface.xml").find(".//Number")  # noqa: S314 - written above
    assert number is not None
    assert (number.get("min"), number.get("max"), number.get("step")) == ("-5", "5", "0.25")
    scheme = YAML(typ="safe").load(tmp_path / "config-rater-1.yaml")["annotation_schemes"][0]
    assert (scheme["annotation_type"], scheme["min_value"], scheme["step"]) == ("number", -5, 0.25)
    settings = json.loads((tmp_path / "settings-rater-1.json").read_text(encoding="utf-8"))
    values = [option["value"] for option in settings["questions"][0]["settings"]["options"]]
    assert [float(value) for value in values] == list(axes[0].points)
    result = [{"from_name": "bias", "value": {"number": -0.75}}]
    annotations = [{"id": 1, "completed_by": 1, "result": result}]
    export = tmp_path / "export.json"
    export.write_text(json.dumps([{"data": {"task": key}, "annotations": annotations}]))
    with (tmp_path / "rater-1.csv").open("a", encoding="utf-8") as file:
        file.write(f'{key},,"-1,25",\n')
    with RatingStore.open(tmp_path / "ratings.sqlite") as store:
        store.add_items([RatingItem("p0", "all", 1, 1.0, None)])
        sheet = read_spreadsheet(tmp_path / "rater-1.csv", axes, "ann")
        for found, rater in ((read_label_studio(export), None), (sheet, "ann")):
            assert store_answers(store, found, rubric, 2, rater).added == 1
        scores = {rating.rater: rating.scores["bias"] for rating in store.ratings()}
    assert scores == {"rater-1": -0.75, "ann": -1.25}
