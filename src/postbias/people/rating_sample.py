"""Draw the posts that people rate, each with its inclusion probability.

The sampling frame are the posts of the first round of the sample that have a label: the teacher's
answer is known for every rated post, and later rounds of active sampling do not change how much a
rated post represents. It is stratified by the band of the student's score, with equally many
posts from each band: high posts are rare, and a simple random sample has hardly any. Without scores
all posts are one stratum; without labels the frame is the whole first round.
"""

from __future__ import annotations

import csv
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import CorpusError, InputError
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.rating_records import RatingItem
from postbias.posts.sampling_phases import allocate_to_strata
from postbias.posts.schema import FIRST_ROUND, SAMPLE
from postbias.posts.shards import list_shards, read_posts, read_table
from postbias.scoring.artifact import Artifact
from postbias.scoring.post_scores import OK

_ALL, _INCLUDED = "all", "included"


def draw_rating_sample(paths: Paths, params: Params) -> tuple[RatingItem, ...]:
    """Draw the posts to rate and assign them to raters.

    Args:
        params: `seed` and the group `rating`.

    Returns:
        `rating.n` posts, or all there are, and those of `rating.include` before them.

    Raises:
        CorpusError: If there is no post to draw.
        InputError: If the file of posts to include cannot be used.
        SchemaError: If a stage's output is missing or damaged.
    """
    rating = params.rating
    included = _read_included(paths.root / rating.include) if rating.include else []
    _check_known(paths, included)
    probability, stratum = _read_frame(paths)
    frame = [post_id for post_id in probability if post_id not in set(included)]
    if not frame:
        raise CorpusError("no labelled post to rate", do="run `dvc repro` first")
    sizes = Counter(stratum.get(post_id, _ALL) for post_id in frame)
    names = sorted(sizes)
    n = max(len(names), min(rating.n, len(frame)))
    allocated = dict(
        zip(names, allocate_to_strata(np.array([sizes[s] for s in names]), n), strict=True)
    )
    key = str(params.seed).encode()
    frame.sort(key=lambda p: blake2b(p.encode(), key=key, person=b"rating").digest())
    items = [RatingItem(post_id, _INCLUDED, 1, 1.0, None) for post_id in included]
    drawn: Counter[str] = Counter()
    for post_id in frame:
        name = stratum.get(post_id, _ALL)
        if drawn[name] < allocated[name]:
            drawn[name] += 1
            p = probability[post_id] * allocated[name] / sizes[name]
            items.append(RatingItem(post_id, name, sizes[name], float(p), None))
    n_shared = round(rating.overlap * n)
    return tuple(
        item
        if place < n_shared + len(included)
        else RatingItem(
            item.post_id, item.stratum, item.stratum_posts, item.probability, place % rating.raters
        )
        for place, item in enumerate(items)
    )


def _read_frame(paths: Paths) -> tuple[dict[str, float], dict[str, str]]:
    """Read the posts that may be drawn: their inclusion probabilities, and the bands of scores."""
    sample = read_table(paths.sample, SAMPLE, ["post_id", "probability", "round"])
    sample = sample.filter(pc.equal(sample["round"], FIRST_ROUND)).drop_columns("round")
    if paths.labels.exists():
        labels = read_table(paths.labels)
        labelled = labels.filter(pc.equal(labels["status"], OK))["post_id"].combine_chunks()
        sample = sample.filter(pc.is_in(sample["post_id"], value_set=labelled))
    probability = dict(zip(*(column.to_pylist() for column in sample.columns), strict=True))
    if not paths.scores.is_dir():
        return probability, {}
    axis = Artifact.open(paths.champion).manifest.axes[0]
    stratum: dict[str, str] = {}
    for shard in list_shards(paths.scores):
        scores = read_table(shard, columns=["post_id", axis.name, "status"])
        scores = scores.filter(pc.equal(scores["status"], OK))
        values = zip(scores["post_id"].to_pylist(), scores[axis.name].to_pylist(), strict=True)
        stratum.update((p, axis.band(value)) for p, value in values if p in probability)
    return {p: value for p, value in probability.items() if p in stratum}, stratum


def _read_included(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            ids = [row["post_id"] for row in rows if row.get("post_id")]
            if "post_id" not in (rows.fieldnames or ()):
                raise InputError(
                    f"{path}, named by rating.include, has no column post_id",
                    seen=", ".join(rows.fieldnames or ()),
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}, named by rating.include, cannot be read: {error}",
            do="name a CSV file with a column post_id, or set rating.include to null",
        ) from error
    return list(dict.fromkeys(ids))


def _check_known(paths: Paths, post_ids: list[str]) -> None:
    known = read_posts(paths.posts, ["post_id"])["post_id"] if post_ids else None
    if known is None:
        return
    wanted = pa.array(post_ids)
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=known.combine_chunks())))
    if len(unknown):
        raise InputError(
            f"{len(unknown)} posts of rating.include are not in {paths.posts}",
            seen=unknown[0].as_py(),
            do="remove them from the file",
        )
