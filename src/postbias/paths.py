"""The files and folders of a postbias repository.

There are two roots, which are the same folder except under `dvc exp run --temp` and `--queue`: they
run the stages in a temporary copy of the repository, while `store/` and `mlruns/` stay in the main
checkout, which `DVC_ROOT` names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from postbias.errors import InputError


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and folders of one repository.

    Attributes:
        root: Folder with `dvc.yaml` and everything that DVC tracks.
        persistent_root: Folder with `store/` and `mlruns/`, which outlive a run.
    """

    root: Path
    persistent_root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Paths:
        """Find the repository that contains a folder.

        Args:
            start: The folder; the current one by default.

        Returns:
            The paths of the nearest parent folder with a `dvc.yaml`.

        Raises:
            InputError: If there is none.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file():
                main_checkout = os.environ.get("DVC_ROOT")
                return cls(folder, Path(main_checkout).resolve() if main_checkout else folder)
        raise InputError(
            "not inside a postbias repository: no dvc.yaml in this folder or its parents",
            seen=str(start),
            do="change to the folder of your clone",
        )

    @property
    def params(self) -> Path:
        """Parameters of the pipeline."""
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        """Imported posts and recorded labels, tracked by `data.dvc`; no stage writes here."""
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
        """Posts sampled for labelling, with inclusion probabilities."""
        return self.build / "sample" / "posts.parquet"

    @property
    def sample_rounds(self) -> Path:
        """Posts of later rounds of an active sample, in git."""
        return self.root / "samples" / "rounds.csv"

    @property
    def sample_frame(self) -> Path:
        """Ids of the posts that the sample was drawn from."""
        return self.build / "sample" / "frame.parquet"

    @property
    def sampled_corpus(self) -> Path:
        """What labelling, training and evaluation read of `data/`: the sampled posts, and files."""
        return self.build / "sample" / "corpus"

    @property
    def sampled_posts(self) -> Path:
        """Folder of shards with the sampled posts."""
        return self.sampled_corpus / "posts"

    def sampled_file(self, path: str) -> Path:
        """Locate a file for the stages that follow `sample`.

        Args:
            path: Relative to the root.

        Returns:
            The copy in `sampled_corpus` of a file inside `data/`; any other file itself.
        """
        file = self.root / path
        if not file.is_relative_to(self.data):
            return file
        return self.sampled_corpus / file.relative_to(self.data)

    @property
    def labels(self) -> Path:
        """Labels of the sampled posts, valid and rejected."""
        return self.build / "labels.parquet"

    @property
    def label_rejects(self) -> Path:
        """Sampled posts, and rows of a label file, without a valid label, each with its reason."""
        return self.build / "label_rejects.parquet"

    @property
    def variants(self) -> Path:
        """Labels of some posts by variants of the teacher."""
        return self.build / "variants.parquet"

    @property
    def split(self) -> Path:
        """Fold of each labelled post."""
        return self.build / "split.parquet"

    @property
    def students(self) -> Path:
        """Folder with one artifact per modality."""
        return self.build / "students"

    @property
    def out_of_fold(self) -> Path:
        """Folder with the scores of cross-fitted students, one table per modality."""
        return self.build / "out_of_fold"

    @property
    def champion(self) -> Path:
        """Artifact that scoring uses."""
        return self.build / "champion"

    @property
    def nearest_posts(self) -> Path:
        """Embeddings, labels and reasons of the champion's training posts."""
        return self.build / "nearest_posts.parquet"

    @property
    def scores(self) -> Path:
        """Folder of score shards."""
        return self.build / "scores"

    @property
    def cascade(self) -> Path:
        """One decision per scored post, by the teacher or the student."""
        return self.build / "cascade.parquet"

    @property
    def score_rejects(self) -> Path:
        """Posts that could not be scored, each with its reason."""
        return self.build / "score_rejects.parquet"

    @property
    def report(self) -> Path:
        """The report."""
        return self.build / "report.html"

    @property
    def cards(self) -> Path:
        """Folder of the model card and the data sheet."""
        return self.build / "cards"

    @property
    def store(self) -> Path:
        """Folder for what must survive a crash: replies, finished score shards, checkpoints."""
        return self.persistent_root / "store"

    @property
    def replies(self) -> Path:
        """Database of all teacher replies."""
        return self.store / "replies.sqlite"

    @property
    def ratings(self) -> Path:
        """Database of all ratings by people."""
        return self.store / "ratings.sqlite"

    @property
    def image_texts(self) -> Path:
        """Database of the text inside images."""
        return self.store / "image_texts.sqlite"

    @property
    def mlruns(self) -> Path:
        """Folder of MLflow's database and artifacts."""
        return self.persistent_root / "mlruns"
