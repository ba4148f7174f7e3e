"""Every error that postbias raises on purpose.

    PostbiasError                 one line for the user, exit code 1
    ├── ParamsError               a wrong key or value in params.yaml
    ├── InputError                a file or folder that the user named cannot be used
    │   ├── LayoutError           an export that is of no known layout
    │   └── SchemaError           a table with other columns or types than agreed
    ├── RubricError               a rubric that cannot be used
    ├── LabelsError               labels that are missing, out of range or for unknown posts
    ├── CorpusError               too few posts, authors, images or labels for what was asked
    ├── CountsError               rows in is not rows out plus rejects
    ├── TeacherError              the teacher cannot be asked (see postbias.teacher)
    ├── UnreadableImageError      an image that cannot be decoded; callers make it a reject
    ├── WeightsError              pretrained weights that cannot be had
    ├── ArtifactError             a student folder that is incomplete or damaged
    ├── DeviceError               a device that scoring was told to use and that is not there
    ├── GateError                 no student may become champion, and why
    ├── ChampionError             no champion, or another one than the pipeline built
    ├── TrackingError             MLflow or DVC state that cannot be read
    ├── ReproductionError         a pipeline that cannot be run again in a fresh clone
    ├── StorageError              a disk that is full or a place that cannot be written
    ├── ClusterError              a Ray cluster that cannot be used, or keeps losing workers
    └── MissingExtraError         an optional package that is not installed

A post that cannot be read is not an error but a reject: see `postbias.posts.schema.Reason`.
"""

from __future__ import annotations


class PostbiasError(Exception):
    """Base of all errors that a user can act on.

    The message says what was wrong, the value seen, what is allowed and what to do; parts that do
    not apply are left out.
    """

    def __init__(
        self,
        what: str,
        *,
        seen: object = None,
        allowed: object = None,
        do: str | None = None,
    ) -> None:
        """Compose the message.

        Args:
            what: What was wrong, without a full stop.
            seen: The offending value; never a secret, a caption or a whole file.
            allowed: What is accepted in its place.
            do: What the user can do next, as an imperative.
        """
        parts = [what]
        if seen is not None:
            parts.append(f"saw {seen!r}" if isinstance(seen, str) else f"saw {seen}")
        if allowed is not None:
            parts.append(f"allowed: {allowed}")
        if do is not None:
            parts.append(do)
        super().__init__("; ".join(parts))


class ParamsError(PostbiasError):
    """A wrong key or value in params.yaml."""


class InputError(PostbiasError):
    """A file or folder that the user named cannot be used."""


class LayoutError(InputError):
    """An export that is of no known layout."""


class SchemaError(InputError):
    """A table with other columns or types than agreed."""


class RubricError(PostbiasError):
    """A rubric that cannot be used."""


class LabelsError(PostbiasError):
    """Labels that are missing, out of range or for unknown posts."""


class CorpusError(PostbiasError):
    """Too few posts, authors, images or labels for what was asked."""


class CountsError(PostbiasError):
    """Rows in is not rows out plus rejects."""


class TeacherError(PostbiasError):
    """The teacher cannot be asked."""


class UnreadableImageError(PostbiasError):
    """An image that cannot be decoded; whoever asked for it turns it into a reject.

    Attributes:
        reason: The `postbias.posts.reasons.Reason` of the reject.
        detail: What the decoder said, in one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Remember the reason.

        Args:
            reason: A `postbias.posts.reasons.Reason`.
            detail: What the decoder said, in one line.
        """
        self.reason = reason
        self.detail = detail
        super().__init__(f"image is {reason}: {detail}")


class WeightsError(PostbiasError):
    """Pretrained weights that cannot be had."""


class ArtifactError(PostbiasError):
    """A student folder that is incomplete or damaged."""


class DeviceError(PostbiasError):
    """A device that scoring was told to use and that is not there."""


class GateError(PostbiasError):
    """No student may become champion."""


class ChampionError(PostbiasError):
    """No champion, or another one than the pipeline built."""


class TrackingError(PostbiasError):
    """MLflow or DVC state that cannot be read."""


class ReproductionError(PostbiasError):
    """A pipeline that cannot be run again in a fresh clone."""


class StorageError(PostbiasError):
    """A disk that is full or a place that cannot be written."""


class ClusterError(PostbiasError):
    """A Ray cluster that cannot be used, or keeps losing workers."""


class MissingExtraError(PostbiasError):
    """An optional package that is not installed."""
