"""Pairs of images that show the same scene with a man and with a woman, for the image swap.

They come from a folder with a table, or are drawn again from the ground truth of a demo corpus.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.paths import Paths

#: The table in a folder of paired images, and its required columns.
PAIRS_TABLE = "pairs.csv"
PAIR_COLUMNS = ("file", "scene", "gender")
MAN, WOMAN = "man", "woman"


@dataclass(frozen=True, slots=True)
class ImagePair:
    """The images of one post with a man and with a woman, otherwise the same.

    Attributes:
        scene: What the images show.
        unit: What is resampled for intervals: pairs with the same unit are not independent.
        man: Image files with a man.
        woman: Image files with a woman, in the same order.
    """

    scene: str
    unit: str
    man: tuple[bytes, ...]
    woman: tuple[bytes, ...]


def load_image_pairs(folder: Path) -> list[ImagePair]:
    """Read a folder of paired images.

    Args:
        folder: Has `pairs.csv` with the columns `file` (relative to the folder), `scene` and
            `gender` (`man` or `woman`). Two rows that agree in all columns but `file` and `gender`
            are a pair, so further columns tell several pairs of a scene apart.

    Returns:
        The pairs in the order of the table, with the scene as the unit; empty without rows.

    Raises:
        InputError: If the table or an image cannot be read, a column is missing, a row is
            incomplete, or a man or a woman is missing or there twice.
    """
    table = folder / PAIRS_TABLE
    files: dict[tuple[str, ...], dict[str, Path]] = {}
    for number, row in enumerate(_read_rows(table), start=2):
        file, scene, gender = (row[name] for name in PAIR_COLUMNS)
        if not file or not scene or gender not in (MAN, WOMAN):
            raise InputError(
                f"{table}, line {number}: a value is missing, or the gender is unknown",
                seen=f"{file},{scene},{gender}",
                allowed=[MAN, WOMAN],
            )
        key = scene, *(row[name] for name in row if name not in PAIR_COLUMNS)
        members = files.setdefault(key, {})
        if gender in members:
            raise InputError(
                f"{table}, line {number}: the pair already has a {gender}",
                seen=file,
                do="add a column that tells the pairs of this scene apart",
            )
        members[gender] = _find_file(folder, file, number)
    for key, members in files.items():
        if len(members) < 2:
            raise InputError(
                f"{table}: an image has no partner of the other gender",
                seen=", ".join(key),
                do="add a row with the same values, or remove the image",
            )
    return [
        ImagePair(key[0], key[0], (_read(members[MAN]),), (_read(members[WOMAN]),))
        for key, members in files.items()
    ]


def redraw_image_pairs(
    paths: Paths, fold: LabelledFold, rows: Sequence[int]
) -> list[ImagePair] | None:
    """Draw the images of demo posts again, with the figure as it was and of the other gender.

    Args:
        paths: The repository, with the ground truth if its corpus is the demo.
        rows: Row numbers of posts of the fold; those that show both genders or nobody, or no
            readable image, are left out.

    Returns:
        The pairs, with the topic as the scene and the author as the unit; None for another corpus
        than the demo, or one that does not record how its images were drawn.
    """
    truth = paths.sampled_file("data/truth.parquet")
    if not truth.is_file():
        return None
    from postbias.demo.ground_truth import read_cues
    from postbias.demo.illustrations import image_cues_of, redraw_scene
    from postbias.demo.image_encoding import encode_jpeg
    from postbias.demo.random_states import read_states

    post_ids = [fold.post_ids[row] for row in rows]
    states, cues = read_states(truth, post_ids), read_cues(truth, post_ids)
    if states is None or cues is None:
        return None
    pairs = []
    for position, row in enumerate(rows):
        shown = image_cues_of(cues, position)
        if not shown.figure or not states[position]:
            continue
        as_it_was, swapped = (
            tuple(
                encode_jpeg(redraw_scene(shown, state, is_figure_swapped=is_swapped).image)
                for state in states[position]
            )
            for is_swapped in (False, True)
        )
        man, woman = (swapped, as_it_was) if shown.figure > 0 else (as_it_was, swapped)
        pairs.append(ImagePair(shown.topic, fold.authors[row], man, woman))
    return pairs


def _read_rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            names = list(reader.fieldnames or ())
            rows = [{name: str(row[name]).strip() for name in names} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            "cannot read the table of paired images",
            seen=str(table),
            do="set evaluate.audit.image_pairs to a folder with such a table; one without rows "
            "disables the test",
        ) from error
    if missing := [name for name in PAIR_COLUMNS if name not in names]:
        raise InputError(f"{table} lacks columns {missing}", seen=names, allowed=list(PAIR_COLUMNS))
    return rows


def _find_file(folder: Path, name: str, number: int) -> Path:
    """Return the path of an image inside the folder."""
    try:
        path = (folder / name).resolve()
        is_found = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # too long, or with a null character
        is_found = False
    if not is_found:
        raise InputError(
            f"{folder / PAIRS_TABLE}, line {number}: no such file in the folder", seen=name
        )
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("cannot read a paired image", seen=str(path)) from error
