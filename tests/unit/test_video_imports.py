"""Imports of exports with videos and HEIF images, in every layout."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.video_files import (
    HEIGHT,
    WIDTH,
    make_audio,
    make_heif,
    make_video,
    noise_frames,
    read_pixels,
    scene,
)

from postbias.cli import main
from postbias.errors import InputError, UnreadableImageError
from postbias.posts.images import decode_upright
from postbias.posts.importers import ReadingOptions, import_posts, media_converter
from postbias.posts.importers.media_converter import MediaConverter
from postbias.posts.importers.records import ImageFile, ImportedPost
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table


def _export(folder: Path, files: dict[str, bytes], rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    table = folder / "posts.csv"
    table.write_text("\n".join(["post_id,caption,images", *rows]), encoding="utf-8")
    return table


def _imported(folder: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    posts = {row["post_id"]: row for row in read_posts(folder / "posts", POSTS.names).to_pylist()}
    return posts, read_table(folder / "rejects.parquet", REJECTS).to_pylist()


def test_an_import_stores_frames_in_the_place_of_a_video(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene(5)).save(buffer, "PNG")
    image = buffer.getvalue()
    src = _export(
        tmp_path / "src",
        {"reel.jpg": make_video(), "x.png": image, "odd#t=1.000": image, "sound.mp4": make_audio()},
        [
            "video,one,reel.jpg",
            "mixed,two,x.png;reel.jpg;odd#t=1.000",
            "sound,three,sound.mp4",
            "nothing,,sound.mp4",
            "gone,four,missing.mp4",
        ],
    )
    summary = import_posts("table", src, tmp_path / "out", options=ReadingOptions(n_frames=2))
    posts, rejects = _imported(tmp_path / "out")
    paths = {key: [image["path"] for image in post["images"]] for key, post in posts.items()}
    assert paths == {
        "video": ["reel.jpg#t=1.000", "reel.jpg#t=3.000"],
        "mixed": ["x.png", "reel.jpg#t=1.000", "reel.jpg#t=3.000", "odd%23t=1.000"],
        "sound": [],
        "gone": [],
    }
    assert posts["video"]["media_type"] == "video"
    assert posts["mixed"]["media_type"] is None
    assert posts["mixed"]["images"][0]["bytes"] == image
    assert all(image["bytes"][:3] == b"\xff\xd8\xff" for image in posts["video"]["images"])
    assert [(row["post_id"], row["reason"]) for row in rejects] == [
        ("sound", "no_frames"),
        ("nothing", "no_frames"),
        ("gone", "missing_file"),
    ]
    assert (summary.n_images, summary.n_frames) == (6, 4)
    assert "6 images (4 of them frames of videos)" in summary.render()
    again = import_posts("table", src, tmp_path / "out", options=ReadingOptions(n_frames=2))
    assert not again.is_new
    assert again.n_frames == 4
    with pytest.raises(InputError):
        import_posts("table", src, tmp_path / "out", options=ReadingOptions(n_frames=3))


def test_a_cut_off_video_keeps_its_frames_and_is_counted(tmp_path: Path) -> None:
    video = make_video(frames=noise_frames(60), muxer={"movflags": "faststart"})
    rows = ["1,one,half.mp4", "2,two,head.mp4"]
    files = {"half.mp4": video[: len(video) // 2], "head.mp4": video[:300]}
    import_posts("table", _export(tmp_path / "src", files, rows), tmp_path / "out")
    posts, rejects = _imported(tmp_path / "out")
    assert (len(posts["1"]["images"]), len(posts["2"]["images"])) == (4, 0)
    assert [(row["post_id"], row["reason"]) for row in rejects] == [
        ("1", "truncated"),
        ("2", "truncated"),
    ]
    assert "kept 4 frames" in rejects[0]["detail"]


def test_the_command_takes_the_number_of_frames(tmp_path: Path) -> None:
    src = _export(tmp_path / "src", {"reel.mp4": make_video()}, ["1,one,reel.mp4"])
    out = str(tmp_path / "out")
    result = CliRunner().invoke(main, ["import", "table", str(src), out, "--frames", "1"])
    assert result.exit_code == 0, result.output
    assert "1 images (1 of them frames of videos)" in result.output


def test_without_the_extras_the_faults_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"reel.mp4": make_video(), "photo.heic": make_heif()}
    src = _export(tmp_path / "src", files, ["1,one,reel.mp4", "2,two,photo.heic"])
    monkeypatch.setattr(media_converter, "_MODULES", {"video": "no_av", "heif": "no_heif"})
    summary = import_posts("table", src, tmp_path / "out")
    posts, rejects = _imported(tmp_path / "out")
    assert [post["images"] for post in posts.values()] == [[], []]
    assert [row["reason"] for row in rejects] == ["missing_extra"] * 2
    assert "pip install 'postbias[video]'" in rejects[0]["detail"]
    assert "pip install 'postbias[heif]'" in rejects[1]["detail"]
    assert summary.image_reasons == {"missing_extra": 2}
    assert not import_posts("table", src, tmp_path / "out").is_new
    monkeypatch.undo()
    with pytest.raises(InputError, match="an extra that is now installed"):
        import_posts("table", src, tmp_path / "out")
    summary = import_posts("table", src, tmp_path / "out", replace=True)
    assert (summary.n_images, summary.n_missing_images) == (5, 0)


def test_an_import_without_videos_starts_no_process(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene(5)).save(buffer, "JPEG")
    src = _export(tmp_path / "src", {"a.jpg": buffer.getvalue()}, ["1,one,a.jpg"])
    import_posts("table", src, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "import.json").read_text())
    assert set(manifest) & {"n_frames", "installed_extras"} == set()
    command = [sys.executable, "-c", "raise SystemExit('started')"]
    with MediaConverter(command=command) as converter:
        post = ImportedPost("1", "a", "c", "s", "p", (ImageFile(buffer.getvalue(), "a.jpg"),))
        assert converter.convert(post) is post


def test_instaloader_folders_and_api_pages_have_their_videos(tmp_path: Path) -> None:
    stem = "2020-01-01_10-00-00_UTC"
    (tmp_path / "insta").mkdir()
    (tmp_path / "insta" / f"{stem}.txt").write_text("caption")
    (tmp_path / "insta" / f"{stem}.mp4").write_bytes(make_video())
    import_posts(
        "instaloader", tmp_path / "insta", tmp_path / "out1", options=ReadingOptions(n_frames=1)
    )
    posts, _ = _imported(tmp_path / "out1")
    assert [i["path"] for i in posts[f"insta/{stem}"]["images"]] == [f"{stem}.mp4#t=2.000"]

    def node(identity: str, **fields: Any) -> dict[str, Any]:
        return {"id": identity, "taken_at_timestamp": 1_500_000_000, **fields}

    pages = tmp_path / "pages"
    pages.mkdir()
    url = "https://example.org/v/clip.mp4?x=1"
    (pages / "a.json").write_text(json.dumps(node("11", video_url=url)))
    (pages / "b.json").write_text(json.dumps(node("12")))
    (pages / "clip.mp4").write_bytes(make_video())
    (pages / "12.mp4").write_bytes(make_video())
    import_posts("graphql", pages, tmp_path / "out2", options=ReadingOptions(n_frames=1))
    posts, _ = _imported(tmp_path / "out2")
    paths = [image["path"] for post in posts.values() for image in post["images"]]
    assert paths == ["clip.mp4#t=2.000", "12.mp4#t=2.000"]

    item = {"pk": "13", "media_type": 2, "video_versions": [{"url": url}]}
    (pages / "a.json").write_text(json.dumps(item))
    (pages / "b.json").unlink()
    import_posts("api-v1", pages, tmp_path / "out3", options=ReadingOptions(n_frames=1))
    posts, _ = _imported(tmp_path / "out3")
    assert [image["path"] for image in posts["13"]["images"]] == ["clip.mp4#t=2.000"]


def test_heif_decodes_like_the_image_that_it_was_made_of() -> None:
    image = np.asarray(decode_upright(make_heif())).astype(int)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image - scene(2)).mean() < 10
    with pytest.raises(UnreadableImageError):
        decode_upright(make_heif()[:200])


def test_an_import_converts_heif_to_jpeg(tmp_path: Path) -> None:
    src = _export(tmp_path / "src", {"photo.jpg": make_heif()}, ["1,one,photo.jpg"])
    import_posts("table", src, tmp_path / "out")
    posts, _ = _imported(tmp_path / "out")
    (image,) = posts["1"]["images"]
    assert image["path"] == "photo.jpg"
    assert image["bytes"][:3] == b"\xff\xd8\xff"
    assert np.abs(read_pixels(image["bytes"]) - scene(2)).mean() < 10
