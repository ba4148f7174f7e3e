"""Replace the videos and HEIF images of posts by JPEG images, when posts are imported.

Shards only contain images that every installation of postbias decodes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from postbias.posts.file_kinds import FileKind
from postbias.posts.frame_paths import escape_path, frame_path, frame_time_s
from postbias.posts.importers.records import (
    FrameFile,
    ImageFault,
    ImageFile,
    ImportedPost,
    MediaFile,
    Record,
    split_images,
)
from postbias.posts.importers.worker_process import (
    WorkerCrashError,
    WorkerProcess,
    WorkerTimeoutError,
)
from postbias.posts.reasons import RejectReason

#: Frames per video; the student and the teacher of the demo use four images of a post.
DEFAULT_FRAMES = 4
MAX_FRAMES = 32

#: The largest video that is opened, four times the limit of TikTok's app.
MAX_VIDEO_BYTES = 2**30

#: Time for one file; four frames of a 4K video take a few seconds.
TIMEOUT_S = 60.0

#: A worker that crashes this often in a row is not started again.
_MAX_CRASHES = 20

_WORKER = (sys.executable, "-m", "postbias.posts.importers.media_worker")

_MODULES = {"video": "av", "heif": "pillow_heif"}


def installed_extras() -> tuple[str, ...]:
    """List the extras for videos and HEIF images that are installed."""
    return tuple(
        extra for extra, module in _MODULES.items() if importlib.util.find_spec(module) is not None
    )


class MediaConverter:
    """Converts the files of posts in a worker process."""

    def __init__(
        self,
        n_frames: int = DEFAULT_FRAMES,
        *,
        timeout_s: float = TIMEOUT_S,
        command: Sequence[str] = _WORKER,
    ) -> None:
        """Set the options; the process starts with the first file.

        Args:
            n_frames: Maximum number of frames per video.
            timeout_s: Time for one file.
            command: Starts the worker process.
        """
        self._n_frames = n_frames
        self._timeout_s = timeout_s
        self._worker = WorkerProcess(command)
        self._n_crashes = 0
        self._extras = installed_extras()

    def convert(self, record: Record) -> Record:
        """Replace the videos and HEIF images of a post.

        Args:
            record: A post or a reject.

        Returns:
            The record; a post has frames in the place of a video, and a fault for each file that
            could not be converted. Without a known media type, a post of one video is a `video`.
        """
        if not isinstance(record, ImportedPost) or not record.images:
            return record
        if not any(map(_is_special, record.images)):
            return record
        images = [result for image in record.images for result in self._convert_image(image)]
        files, faults = split_images(images)
        frames = [file for file in files if isinstance(file, FrameFile)]
        is_video = len(record.images) == 1 and bool(frames)
        measured_s = frames[0].duration_s or None if is_video else None
        return replace(
            record,
            images=files,
            image_faults=(*record.image_faults, *faults),
            media_type=record.media_type or ("video" if is_video else None),
            duration_s=record.duration_s or measured_s,
        )

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def __enter__(self) -> MediaConverter:
        """Return the converter."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker process."""
        self.close()

    def _convert_image(self, image: ImageFile) -> list[ImageFile | ImageFault]:
        if not isinstance(image, MediaFile):
            return [replace(image, path=escape_path(image.path))]
        extra = "video" if image.kind.is_video else "heif"
        if extra not in self._extras:
            what = "a video" if extra == "video" else "a HEIF image"
            detail = f"{what}; to read it: pip install 'postbias[{extra}]', then import again"
            return [ImageFault(RejectReason.MISSING_EXTRA, f"{image.path}: {detail}")]
        if fault := _check_size(image):
            return [fault]
        return self._ask(image)

    def _ask(self, image: MediaFile) -> list[ImageFile | ImageFault]:
        if self._n_crashes >= _MAX_CRASHES:
            detail = f"{image.path}: not tried, because the decoder crashed {_MAX_CRASHES} times"
            return [ImageFault(RejectReason.DAMAGED, f"{detail} in a row")]
        request = {
            "kind": image.kind.value,
            "file": image.file,
            "n_frames": self._n_frames,
        }
        try:
            reply, contents = self._worker.ask(request, image.data, self._timeout_s)
            results = _read_reply(image, reply, contents)
        except WorkerTimeoutError as error:
            return [ImageFault(RejectReason.TIMEOUT, f"{image.path}: decoding it: {error}")]
        except WorkerCrashError as error:
            self._n_crashes += 1
            return [ImageFault(RejectReason.DAMAGED, f"{image.path}: the decoder failed: {error}")]
        self._n_crashes = 0
        return results


def _is_special(image: ImageFile) -> bool:
    return isinstance(image, MediaFile) or frame_time_s(image.path) is not None


def _check_size(image: MediaFile) -> ImageFault | None:
    try:
        size = Path(image.file).stat().st_size if image.file else len(image.data)
    except OSError as error:
        return ImageFault(RejectReason.BROKEN_FILE, f"{image.path}: {error.strerror}")
    if size <= MAX_VIDEO_BYTES:
        return None
    return ImageFault(
        RejectReason.TOO_LARGE, f"{image.path}: a video of {size} bytes, over {MAX_VIDEO_BYTES}"
    )


def _read_reply(
    image: MediaFile, reply: dict[str, Any], contents: list[bytes]
) -> list[ImageFile | ImageFault]:
    """Convert a reply of the worker, of which nothing is taken for granted."""
    results: list[ImageFile | ImageFault] = []
    try:
        for part, data in zip(reply["parts"], contents, strict=True):
            if image.kind is FileKind.HEIF:
                results.append(ImageFile(data, image.path))
                continue
            path = frame_path(image.path, float(part["time_s"]))
            results.append(FrameFile(data, path, round(float(part["duration_s"]), 3)))
        if fault := reply["fault"]:
            reason, detail = fault
            results.append(ImageFault(RejectReason(reason), f"{image.path}: {detail}"))
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerCrashError("its reply is invalid") from error
    return results
