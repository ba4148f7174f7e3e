"""Ask the teacher of the params for labels of posts outside the sample."""

from __future__ import annotations

from collections.abc import Sequence

from postbias.params import Params
from postbias.paths import Paths
from postbias.posts.shards import read_posts
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
        return label_with_endpoint(
            paths, params.model_copy(update={"annotate": annotate}), rubric, post_ids
        )
    return read_labels(paths, params.annotate.labels, rubric, post_ids)


def read_labels(
    paths: Paths, file: str | None, rubric: Rubric, post_ids: Sequence[str]
) -> SampleLabels:
    """Read recorded labels of posts.

    Args:
        paths: The repository.
        file: The file, relative to it.
        rubric: The rubric.
        post_ids: Posts of the corpus.

    Raises:
        LabelsError: If the file cannot be read.
    """
    assert file is not None
    corpus = frozenset(read_posts(paths.posts, ["post_id"])["post_id"].to_pylist())
    recorded = read_recorded_labels(paths.root / file, rubric, frozenset(post_ids), corpus)
    return SampleLabels(recorded.labels, recorded.rejects, {"name": recorded.teacher})
