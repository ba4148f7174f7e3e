"""Where things lie in a postbias repository.

Knows names only: it makes no folder and opens no file. Two roots matter. The working root holds
what DVC tracks; the memory root holds what must outlive a run (`store/`, `mlruns/`) and differs
from it only in `dvc exp run --temp` and `--queue`, which run in a temporary tree while `DVC_ROOT`
names the main checkout.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one repository.

    Attributes:
        root: The folder of `dvc.yaml`.
        memory: The folder of `store/` and `mlruns/`.
    """

    root: Path
    memory: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Paths:
        """Find the repository around a folder.

        Args:
            start: Where to begin looking upwards; the current folder if not given.

        Returns:
            The paths of the nearest folder upwards that has a `dvc.yaml`.

        Raises:
            InputError: If no folder upwards has one.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "dvc.yaml").is_file():
                memory = os.environ.get("DVC_ROOT")
                return cls(folder, Path(memory).resolve() if memory else folder)
        raise InputError(
            "not inside a postbias repository: no dvc.yaml here or above",
            seen=str(here),
            do="change to your clone",
        )

    @property
    def params(self) -> Path:
        """The parameters of the pipeline."""
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        """What `data.dvc` tracks: imported posts and recorded labels. No stage writes here."""
        return self.root / "data"

    @property
    def posts(self) -> Path:
        """Folder of post shards."""
        return self.data / "posts"

    @property
    def build(self) -> Path:
        """Folder of stage outputs."""
        return self.root / "build"

    @property
    def reports(self) -> Path:
        """Folder of small, committed stage results."""
        return self.root / "reports"

    @property
    def sample(self) -> Path:
        """The posts chosen for labelling, with inclusion probabilities."""
        return self.build / "sample" / "posts.parquet"

    @property
    def labels(self) -> Path:
        """The snapshot of valid and rejected labels."""
        return self.build / "labels.parquet"

    @property
    def label_rejects(self) -> Path:
        """What gave no label: rows of a file of labels, or posts, each with its reason."""
        return self.build / "label_rejects.parquet"

    @property
    def split(self) -> Path:
        """The fold of each labelled post."""
        return self.build / "split.parquet"

    @property
    def students(self) -> Path:
        """Folder of one artifact per modality."""
        return self.build / "students"

    @property
    def champion(self) -> Path:
        """The artifact that scoring uses."""
        return self.build / "champion"

    @property
    def scores(self) -> Path:
        """Folder of score shards."""
        return self.build / "scores"

    @property
    def score_rejects(self) -> Path:
        """The posts that could not be scored, each with its reason."""
        return self.build / "score_rejects.parquet"

    @property
    def report(self) -> Path:
        """The page that a person takes away."""
        return self.build / "report.html"

    @property
    def cards(self) -> Path:
        """Folder of the model card and the data sheet."""
        return self.build / "cards"

    @property
    def store(self) -> Path:
        """What must survive a crash: replies, finished score shards, checkpoints."""
        return self.memory / "store"

    @property
    def replies(self) -> Path:
        """Every teacher reply ever paid for."""
        return self.store / "replies.sqlite"

    @property
    def mlruns(self) -> Path:
        """MLflow's database and artifacts."""
        return self.memory / "mlruns"
