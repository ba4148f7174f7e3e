"""What an explanation costs, and how often it finds the planted cues of the demo.

Cost: an explanation of a post with a caption and an image by ResNet-18 at 224 px and DistilBERT,
int8, with random weights, which do not affect speed, as ratio to one score of the same post in the
same process. Cues: every test post of the repository explained by its champion, and the share of
posts in which the champion itself reacts to the planted cue. For the words of a claim: masking all
of them changes the score at least as much as masking any other as many adjacent words. For a
planted object, in posts with one image: filling its box lowers the score at least as much as
filling any box of the same size that touches no object.

    python benchmarks/explanations.py [--threads 2] [--posts 20] [--without-cost] [--fold test]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from postbias.evaluation.labelled_folds import load_labelled_folds, read_inputs
from postbias.evaluation.planted_cues import (
    PlantedCues,
    find_planted_objects,
    find_words,
    read_planted_cues,
)
from postbias.explanation.explain import explain_post, list_read_words
from postbias.explanation.image_regions import Region
from postbias.explanation.post_variants import Variant, VariantScorer, read_post_parts
from postbias.explanation.text_spans import mask_spans
from postbias.paths import Paths
from postbias.scoring.post_scores import PostInput
from postbias.scoring.scorer import Scorer
from postbias.scoring.text_inputs import read_caption

_STEP_PX = 4

Json = dict[str, Any]


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--posts", type=int, default=20)
    parser.add_argument("--without-cost", action="store_true")
    parser.add_argument("--fold", choices=("valid", "calib", "test"), default="test")
    options = parser.parse_args()
    result: Json = {} if options.without_cost else {"cost": measure_cost(options)}
    paths = Paths(Path.cwd(), Path.cwd())
    if (paths.root / "build/champion").is_dir():
        result["planted"] = measure_planted(paths, options)
    print(json.dumps(result, indent=2, sort_keys=True))


def measure_cost(options: argparse.Namespace) -> Json:
    """Time scores and explanations in turn."""
    from bulk_scoring import make_student, real_captions  # imports torch
    from photographs import draw_photographs

    captions, files = real_captions(options.posts), draw_photographs(options.posts)
    with tempfile.TemporaryDirectory() as name:
        _, _, artifact = make_student(Path(name) / "student", captions, files)
        with Scorer.open(artifact.folder, threads=options.threads) as scorer:
            posts = [PostInput(c, (f,)) for c, f in zip(captions, files, strict=True)]
            scorer.score(posts[:1])
            seconds, calls = [], []
            for post in posts:
                clocks = [_clocks()]
                scorer.score([post])
                clocks.append(_clocks())
                calls.append(explain_post(scorer, post).n_calls)
                seconds.append(np.diff([*clocks, _clocks()], axis=0))
    (score_s, score_cpu_s), (explain_s, explain_cpu_s) = np.median(seconds, axis=0)
    return {
        "ratio_to_one_score": round(explain_s / score_s, 1),
        "ratio_of_cpu_time": round(explain_cpu_s / score_cpu_s, 1),
        "explain_cpu_s": round(explain_cpu_s, 3),
        "score_s": round(score_s, 4),
        "explain_s": round(explain_s, 3),
        "slowest_explain_s": round(max(each[1, 0] for each in seconds), 3),
        "max_calls": max(calls),
        "posts": len(posts),
        "threads": options.threads,
    }


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def measure_planted(paths: Paths, options: argparse.Namespace) -> Json:
    """Explain the posts of a fold, and look for their planted cues."""
    with Scorer.open(paths.root / "build/champion", threads=options.threads) as scorer:
        fold = load_labelled_folds(paths, scorer.manifest.axes)[options.fold]
        posts = read_inputs(paths, fold, np.arange(len(fold)))
        ids = [fold.post_ids[row] for row in posts]
        planted = read_planted_cues(paths, ids, [read_caption(post) for post in posts.values()])
        if planted is None:
            return {}
        found = [_find(scorer, p, c) for p, c in zip(posts.values(), planted, strict=True)]
    words, objects = ([each[key] for each in found if key in each] for key in ("words", "objects"))
    tested = [each for each in found if "reacts" in each]
    heard = [each["words"] for each in found if each.get("reacts_to_words")]
    return {
        "fold": options.fold,
        "words": {
            "n": len(words),
            "found": round(float(np.mean(words)), 3),
            "champion_reacts": round(len(heard) / len(words), 3),
            "found_where_it_reacts": round(float(np.mean(heard)), 3),
        },
        "objects": {"n": len(objects), "found": round(float(np.mean(objects)), 3)},
        "one_image": {
            "n": len(tested),
            "champion_reacts": round(float(np.mean([each["reacts"] for each in tested])), 3),
            "found_where_it_reacts": round(
                float(np.mean([each["objects"] for each in tested if each["reacts"]])), 3
            ),
        },
    }


def _find(scorer: Scorer, post: PostInput, cues: PlantedCues) -> Mapping[str, bool]:
    explanation = explain_post(scorer, post)
    words = find_words(explanation.words, cues)
    objects = find_planted_objects(explanation.regions, cues)
    found = {}
    if words is not None:
        found["words"] = words.is_found
        found["reacts_to_words"] = _does_react_to_words(scorer, post, cues)
    if objects is not None:
        found["objects"] = objects.is_found
        if len(post.images) == 1:
            found["reacts"] = _does_react(scorer, post, cues)
    return found


def _does_react_to_words(scorer: Scorer, post: PostInput, cues: PlantedCues) -> bool:
    read = read_post_parts(scorer, post)
    words = list_read_words(scorer, read)
    claim = [
        word
        for word in words
        if any(word.start < end and start < word.end for start, end in cues.words)
    ]
    runs = [words[at : at + len(claim)] for at in range(len(words) - len(claim) + 1)]
    others = [run for run in runs if not set(run) & set(claim)]
    masked = [mask_spans(read.text, run) for run in (claim, *others)]
    variants = [read.whole, *(Variant(text, read.whole.images) for text in masked)]
    scores = VariantScorer(scorer, read).score(variants)[:, 0]
    changes = np.abs(scores[1:] - scores[0])
    return bool(changes[0] >= changes[1:].max(initial=0.0))


def _does_react(scorer: Scorer, post: PostInput, cues: PlantedCues) -> bool:
    read = read_post_parts(scorer, post)
    side = len(read.images[0])
    boxes = [Region(*(round(side * edge) for edge in box)) for _, box in cues.boxes]
    width, height = boxes[0].right - boxes[0].left, boxes[0].bottom - boxes[0].top
    others = [
        Region(x, y, x + width, y + height)
        for x in range(0, side - width + 1, _STEP_PX)
        for y in range(0, side - height + 1, _STEP_PX)
    ]
    others = [region for region in others if not any(_touches(region, box) for box in boxes)]
    variants = [Variant(read.text, ((0, (region,)),)) for region in (*boxes, *others)]
    scores = VariantScorer(scorer, read).score(variants)[:, 0]
    return bool(scores[: len(boxes)].min() <= scores[len(boxes) :].min(initial=np.inf))


def _touches(one: Region, two: Region) -> bool:
    return (
        one.left < two.right
        and two.left < one.right
        and one.top < two.bottom
        and two.top < one.bottom
    )


if __name__ == "__main__":
    main()
