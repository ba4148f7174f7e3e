"""`postbias.load`: load a student by path or name, to score single posts, tables or streams.

Needs no torch, and MLflow or the hub only for their names. Use `postbias score` for bulk work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast, overload

from postbias.errors import ChampionError, InputError
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.request import answer_row
from postbias.scoring.scorer import PostInput, PostScore, Scorer

if TYPE_CHECKING:
    import pandas as pd

    from postbias.explanation.explanation_records import Explanation
    from postbias.scoring.execution_providers import Device
    from postbias.scoring.manifest import Manifest, Precision

_IN_FLIGHT = 3

#: A post: a `PostInput`, a mapping with `caption`, `image` and `images`, or a caption.
Post = PostInput | Mapping[str, Any] | str


class Model:
    """A loaded student; thread-safe."""

    def __init__(self, scorer: Scorer) -> None:
        """Wrap a scorer; called by `postbias.load`.

        Args:
            scorer: The loaded student.
        """
        self._scorer = scorer

    def __enter__(self) -> Self:
        """Return the model."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the model."""
        self.close()

    def close(self) -> None:
        """Stop the threads; the model cannot be used afterwards."""
        self._scorer.close()

    @property
    def manifest(self) -> Manifest:
        """Manifest of the student: axes, encoders, sizes, intervals."""
        return self._scorer.manifest

    @property
    def digest(self) -> str:
        """Digest of the student's files: the `champion` column of its scores."""
        return self._scorer.artifact.digest

    @overload
    def score(  # type: ignore[overload-overlap] # a caption is an iterable of text, too
        self, posts: Post
    ) -> PostScore: ...

    @overload
    def score(self, posts: pd.DataFrame) -> pd.DataFrame: ...

    @overload
    def score(self, posts: Iterable[Post]) -> Iterator[PostScore]: ...

    def score(
        self, posts: Post | pd.DataFrame | Iterable[Post]
    ) -> PostScore | pd.DataFrame | Iterator[PostScore]:
        """Score one post, a table of posts, or a stream of any length.

        An image is bytes or the path of a file on this machine. A post that cannot be scored raises
        no error and gets no default score: its `status` is the reason.

        Args:
            posts: One post returns one result. A DataFrame with columns `caption`, `image` and
                `images`, each optional, returns a DataFrame with the same index. Any other iterable
                is read lazily, a few batches ahead, in constant memory.

        Returns:
            One result per post, in order.

        Raises:
            InputError: If an item is not a valid post, or an image file cannot be read.
        """
        if isinstance(posts, PostInput | Mapping | str):
            return self._scorer.score([as_post(posts)])[0]
        if hasattr(posts, "to_dict"):
            return self._score_frame(cast("pd.DataFrame", posts))
        if not isinstance(posts, Iterable):
            raise _post_error(posts)
        return self._score_stream(posts)

    def explain(self, post: Post, axis: str | None = None) -> Explanation:
        """Explain the score of one post: the words and image regions that moved it.

        Args:
            axis: The axis to explain; the main axis by default.

        Returns:
            The score and its explanation; `notes` says what was refused or not tested.

        Raises:
            InputError: If it is not a valid post, an image file cannot be read, or the student has
                no such axis.
        """
        from postbias.explanation.nearest_posts import explain_with_nearest

        return explain_with_nearest(self._scorer, as_post(post), axis)

    def _score_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        known = {"caption", "image", "images"}
        if not known & set(frame.columns):
            raise InputError(
                "the table has no caption or image column",
                seen=list(frame.columns),
                allowed=sorted(known),
            )
        rows = frame[[name for name in frame.columns if name in known]].to_dict("records")
        results = self._score_stream(rows)  # type: ignore[arg-type] # keys are columns, all text
        flat = [answer_row(self._scorer.axes, result) for result in results]
        columns = list(answer_row(self._scorer.axes, PostScore("", {}, None, None, 0, "")))
        return pd.DataFrame(flat, index=frame.index, columns=columns)

    def _score_stream(self, posts: Iterable[Post]) -> Iterator[PostScore]:
        waiting: deque[Future[list[PostScore]]] = deque()
        stream = iter(posts)
        pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="batch")
        try:
            while batch := [as_post(post) for post in islice(stream, BATCH_SIZE)]:
                waiting.append(pool.submit(self._scorer.score, batch))
                if len(waiting) == _IN_FLIGHT:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load(
    student: str | Path = "models:/postbias@champion",
    *,
    precision: Precision = "int8",
    threads: int | None = None,
    device: Device = "auto",
) -> Model:
    """Load a student.

    Args:
        student: The folder of an artifact (`build/champion`), or a registered model
            (`models:/postbias@champion`, `models:/postbias/3`), or a repository on the Hugging Face
            Hub (`hf://owner/name`, `hf://owner/name@revision`).
        precision: `int8` or `fp32`.
        threads: Number of threads, by default one per core; does not affect scores.
        device: `cpu`, `cuda`, `coreml`, or `auto` for the fastest available. Scores of different
            devices differ in the last digits.

    Returns:
        The model: `postbias.load("build/champion").score("A caption").scores["bias"].value`.

    Raises:
        ArtifactError: If the folder is incomplete or damaged.
        ChampionError: If the registered model does not exist.
        DeviceError: If the device is not available.
        HubError: If the student cannot be downloaded from the hub.
        MissingExtraError: If the student reads text inside images, without the extra `ocr`, or is
            on the hub, without the extra `hub`.
    """
    return Model(open_scorer(str(student), threads, precision=precision, device=device))


def open_scorer(
    student: str | None,
    threads: int | None,
    *,
    precision: Precision = "int8",
    device: Device = "auto",
) -> Scorer:
    """Open the scorer of a student.

    Args:
        student: A folder, a `models:/` or `hf://` name, or None for the repository's champion.
        threads: Number of threads; None for one per core.

    Raises:
        ArtifactError: If the folder is incomplete or damaged.
        ChampionError: If the student does not exist.
        DeviceError: If the device is not available.
        HubError: If it cannot be downloaded from the hub.
    """
    threads = threads or os.cpu_count() or 1
    return Scorer.open(find_student(student), precision=precision, threads=threads, device=device)


def find_student(student: str | None) -> Path:
    """Find the folder of a student's artifact.

    Args:
        student: A folder, or a `models:/` or `hf://` name; None for the champion of the current
            repository: `build/champion`, else the registered champion.

    Raises:
        ChampionError: If there is no such student.
        HubError: If it cannot be downloaded from the hub.
    """
    from postbias.paths import Paths

    if student is not None and student.startswith("hf://"):
        from postbias.hub.student_download import download_student

        return download_student(student)
    if student is not None and not student.startswith("models:"):
        return Path(student)
    try:
        paths: Paths | None = Paths.find()
    except InputError as error:
        if student is None:
            raise ChampionError(
                "no student was named, and the current folder is not in a postbias repository",
                do="name one: --model FOLDER, or --model models:/postbias@champion",
            ) from error
        paths = None
    if student is None and paths is not None and (paths.champion / "student.json").is_file():
        return paths.champion
    from postbias.tracking.registry import fetch_artifact

    return fetch_artifact(student or "models:/postbias@champion", paths)


def as_post(post: Post) -> PostInput:
    """Convert a caller's post.

    Args:
        post: A `PostInput`, a mapping, or a caption.

    Raises:
        InputError: If it is not a valid post, or an image file cannot be read.
    """
    if isinstance(post, PostInput):
        return post
    if isinstance(post, str):
        return PostInput(post)
    if not isinstance(post, Mapping):
        raise _post_error(post)
    caption, image, images = (
        _none_if_missing(post.get(name)) for name in ("caption", "image", "images")
    )
    if not isinstance(caption, str | None):
        raise InputError("a caption is not text", seen=type(caption).__name__)
    files = ([] if image is None else [image]) + ([] if images is None else list(images))
    return PostInput(caption or "", tuple(_read_image(file) for file in files if file is not None))


def _none_if_missing(value: Any) -> Any:  # noqa: ANN401 - any value of a table cell
    """Return None for a missing cell (None, NaN, NaT, NA)."""
    is_missing = value is None or (not hasattr(value, "__len__") and not _equals_itself(value))
    return None if is_missing else value


def _equals_itself(value: Any) -> bool:  # noqa: ANN401 - any value of a table cell
    try:
        return bool(value == value)  # NaN does not
    except TypeError:  # pandas.NA is neither true nor false
        return False


def _read_image(image: Any) -> bytes:  # noqa: ANN401 - any value of a table cell
    if isinstance(image, Mapping):  # Hugging Face `Image`, as in post shards
        image = image.get("bytes") or b""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the image file {image!s:.200}") from error
    raise InputError("an image is neither bytes nor a path", seen=type(image).__name__)


def _post_error(value: object) -> InputError:
    return InputError(
        "not a valid post",
        seen=type(value).__name__,
        allowed="a caption, a mapping with caption, image and images, a PostInput, a DataFrame, "
        "or an iterable of posts",
    )
