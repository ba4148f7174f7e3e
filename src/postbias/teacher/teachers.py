"""Ask the teacher of the params for labels of any posts, in the sample or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.reasons import RejectReason
from postbias.teacher.labels import SampleLabels
from postbias.teacher.recorded_labels import read_recorded_labels
from postbias.teacher.rubric import Rubric


def request_labels(
    paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]
) -> SampleLabels:
    """Label posts with the teacher that `annotate.teacher` names.

    Args:
        paths: The repository.
        params: The group `annotate`.
        rubric: The rubric.
        post_ids: Posts of the corpus.

    Returns:
        A label or reject for every post.

    Raises:
        LabelsError: If recorded labels cannot be read.
        TeacherError: If the endpoint cannot answer all requests; replies so far are kept.
    """
    if params.annotate.teacher == "openai":
        # Imports the openai package, which takes a second.
        from postbias.teacher.labelling_run import label_with_endpoint

        endpoint = params.annotate.endpoint.model_copy(update={"repeats": 1, "repeat_share": 0.0})
        annotate = params.annotate.model_copy(update={"endpoint": endpoint})
        changed = params.model_copy(update={"annotate": annotate})
        return label_with_endpoint(paths, changed, rubric, post_ids, posts=paths.posts)
    assert params.annotate.labels is not None
    return read_labels(paths.root / params.annotate.labels, rubric, post_ids)


def read_labels(file: Path, rubric: Rubric, post_ids: Sequence[str]) -> SampleLabels:
    """Read recorded labels of some posts; those of other posts are ignored.

    Args:
        file: A CSV or Parquet file.
        rubric: The rubric.
        post_ids: The posts.

    Returns:
        A label or reject for every post.

    Raises:
        LabelsError: If the file cannot be read.
    """
    wanted = frozenset(post_ids)
    recorded = read_recorded_labels(file, rubric, wanted, wanted)
    rejects = [one for one in recorded.rejects if one.reason is not RejectReason.UNKNOWN_POST]
    return SampleLabels(recorded.labels, rejects, {"name": recorded.teacher})
