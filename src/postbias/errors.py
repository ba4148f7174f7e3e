"""The exceptions of postbias.

    PostbiasError                 base class; the CLI prints one line and exits with code 1
    ├── ParamsError               invalid key or value in params.yaml
    ├── InputError                a file or folder named by the user is unusable
    │   ├── LayoutError           an export whose layout is not recognised
    │   ├── RaterLimitError       a rater for whom there is no place left
    │   └── SchemaError           a table with unexpected columns or types
    ├── RubricError               invalid rubric
    ├── LabelsError               labels missing, out of range or for unknown posts
    ├── CorpusError               too few posts, authors, images or labels
    ├── CountsError               input rows do not equal output rows plus rejects
    ├── TeacherError              the teacher cannot be queried (see postbias.teacher)
    ├── UnreadableImageError      an image cannot be decoded; callers turn it into a reject
    ├── WeightsError              pretrained weights cannot be loaded
    ├── ArtifactError             a student's artifact is incomplete or damaged
    ├── DeviceError               the requested device is not available
    ├── GateError                 no student meets the requirements for promotion
    ├── ChampionError             no champion, or a different one from the pipeline's
    ├── TrackingError             MLflow or DVC state cannot be read
    ├── ReproductionError         the pipeline cannot be reproduced in a fresh clone
    ├── StorageError              disk full, or a location that cannot be written
    ├── HubError                  a repository on the Hugging Face Hub cannot be used
    ├── ClusterError              a Ray cluster is unusable or keeps losing workers
    └── MissingExtraError         an optional package is not installed

A post that cannot be read is not an error but a reject: see `postbias.posts.reasons.RejectReason`.
"""

from __future__ import annotations


class PostbiasError(Exception):
    """Base class of all errors that a user can act on.

    The message states the problem, the value seen, what is allowed and what to do, as far as they
    apply.
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
            what: The problem, without a full stop.
            seen: The offending value; never a secret, a caption or the content of a file.
            allowed: Accepted values.
            do: What the user can do, as an imperative.
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
    """Invalid key or value in params.yaml."""


class InputError(PostbiasError):
    """A file or folder named by the user is unusable."""


class LayoutError(InputError):
    """An export whose layout is not recognised."""


class RaterLimitError(InputError):
    """A rater for whom there is no place left; the message names the others."""


class SchemaError(InputError):
    """A table with unexpected columns or types."""


class RubricError(PostbiasError):
    """Invalid rubric."""


class LabelsError(PostbiasError):
    """Labels missing, out of range or for unknown posts."""


class CorpusError(PostbiasError):
    """Too few posts, authors, images or labels."""


class CountsError(PostbiasError):
    """Input rows do not equal output rows plus rejects."""


class TeacherError(PostbiasError):
    """The teacher cannot be queried."""


class UnreadableImageError(PostbiasError):
    """An image cannot be decoded; callers turn this into a reject.

    Attributes:
        reason: The `postbias.posts.reasons.RejectReason` of the reject.
        detail: The decoder's message, in one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Compose the message.

        Args:
            reason: A `postbias.posts.reasons.RejectReason`.
            detail: The decoder's message, in one line.
        """
        self.reason = reason
        self.detail = detail
        super().__init__(f"image is {reason}: {detail}")


class WeightsError(PostbiasError):
    """Pretrained weights cannot be loaded."""


class ArtifactError(PostbiasError):
    """A student's artifact is incomplete or damaged."""


class DeviceError(PostbiasError):
    """The requested device is not available."""


class GateError(PostbiasError):
    """No student meets the requirements for promotion."""


class ChampionError(PostbiasError):
    """No champion, or a different one from the pipeline's."""


class TrackingError(PostbiasError):
    """MLflow or DVC state cannot be read."""


class ReproductionError(PostbiasError):
    """The pipeline cannot be reproduced in a fresh clone."""


class StorageError(PostbiasError):
    """Disk full, or a location that cannot be written."""


class HubError(PostbiasError):
    """A repository on the Hugging Face Hub cannot be used."""


class ClusterError(PostbiasError):
    """A Ray cluster is unusable or keeps losing workers."""


class MissingExtraError(PostbiasError):
    """An optional package is not installed."""
