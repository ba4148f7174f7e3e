"""Write the demo corpus as a raw export in the layout of the influencer-brand data set.

The export deliberately contains what real exports contain: carousels, reposts, giveaways that many
authors post verbatim, images that are missing, damaged, animated, rotated or in CMYK, empty
captions and broken JSON. The same seed produces the same bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from postbias.demo.caption_writer import (
    caption_cues_of,
    edit_caption,
    write_caption,
    write_giveaway,
    write_quote,
)
from postbias.demo.ground_truth import (
    AXES,
    LANGUAGES,
    NEUTRAL,
    Bools,
    Cues,
    Floats,
    Ints,
    draw_cues,
    simulate_teacher,
    true_scores,
)  # fmt: skip
from postbias.demo.illustrations import Scene, draw_scene, image_cues_of
from postbias.demo.image_encoding import encode_jpeg, encode_unusual_format, make_unreadable
from postbias.demo.image_quotes import draw_quote
from postbias.demo.label_reasons import write_reason
from postbias.demo.planted_objects import OBJECTS, PlantedObject, objects_column
from postbias.demo.random_states import STATES, states_column

# Objects of one image, and what it can be drawn again from.
Drawn = tuple[tuple[PlantedObject, ...], bytes]

FOLDERS = 4
_LABELLED = 0.92
_REPOSTS = 0.03
_GIVEAWAYS = 0.012
_CAROUSELS = 0.06
_BROKEN_JSON = 4
_LATIN = ("en", "es", "fr", "de", "pt")
_DETAIL_VIEW = 0.16
_START_S, _MONTH_S = 1_735_689_600, 30.4375 * 86_400  # from 2025-01-01 for 24 months
_MONTHS = 24


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """Counts of what `write_raw_export` wrote.

    Attributes:
        n_posts: Posts that can be imported.
        n_broken: Posts with deliberately broken JSON.
        n_labelled: Posts with a label.
        n_images: Image files.
    """

    n_posts: int
    n_broken: int
    n_labelled: int
    n_images: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is decided before captions and images are made; arrays of shape (n,)."""

    cues: Cues
    repost_of: Ints  # the row of the original, or -1
    giveaway: Ints  # 1 if the caption is that of a giveaway, else 0
    n_images: Ints
    post_ids: Sequence[str]
    quoted: Bools  # whether the image shows the claim instead of the caption


def write_raw_export(
    dest: Path, *, n_posts: int = 5000, seed: int, image_text: float = 0.0
) -> DemoSummary:
    """Write the raw export, the simulated teacher's labels and the ground truth.

    Args:
        dest: An empty or new folder; receives `post_info.txt`, `json/`, `img_resized_1/` and so on,
            `labels.csv` and `truth.parquet`.
        n_posts: Number of posts that can be imported.
        seed: Seed of the corpus.
        image_text: Share of posts whose claim is legible in the image only.

    Returns:
        Counts of what was written.
    """
    rng = np.random.default_rng(seed)
    plan = _make_plan(n_posts, rng)
    if image_text:
        # Another generator: the default corpus must not change.
        plan = _quote_some(plan, image_text, np.random.default_rng([seed, 1]))
    truth = true_scores(plan.cues)
    labels = simulate_teacher(truth, rng)
    for folder in ("json", *(f"img_resized_{i + 1}" for i in range(FOLDERS))):
        (dest / folder).mkdir(parents=True, exist_ok=True)
    n_images, drawn = _write_posts(dest, plan, rng)
    is_labelled = rng.random(n_posts) < _LABELLED
    _write_labels(dest / "labels.csv", plan, labels, is_labelled)
    _write_truth(dest / "truth.parquet", plan, truth, drawn)
    return DemoSummary(n_posts, _BROKEN_JSON, int(is_labelled.sum()), n_images)


def _make_plan(n: int, rng: np.random.Generator) -> _Plan:
    cues = draw_cues(n, rng)
    giveaway = (rng.random(n) < _GIVEAWAYS) & cues.has_caption
    repost = (rng.random(n) < _REPOSTS) & ~giveaway
    origin = rng.integers(n, size=n)
    can_repost = ~repost[origin] & ~giveaway[origin] & cues.has_caption[origin]
    repost &= can_repost & cues.has_picture[origin] & cues.has_caption & cues.has_picture
    # A repost has the cues of the original, and most reposts are by another author.
    rows = np.where(repost, origin, np.arange(n))
    keep_author = repost & (rng.random(n) < 0.7)
    copied = cues.take(rows)
    cues = replace(
        copied,
        author=np.where(keep_author | ~repost, cues.author, copied.author),
        moment=cues.moment,
        # The caption of a giveaway is neutral and mentions no gender.
        claim=np.where(giveaway, NEUTRAL, copied.claim),
        gender=np.where(giveaway, 0, copied.gender),
        address=copied.address & ~giveaway,
        brand=np.where(giveaway, -1, copied.brand),
    )
    carousel = (rng.random(n) < _CAROUSELS) & ~repost & cues.has_picture
    ids = 1_300_000_000_000_000_000 + rng.choice(10**15, n, replace=False) * 7
    return _Plan(
        cues=cues,
        repost_of=np.where(repost, origin, -1),
        giveaway=giveaway.astype(np.int64),
        n_images=np.where(carousel, rng.integers(2, 5, size=n), 1),
        post_ids=[str(i) for i in ids],
        quoted=np.zeros(n, np.bool_),
    )


def _quote_some(plan: _Plan, share: float, rng: np.random.Generator) -> _Plan:
    """Show the claims of some original posts with one image there instead of in the caption."""
    cues, n = plan.cues, len(plan.cues)
    is_original = (plan.repost_of < 0) & ~np.isin(np.arange(n), plan.repost_of)
    can_quote = is_original & (plan.giveaway == 0) & (plan.n_images == 1)
    can_quote &= cues.has_caption & cues.has_picture & (cues.gender != 0)
    # The font of the images has no Chinese and Hindi letters, and Arabic ones would not be joined.
    can_quote &= np.isin(cues.language, [LANGUAGES.index(code) for code in _LATIN])
    rows = rng.permutation(np.flatnonzero(can_quote))[: round(share * n)]
    return replace(plan, quoted=np.isin(np.arange(n), rows))


def _write_posts(
    dest: Path, plan: _Plan, rng: np.random.Generator
) -> tuple[int, list[list[Drawn]]]:
    """Write images, JSON files and the table.

    Returns:
        The number of image files, and what is in them by post.
    """
    captions: dict[int, str] = {}
    scenes: dict[int, Scene] = {}
    shown: list[list[Drawn]] = [[] for _ in plan.post_ids]
    originals = set(plan.repost_of.tolist())
    order = np.argsort(plan.repost_of >= 0, kind="stable")  # originals before their reposts
    lines: dict[int, str] = {}
    n_images = 0
    for row in tqdm(order.tolist(), desc="drawing posts", unit="post", disable=None):
        origin = int(plan.repost_of[row])
        caption = _caption(plan, row, captions.get(origin), rng)
        files, drawn = _image_files(plan, row, scenes.get(origin), rng)
        shown[row] = [(scene.objects, scene.state) for scene in drawn]
        if row in originals:
            captions[row], scenes[row] = caption, drawn[0]
        names = []
        for index, data in enumerate(files):
            name = f"{plan.post_ids[row]}{f'-{index}' if index else ''}.jpg"
            names.append(name)
            if data is not None:
                (dest / f"img_resized_{row % FOLDERS + 1}" / name).write_bytes(data)
                n_images += 1
        node = _media_node(plan, row, caption, rng)
        (dest / "json" / f"{plan.post_ids[row]}.json").write_text(
            json.dumps(node, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
        )
        lines[row] = _table_line(plan, row, names)
    _write_table(dest, [lines[row] for row in range(len(lines))])
    return n_images, shown


def _caption(plan: _Plan, row: int, original: str | None, rng: np.random.Generator) -> str:
    if not plan.cues.has_caption[row]:
        return ""
    if original is not None:
        return edit_caption(original, rng)
    if plan.giveaway[row]:
        return write_giveaway(LANGUAGES[int(plan.cues.language[row])], rng)
    cues = caption_cues_of(plan.cues, row)
    return write_caption(cues, rng, is_quoted=bool(plan.quoted[row]))


def _image_files(
    plan: _Plan, row: int, original: Scene | None, rng: np.random.Generator
) -> tuple[list[bytes | None], list[Scene]]:
    """Make the image files of a post (None: listed but missing), and return what they show."""
    cues = image_cues_of(plan.cues, row)
    scene = draw_scene(cues, rng)
    if not plan.cues.has_picture[row]:
        return make_unreadable(scene.image, rng), []
    if original is not None:  # resized and compressed again
        side = int(rng.integers(128, 152))
        return [encode_jpeg(original.image.resize((side, side)), quality=70)], [original]
    if plan.quoted[row]:
        quote = write_quote(caption_cues_of(plan.cues, row), rng)
        return [encode_jpeg(draw_quote(scene.image, quote))], [scene]
    first = encode_unusual_format(scene.image, rng) or encode_jpeg(scene.image)
    more = [draw_scene(cues, rng) for _ in range(int(plan.n_images[row]) - 1)]
    return [first, *(encode_jpeg(each.image) for each in more)], [scene, *more]


def _media_node(plan: _Plan, row: int, caption: str, rng: np.random.Generator) -> dict[str, Any]:
    """Make the JSON of a post: a media node in list view or, with its owner, in detail view."""
    author = f"user_{int(plan.cues.author[row]):04d}"
    posted_at_s = _START_S + float(plan.cues.moment[row]) * _MONTHS * _MONTH_S
    likes = int(rng.lognormal(5.0, 1.2))
    owner: dict[str, str] = {"id": str(9_000_000 + int(plan.cues.author[row]))}
    if rng.random() < _DETAIL_VIEW:
        owner["username"] = author
    carousel = plan.n_images[row] > 1
    return {
        "__typename": "GraphSidecar" if carousel else "GraphImage",
        "id": plan.post_ids[row],
        "edge_media_to_caption": {"edges": [{"node": {"text": caption}}] if caption else []},
        "edge_media_preview_like": {"count": likes},
        "edge_media_to_comment": {"count": int(likes * rng.uniform(0.0, 0.08))},
        "taken_at_timestamp": int(posted_at_s),
        "is_video": False,
        "owner": owner,
    }


def _table_line(plan: _Plan, row: int, names: Sequence[str]) -> str:
    author = f"user_{int(plan.cues.author[row]):04d}"
    sponsored = int(plan.cues.sponsored[row])
    return f"{author}\t{sponsored}\t{plan.post_ids[row]}.json\t{list(names)!r}"


def _write_table(dest: Path, lines: Sequence[str]) -> None:
    """Write `post_info.txt`, including a few posts with truncated JSON."""
    broken = []
    for number in range(_BROKEN_JSON):
        name = f"{1_200_000_000_000_000_000 + number}.json"
        (dest / "json" / name).write_text('{"__typename":"GraphImage","id":"12', encoding="utf-8")
        broken.append(f"user_0000\t0\t{name}\t[]")
    numbered = [f"{number}\t{line}\n" for number, line in enumerate([*lines, *broken])]
    (dest / "post_info.txt").write_text("".join(numbered), encoding="utf-8")


def _write_labels(
    path: Path, plan: _Plan, labels: dict[str, Floats], is_labelled: np.ndarray[Any, Any]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["post_id", *AXES, "reason"])
        for row in np.flatnonzero(is_labelled).tolist():
            scores = [f"{labels[axis][row]:g}" for axis in AXES]
            reason = write_reason(plan.cues, row, is_quoted=bool(plan.quoted[row]))
            out.writerow([plan.post_ids[row], *scores, reason])


def _write_truth(
    path: Path, plan: _Plan, truth: dict[str, Floats], drawn: list[list[Drawn]]
) -> None:
    import pyarrow as pa

    from postbias.posts.shards import write_table

    columns = {"post_id": pa.array(plan.post_ids, pa.string())}
    columns |= {axis: pa.array(truth[axis], pa.float64()) for axis in AXES}
    for field in fields(Cues):
        columns[field.name] = pa.array(getattr(plan.cues, field.name))
    columns[OBJECTS] = objects_column([[objects for objects, _ in post] for post in drawn])
    columns[STATES] = states_column([[state for _, state in post] for post in drawn])
    if plan.quoted.any():
        columns["quoted"] = pa.array(plan.quoted)
    table = pa.table(columns)
    write_table(table, path, table.schema)
