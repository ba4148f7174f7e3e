"""Public data sets of real captions with binary labels, as tasks: what to learn from, what to test.

Each partition becomes a repository of its own, prepared by the pipeline's stages up to `split`, so
that every method gets the same labelled posts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.importers import import_posts
from postbias.posts.sampling import sample
from postbias.posts.split import split
from postbias.teacher.annotate import annotate

ROOT = Path(__file__).resolve().parents[1]
LABEL = "bias"  # 0 or 10

#: Fine-tuning of a pretrained encoder by the keys of `train` that `labelled-text-pretrained.yaml`
#: leaves off: the head first, lower rates for lower layers, averaged weights.
BY_LAYER: dict[str, Any] = {
    "head": "linear",
    "epochs": 6,
    "evaluations_per_epoch": 3,
    "patience": 6,
    "average": 0.1,
    "lr_text": 2e-4,
    "layer_decay": 0.1,
}

_N_FEW, _N_DRAWS = 1000, 3
_N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Task:
    """A data set and how it is divided.

    Attributes:
        name: Name in the table.
        partitions: One table for each training run: `post_id`, `caption`, `bias` and `fold`.
        unlabelled: Posts that may serve without their labels, if they are in no fold.
    """

    name: str
    partitions: tuple[pd.DataFrame, ...]
    unlabelled: pd.DataFrame | None = None

    def with_unlabelled(self, partition: pd.DataFrame) -> pd.DataFrame:
        """Add the posts that are in no fold of a partition, without labels and folds."""
        assert self.unlabelled is not None
        others = self.unlabelled[~self.unlabelled["post_id"].isin(partition["post_id"])]
        return pd.concat([partition, others.assign(fold="", **{LABEL: np.nan})])

    def first(self, n: int | None) -> Task:
        """Keep the first `n` partitions; all if it is None."""
        kept = self.partitions[:n]
        name = (
            self.name
            if len(kept) == len(self.partitions)
            else f"{self.name} ({len(kept)} of {len(self.partitions)})"
        )
        return replace(self, name=name, partitions=kept)

    @property
    def posts(self) -> pd.DataFrame:
        """Label of every post that is tested at least once, by post id."""
        tests = [table[table["fold"] == "test"] for table in self.partitions]
        return pd.concat(tests).drop_duplicates("post_id").set_index("post_id")[[LABEL]]


def _edos(data: Path) -> Task:
    return Task("EDOS", (_read(data / "edos.csv"),))


def _edos_with_few_labels(data: Path) -> Task:
    """Draw labels from the given train and dev folds; the test fold is the given one."""
    posts = _read(data / "edos.csv")
    is_test = posts["fold"] == "test"
    candidates = posts[~is_test].assign(fold="train")
    tables = (
        pd.concat([candidates.sample(_N_FEW, random_state=draw), posts[is_test]])
        for draw in range(_N_DRAWS)
    )
    return Task(f"EDOS, {_N_FEW:,} labels", tuple(tables), candidates)


def _instagram(data: Path) -> Task:
    """Divide the posts into stratified folds, each of which is tested once."""
    posts = _read(data / "instagram_stereotypes.csv")
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=0)
    tables = []
    for _, test in folds.split(posts, posts[LABEL]):
        is_test = np.isin(np.arange(len(posts)), test)
        tables.append(posts.assign(fold=np.where(is_test, "test", "train")))
    return Task("Instagram stereotypes", tuple(tables))


#: Readers of the tasks by the name that the command line uses, quickest first.
TASKS: dict[str, Callable[[Path], Task]] = {
    "instagram": _instagram,
    "edos-1000": _edos_with_few_labels,
    "edos": _edos,
}

#: Files that the tasks read.
FILES = ("edos.csv", "instagram_stereotypes.csv")


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, dtype={"post_id": str, "caption": str})


def prepare_repository(root: Path, partition: pd.DataFrame, params: Params) -> Paths:
    """Import a partition, read its labels and assign folds, with the code of the stages.

    Args:
        root: An empty folder.
        partition: One of `Task.partitions`.
        params: Parameters that read labels and folds from `data/labels.csv`.

    Returns:
        The repository, ready for training.
    """
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copytree(ROOT / "rubrics", root / "rubrics")
    export = root / "posts.csv"
    partition[["post_id", "caption"]].to_csv(export, index=False)
    paths = Paths(root, root)
    import_posts("table", export, paths.data)
    labelled = partition[partition[LABEL].notna()]
    labels = labelled[["post_id", LABEL, "fold"]]
    labels.to_csv(paths.data / "labels.csv", index=False)
    for stage in (sample, annotate, split):
        stage(paths, params)
    return paths


def is_positive(labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Convert labels of 0 or 10 to a mask."""
    return labels > 5
