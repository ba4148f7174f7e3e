"""Read the text inside images with RapidOCR, the extra `ocr`.

The models are part of the package: nothing is downloaded. An image's text depends on its bytes and
on `ocr_engine_name` only, and is kept in a SQLite file if there is one, so that the stages of the
pipeline read each image once.
"""

# Ships inside the registered model.

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from postbias.errors import MissingExtraError, StorageError, UnreadableImageError
from postbias.posts.images import decode_upright
from postbias.posts.text_cleaning import clean_text

logger = logging.getLogger(__name__)

#: Precedes the text of images in what a text encoder sees; words that every tokenizer can express.
MARKER = "[image text]"

#: Maximum number of characters of image text per post; the caption does not count.
MAX_CHARS = 1000

#: Larger images are shrunk: text on social media is made for the screen of a phone.
MAX_SIDE_PX = 960

# The detector needs fewer pixels than the recogniser. Its time is proportional to their number, and
# most images have no text to be recognised.
_DETECTOR_SIDE_PX = 480

# Letters and digits; texts with fewer are shapes that resemble a character.
_MIN_LETTERS = 3

# Bounds the time of an image full of text, or of noise that resembles text.
_MAX_LINES = 100

# Increase when the settings of the engine change what is read.
_SETTINGS = 1

_INSTALL = "run `pip install 'postbias[ocr]'`"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS texts (
    engine TEXT NOT NULL, image BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY (engine, image)
) WITHOUT ROWID
"""


def append_image_text(caption: str, texts: Iterable[str]) -> str:
    """Append the text of a post's images to its caption.

    The caption comes first, so that a limit on tokens shortens the text of images before it.

    Args:
        caption: The caption; may be empty.
        texts: The text of each image; empty for an image without text.

    Returns:
        What a text encoder sees; the caption itself if there is no text.
    """
    text = " ".join(text for text in texts if text)[:MAX_CHARS].rstrip()
    return f"{caption.strip()}\n{MARKER} {text}".lstrip() if text else caption


@cache
def ocr_engine_name() -> str:
    """Return the engine, its version and the digests of its models, without loading them.

    Returns:
        A name that is equal for engines that read the same text.

    Raises:
        MissingExtraError: If the extra `ocr` is not installed.
    """
    try:
        engine = f"rapidocr {version('rapidocr')}"
    except PackageNotFoundError as error:
        raise MissingExtraError(
            "reading text inside images needs the package rapidocr, which is not installed",
            do=_INSTALL,
        ) from error
    files = (_find_model(part) for part in ("det", "rec"))
    models = (f"{f.stem} {hashlib.sha256(f.read_bytes()).hexdigest()[:12]}" for f in files)
    return f"{engine}, {', '.join(models)}, settings {_SETTINGS}"


class ImageTextReader:
    """Reads the text inside images; thread-safe."""

    def __init__(self, store: Path | None = None) -> None:
        """Prepare the reader; the models are loaded when the first image has to be read.

        Args:
            store: SQLite file that keeps all texts; None to keep none.

        Raises:
            MissingExtraError: If the extra `ocr` is not installed.
            StorageError: If the store cannot be opened.
        """
        self.engine_name = ocr_engine_name()
        self._store = None if store is None else _TextStore(store, self.engine_name)
        self._engine: Any = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def read(self, data: bytes) -> str:
        """Read the text inside one image.

        Args:
            data: The file's bytes.

        Returns:
            Its lines from top to bottom, separated by spaces; empty if there is no text.

        Raises:
            StorageError: If the store cannot be read or written.
            UnreadableImageError: If the image cannot be decoded.
        """
        key = hashlib.sha256(data).digest()
        if self._store is not None and (known := self._store.get(key)) is not None:
            return known
        pixels = np.asarray(decode_upright(data, max_side_px=MAX_SIDE_PX))  # (H, W, 3)
        engine = self._loaded_engine()
        try:
            # The detector alone runs on an image without text.
            found = engine(np.ascontiguousarray(pixels[:, :, ::-1]))  # OpenCV's order of channels
        except Exception as error:  # from OpenCV, shapely or onnxruntime
            # Not stored: the cause may be a lack of memory.
            logger.warning("the text of an image cannot be read (%s)", type(error).__name__)
            return ""
        text = " ".join(clean_text(" ".join(getattr(found, "txts", None) or ())).split())
        is_text = sum(map(str.isalnum, text)) >= _MIN_LETTERS
        text = text[:MAX_CHARS].rstrip() if is_text else ""
        if self._store is not None:
            self._store.put(key, text)
        return text

    def read_all(self, images: Iterable[bytes]) -> str:
        """Read the text inside several images of a post; unreadable images have none."""
        texts = []
        for data in images:
            try:
                texts.append(self.read(data))
            except UnreadableImageError:
                continue
        return " ".join(text for text in texts if text)

    def _loaded_engine(self) -> Any:  # noqa: ANN401 - an extra
        with self._lock:
            if self._engine is None:
                self._engine = _load_engine()
            return self._engine


class _TextStore:
    """Texts by engine and digest of the image; several processes may use one file."""

    def __init__(self, path: Path, engine: str) -> None:
        self._path, self._engine = path, engine
        self._lock = threading.Lock()
        with self._storage_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # the texts are personal data
            self._db = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
            # A crash leaves a valid file. A power cut may lose the last texts, which are then read
            # again.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def get(self, key: bytes) -> str | None:
        query = "SELECT text FROM texts WHERE engine = ? AND image = ?"
        with self._lock, self._storage_errors():
            row = self._db.execute(query, (self._engine, key)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: bytes, text: str) -> None:
        values = (self._engine, key, text)
        with self._lock, self._storage_errors():
            self._db.execute("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", values)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the texts of images in {self._path} cannot be read or written: {error}",
                do="free disk space, or delete the file: it is then made again",
            ) from error


def _find_model(part: str) -> Path:
    """Return the bundled model for detection (`det`) or recognition (`rec`)."""
    spec = find_spec("rapidocr")  # without importing it, which takes a second
    folders = [] if spec is None else spec.submodule_search_locations or []
    found = sorted(file for folder in folders for file in Path(folder).glob(f"models/*_{part}_*"))
    if not found:
        raise MissingExtraError(f"this rapidocr has no {part} model", do=_INSTALL)
    return found[0]


def _load_engine() -> Any:  # noqa: ANN401 - an extra
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise MissingExtraError(
            f"the package rapidocr cannot be loaded ({' '.join(str(error).split())[:200]})",
            do=_INSTALL,
        ) from error
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            # Finds lines that are upside down, which images on social media hardly have.
            "Global.use_cls": False,
            # Paths prevent a download.
            "Det.model_path": str(_find_model("det")),
            "Rec.model_path": str(_find_model("rec")),
            # Small images are not enlarged, which would cost far more than it finds.
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECTOR_SIDE_PX,
            "Det.max_candidates": _MAX_LINES,
            # Images are read in parallel instead; a result does not depend on the threads.
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
