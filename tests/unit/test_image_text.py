"""Text inside images: what is read, what the text encoder sees, the store, and hostile images."""

from __future__ import annotations

import io
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.text_images import SENTENCES, count_found_words, draw_nothing, draw_sentence
from tests.tiny_artifact import tiny_tokenizer, write_tiny_artifact

from postbias.cli import main
from postbias.errors import MissingExtraError, StorageError, UnreadableImageError
from postbias.posts import image_text
from postbias.posts.image_text import (
    MARKER,
    MAX_CHARS,
    ImageTextReader,
    append_image_text,
    ocr_engine_name,
)
from postbias.scoring.manifest import Manifest
from postbias.scoring.score_store import store_key
from postbias.scoring.scorer import PostInput, Scorer

needs_ocr = pytest.mark.skipif(find_spec("rapidocr") is None, reason="the extra ocr")
SENTENCE = "Girls are simply not made for the office"


@pytest.fixture(scope="module")
def reader() -> ImageTextReader:
    return ImageTextReader()


@pytest.fixture(scope="module")
def tile() -> bytes:
    return draw_sentence(SENTENCE, np.random.default_rng(4), side=480, angle=0)


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_a_caption_comes_first_and_text_is_marked() -> None:
    assert append_image_text(" a caption ", ["one", "", "two"]) == f"a caption\n{MARKER} one two"
    assert append_image_text("", ["one"]) == f"{MARKER} one"


def test_a_post_without_text_in_its_images_keeps_its_caption_to_the_byte() -> None:
    assert append_image_text(" a caption\n", ["", ""]) == " a caption\n"


def test_a_long_image_text_never_pushes_out_the_caption() -> None:
    caption, long = "a caption", "word " * 10_000
    text = append_image_text(caption, [long])
    assert len(text) <= len(caption) + len(MARKER) + 2 + MAX_CHARS
    tokenizer = tiny_tokenizer()
    alone = tokenizer.encode(caption, add_special_tokens=False).ids
    tokenizer.enable_truncation(len(alone) + 4)
    assert tokenizer.encode(text).ids[1 : 1 + len(alone)] == alone


@needs_ocr
def test_at_least_nine_of_ten_words_are_read(reader: ImageTextReader) -> None:
    rng = np.random.default_rng(20260521)
    counts = []
    for number in range(24):
        sentence = SENTENCES[number % len(SENTENCES)]
        counts.append(count_found_words(sentence, reader.read(draw_sentence(sentence, rng))))
    found, total = np.sum(counts, axis=0)
    assert found / total >= 0.9


@needs_ocr
def test_images_without_text_have_none_and_need_no_recognition(reader: ImageTextReader) -> None:
    rng = np.random.default_rng(1)
    assert [reader.read(draw_nothing(rng, side=160)) for _ in range(5)] == [""] * 5
    fresh = ImageTextReader()
    ramp = np.linspace(0, 255, 160).astype(np.uint8)
    assert fresh.read(_png(np.tile(ramp, (160, 1)))) == ""
    assert fresh._engine.text_rec is None  # its model is loaded when the detector finds a line


@needs_ocr
def test_threads_do_not_change_what_is_read(reader: ImageTextReader) -> None:
    from concurrent.futures import ThreadPoolExecutor

    images = [draw_sentence(s, np.random.default_rng(7), side=320) for s in SENTENCES[:4]] * 2
    alone = [reader.read(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ImageTextReader().read, images)) == alone


@needs_ocr
@pytest.mark.parametrize(
    "shape", [(28, 28), (28, 6000), (6000, 28), (29, 31), (1, 400), (400, 1), (1500, 1500)]
)
def test_any_shape_gives_text_or_a_reject(reader: ImageTextReader, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for pixels in (
        rng.integers(0, 256, (*shape, 3), np.uint8),
        np.kron(rng.integers(0, 2, (-(-shape[0] // 6), -(-shape[1] // 6))) * 255, np.ones((6, 6)))[
            : shape[0], : shape[1]
        ].astype(np.uint8),
    ):
        try:
            text = reader.read(_png(pixels))
        except UnreadableImageError:
            assert min(shape) < 28
        else:
            assert len(text) <= MAX_CHARS


@needs_ocr
@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"<html>", b"GIF89a" + b"\0" * 40])
def test_a_broken_file_is_a_reject(reader: ImageTextReader, data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        reader.read(data)
    assert reader.read_all([data]) == ""


@needs_ocr
def test_an_error_of_the_engine_costs_the_text_only(
    tile: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __call__(self, _: object) -> object:
            raise MemoryError

    broken = ImageTextReader(tmp_path / "texts.sqlite")
    broken._engine = Broken()
    with caplog.at_level(logging.WARNING):
        assert broken.read(tile) == ""
    assert "MemoryError" in caplog.text
    broken.close()
    again = ImageTextReader(tmp_path / "texts.sqlite")
    assert count_found_words(SENTENCE, again.read(tile))[0] >= 6  # the empty text was not kept
    again.close()


@needs_ocr
def test_each_image_is_read_once(tile: bytes, tmp_path: Path) -> None:
    store = tmp_path / "store" / "texts.sqlite"
    first = ImageTextReader(store)
    text = first.read(tile)
    first.close()
    second = ImageTextReader(store)
    assert second.read(tile) == text
    assert second._engine is None
    second.close()
    assert oct(store.stat().st_mode)[-3:] == "600"


@needs_ocr
def test_another_engine_reads_again(
    tile: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "texts.sqlite"
    first = ImageTextReader(store)
    first.read(tile)
    first.close()
    monkeypatch.setattr(image_text, "ocr_engine_name", lambda: "rapidocr 99")
    second = ImageTextReader(store)
    second.read(tile)
    second.close()
    assert sqlite3.connect(store).execute("SELECT count(*) FROM texts").fetchone() == (2,)


@needs_ocr
def test_a_killed_run_keeps_every_text_that_it_has_read(tile: bytes, tmp_path: Path) -> None:
    image, store = tmp_path / "tile.jpg", tmp_path / "texts.sqlite"
    image.write_bytes(tile)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from postbias.posts.image_text import ImageTextReader\n"
        "ImageTextReader(Path(sys.argv[2])).read(Path(sys.argv[1]).read_bytes())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(image), str(store)], check=False)
    reader = ImageTextReader(store)
    assert count_found_words(SENTENCE, reader.read(tile))[0] >= 6
    assert reader._engine is None
    reader.close()


@needs_ocr
def test_a_damaged_store_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "texts.sqlite"
    store.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match="delete the file"):
        ImageTextReader(store)


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the extra were not installed."""
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(image_text, "version", missing)
    ocr_engine_name.cache_clear()
    yield
    ocr_engine_name.cache_clear()


@pytest.mark.usefixtures("no_extra")
def test_scoring_with_ocr_needs_the_extra(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path, ocr="rapidocr 3")
    with pytest.raises(MissingExtraError, match=r"pip install 'postbias\[ocr\]'"):
        Scorer(artifact)


@pytest.mark.usefixtures("no_extra")
def test_an_artifact_without_ocr_needs_no_extra_and_says_nothing_of_it(
    tmp_path: Path,
) -> None:
    artifact = write_tiny_artifact(tmp_path)
    assert "ocr" not in (tmp_path / "student.json").read_text()
    with Scorer(artifact) as scorer:
        assert scorer.score([PostInput("a caption")])[0].status == "ok"
        store_key(scorer)


@pytest.mark.parametrize(("modality", "ocr"), [("image", "rapidocr 3"), ("text", "")])
def test_a_manifest_with_impossible_ocr_is_rejected(
    tmp_path: Path, modality: str, ocr: str
) -> None:
    from postbias.errors import ArtifactError

    with pytest.raises(ArtifactError, match="ocr"):
        write_tiny_artifact(tmp_path, modality, ocr=ocr)  # type: ignore[arg-type]


@needs_ocr
@pytest.mark.parametrize("modality", ["fusion", "text"])
def test_the_text_encoder_sees_caption_and_image_text(
    tmp_path: Path, modality: str, tile: bytes, reader: ImageTextReader
) -> None:
    text = reader.read(tile)
    plain = write_tiny_artifact(tmp_path / "plain", modality)  # type: ignore[arg-type]
    with_ocr = write_tiny_artifact(
        tmp_path / "ocr",
        modality,
        ocr=ocr_engine_name(),  # type: ignore[arg-type]
    )
    assert Manifest.from_json(with_ocr.manifest.to_json()) == with_ocr.manifest
    with Scorer(plain) as one, Scorer(with_ocr, threads=2) as other:
        for caption in ("a caption", ""):
            seen = append_image_text(caption, [text])
            (expected,) = one.score([PostInput(seen, (tile,))])
            assert other.score([PostInput(caption, (tile,))]) == [expected]
        assert store_key(one) != store_key(other)


@needs_ocr
def test_a_text_student_says_what_a_post_lacks(tmp_path: Path) -> None:
    artifact = write_tiny_artifact(tmp_path, "text", ocr=ocr_engine_name())
    with Scorer(artifact) as scorer:
        blank, broken, captioned = scorer.score(
            [
                PostInput("", (draw_nothing(np.random.default_rng(2)),)),
                PostInput("", (b"<html>",)),
                PostInput("a caption", (b"<html>",)),
            ]
        )
    assert (blank.status, blank.detail) == ("no_content", "no caption and no text in an image")
    assert (broken.status, captioned.status) == ("unreadable", "ok")
    assert "unknown_format" in broken.detail
    assert "unknown_format" in captioned.detail


@needs_ocr
def test_a_student_of_another_engine_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = write_tiny_artifact(tmp_path, ocr="rapidocr 0.1")
    with caplog.at_level(logging.WARNING), Scorer(artifact):
        pass
    assert "rapidocr 0.1" in caplog.text


@pytest.mark.usefixtures("no_extra")
def test_without_the_extra_the_command_line_gives_one_line(tmp_path: Path) -> None:
    write_tiny_artifact(tmp_path / "student", ocr="rapidocr 3")
    command = ["score-one", "--caption", "x", "--model", str(tmp_path / "student")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "pip install 'postbias[ocr]'" in result.stderr
