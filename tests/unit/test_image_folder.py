"""Images of posts: links, ids, endings, cells and the summary of what could not be read."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.tiny_artifact import write_tiny_artifact

from postbias.cli import main
from postbias.posts.importers import import_posts
from postbias.posts.importers.export_files import HEAD_BYTES, read_image
from postbias.posts.importers.image_cells import read_images
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.records import ImageFault, ImageFile, MediaFile
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table
from postbias.scoring.bulk import LocalBackend
from postbias.scoring.file_scoring import ScoringJob, score_files
from postbias.scoring.scorer import Scorer

JPEG = b"\xff\xd8\xff\xe0 a JPEG"


def _write(root: Path, files: dict[str, bytes]) -> ImageFolder:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return ImageFolder(root)


def _outcome(image: ImageFile | ImageFault | None) -> str:
    return str(image.reason) if isinstance(image, ImageFault) else image.path if image else ""


def _cell(folder: ImageFolder, value: object) -> list[str]:
    return [_outcome(image) for image in read_images(value, folder, "p")]


def _node(**more: Any) -> dict[str, Any]:
    edges = [{"node": {"text": "hello"}}]
    return {"id": "1", "edge_media_to_caption": {"edges": edges}, **more}


# links and paths


def test_no_spelling_of_a_path_leaves_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    folder = _write(tmp_path / "src", {"in.jpg": b"in"})
    (tmp_path / "src" / "link.jpg").symlink_to(secret)
    (tmp_path / "src" / "relative.jpg").symlink_to("../secret.jpg")
    (tmp_path / "src" / "chain.jpg").symlink_to("link.jpg")
    (tmp_path / "src" / "linked").symlink_to(tmp_path)
    for reference in (
        "../secret.jpg", "..\\secret.jpg", "./../secret.jpg", "x/../../secret.jpg", "../SECRET.jpg",
        "%2e%2e/secret.jpg", "..%2fsecret.jpg", str(secret), f"file://{secret}", "link.jpg",
        "LINK.jpg", "relative.jpg", "chain.jpg", "linked/secret.jpg", "linked\\secret.jpg",
        f"{tmp_path}/src/../secret.jpg", "C:\\secret.jpg", "\\\\host\\secret.jpg", "~/secret.jpg",
        "secret.jpg", "https://x.invalid/secret.jpg", "https://x.invalid/link.jpg",
        "https://x.invalid/..%2fsecret.jpg", "\0secret.jpg", "link.jpg/", "",
    ):  # fmt: skip
        for image in (folder.read(reference), folder.read_name(reference)):
            assert isinstance(image, ImageFault), reference
            assert image.reason in {"outside_folder", "missing_file", "not_downloaded"}, reference
    assert folder.read_ids(["link", "../secret", "secret"]) == [folder.read("link.jpg")]


@pytest.mark.parametrize("layout", ["influencer-brand", "instaloader", "graphql", "table"])
def test_a_link_out_of_an_export_is_refused_in_every_layout(tmp_path: Path, layout: str) -> None:
    (tmp_path / "secret").write_bytes(JPEG)
    src = tmp_path / "src"
    node = _node(display_url="https://x.invalid/a.jpg")
    stem = "2020-01-01_10-00-00_UTC"
    name, files = {
        "influencer-brand": (
            "img/a.jpg",
            {"post_info.txt": "0\ta\t0\t1.json\t['a.jpg']\n", "json/1.json": json.dumps(node)},
        ),
        "instaloader": (f"{stem}.jpg", {f"{stem}.json": json.dumps({"node": node})}),
        "graphql": ("a.jpg", {"page.json": json.dumps(node)}),
        "table": ("a.jpg", {"t.csv": "post_id,caption,images\n1,c,a.jpg\n"}),
    }[layout]
    _write(src, {path: text.encode() for path, text in files.items()})
    (src / name).parent.mkdir(exist_ok=True)
    (src / name).symlink_to(tmp_path / "secret")
    source = src / "t.csv" if layout == "table" else src
    summary = import_posts(layout, source, tmp_path / "out")
    assert (summary.n_posts, summary.n_images) == (1, 0)
    assert summary.image_reasons == {"outside_folder": 1}
    (src / name).unlink()
    (src / "real").write_bytes(JPEG)
    (src / name).symlink_to(src / "real")
    assert import_posts(layout, source, tmp_path / "inside").n_images == 1


def test_an_absolute_path_inside_the_folder_is_read(tmp_path: Path) -> None:
    root = tmp_path / "real folder"
    _write(root, {"img/1.jpg": b"1"})
    (tmp_path / "alias").symlink_to(root)
    for opened in (root, tmp_path / "alias", root / "img" / ".."):
        folder = ImageFolder(opened)
        for path in (f"{opened}/img/1.jpg", f"{root}/img/1.jpg", f"{root}//img\\1.JPG",
                     f"file://{root}/img/1.jpg".replace(" ", "%20"), "img/../img/1.jpg",
                     f"../{root.name}/img/1.jpg"):  # fmt: skip
            if opened.name != "alias" or not path.startswith(".."):
                assert _outcome(folder.read(path)) == "img/1.jpg", path


def test_a_named_pipe_and_a_folder_are_faults_and_do_not_block(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    folder = ImageFolder(tmp_path)
    assert _outcome(folder.read("folder.jpg")) == "missing_file"
    assert _outcome(folder.read("pipe.jpg")) == "broken_file"


def test_two_files_that_a_name_may_mean_are_a_fault_that_names_both(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"Ab.jpg": b"1", "aB.jpg": b"2", "x/b.jpg": b"3", "y/b.jpg": b"4",
                               "x/c.jpg": b"5", "y/c.jpg": b"5"})  # fmt: skip
    assert [_outcome(folder.read(name)) for name in ("Ab.jpg", "aB.jpg")] == ["Ab.jpg", "aB.jpg"]
    fault = folder.read("ab.jpg")
    assert isinstance(fault, ImageFault)
    assert fault == ImageFault(fault.reason, "ab.jpg: may be Ab.jpg or aB.jpg")
    assert _outcome(fault) == "ambiguous_file"
    assert _outcome(folder.read("https://x.invalid/b.jpg")) == "ambiguous_file"
    assert _outcome(folder.read_name("c.jpg")) == "x/c.jpg"  # copies of one image


# ids and endings


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".png", ".webp", ".heic", ".JPG", "", ".tmp"])
@pytest.mark.parametrize("stem", ["1", "Cxyz", "1_1"])
@pytest.mark.parametrize("layout", ["graphql", "api-v1"])
def test_an_image_named_after_its_post_is_found_whatever_its_ending(
    tmp_path: Path, layout: str, stem: str, ending: str
) -> None:
    node = _node(shortcode="Cxyz")
    if layout == "api-v1":
        node = {"items": [{"pk": "1", "code": "Cxyz", "media_type": 1, "caption": {"text": "c"}}]}
    files = {f"img/{stem}{ending}": JPEG, "1.json": json.dumps(node).encode(),
             "1.mp4": b"\0\0\0\x20ftypisom", "cxyz.jpg": JPEG + b"of another post"}  # fmt: skip
    _write(tmp_path / "src", files)
    import_posts(layout, tmp_path / "src", tmp_path / "out")
    (post,) = read_posts(tmp_path / "out" / "posts", POSTS.names).to_pylist()
    assert post["images"] == [{"bytes": JPEG, "path": f"img/{stem}{ending}"}]


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".heic", ".JPG", "", ".tmp", ".mp4"])
@pytest.mark.parametrize("with_json", [True, False])
def test_images_of_instaloader_are_told_by_their_content(
    tmp_path: Path, ending: str, with_json: bool
) -> None:
    stem = "2020-01-01_10-00-00_UTC"
    node = {"node": _node()} if with_json else {}
    _write(
        tmp_path / "src",
        {
            f"{stem}{'.json' if with_json else '.txt'}": json.dumps(node).encode(),
            f"{stem}_1{ending}": JPEG,
            f"{stem}_2.mp4": b"\0\0\0\x20ftypisom",
        },
    )
    summary = import_posts("instaloader", tmp_path / "src", tmp_path / "out")
    assert (summary.n_posts, summary.n_images, summary.n_rejects) == (1, 1, 0)


def test_each_image_that_a_page_names_and_that_is_missing_is_counted(tmp_path: Path) -> None:
    slides = [{"node": {"display_url": f"https://x.invalid/{n}.jpg?x=1"}} for n in "abc"]
    node = _node(edge_sidecar_to_children={"edges": slides})
    item = {"pk": "1", "media_type": 8, "caption": {"text": "c"}, "carousel_media": [
        {"image_versions2": {"candidates": [{"url": f"https://x.invalid/{n}.jpg"}]}} for n in "abc"
    ]}  # fmt: skip
    stem = "2020-01-01_10-00-00_UTC"
    loader = {f"{stem}.json": {"node": node}}
    for layout, pages, image in (
        ("graphql", {"page.json": node}, "img/b.jpg"),
        ("api-v1", {"page.json": item}, "img/b.jpg"),
        ("instaloader", loader, f"{stem}_2.jpg"),
    ):
        src = tmp_path / layout
        _write(src, {name: json.dumps(page).encode() for name, page in pages.items()})
        summary = import_posts(layout, src, tmp_path / f"{layout} without")
        assert (summary.n_images, summary.image_reasons) == (0, {"not_downloaded": 3})
        _write(src, {image: JPEG})
        summary = import_posts(layout, src, tmp_path / f"{layout} out")
        assert (summary.n_images, summary.image_reasons) == (1, {"not_downloaded": 2})
        rejects = read_table(tmp_path / f"{layout} out" / "rejects.parquet", REJECTS).to_pylist()
        assert [row["stage"] for row in rejects] == ["import image"] * 2


def test_a_post_without_a_caption_is_kept_if_its_images_were_only_not_downloaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_text(
        "post_id,caption,images\n1,,https://x.invalid/1.jpg\n2,,https://x.invalid/1.jpg;gone.jpg\n"
    )
    summary = import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    assert (summary.n_posts, summary.reasons) == (1, {"missing_file": 1})
    assert summary.image_reasons == {"not_downloaded": 1}


def test_a_single_page_has_the_images_beside_it(tmp_path: Path) -> None:
    node = _node(display_url="https://x.invalid/a.jpg?x=1")
    _write(tmp_path / "src", {"img/a.jpg": JPEG, "page.json": json.dumps(node).encode()})
    assert import_posts("graphql", tmp_path / "src" / "page.json", tmp_path / "out").n_images == 1


# cells


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.jpg,b c.jpg", ["a.jpg", "b c.jpg"]),
        ("a.jpg , b c.jpg", ["a.jpg", "b c.jpg"]),
        ("a.jpg\nb c.jpg\r\n", ["a.jpg", "b c.jpg"]),
        ("a.jpg|A.JPG;", ["a.jpg", "a.jpg"]),
        ("x;y,z.jpg", ["x;y,z.jpg"]),
        ("a.jpg;x;y,z.jpg,b c.jpg", ["a.jpg", "x;y,z.jpg", "b c.jpg"]),
        ('["a.jpg", "it\'s.jpg"]', ["a.jpg", "it's.jpg"]),
        ("['a.jpg', 'it\\'s.jpg']", ["a.jpg", "it's.jpg"]),
        ("('a.jpg', \"it's.jpg\")", ["a.jpg", "it's.jpg"]),
        ("['a.jpg' 'b c.jpg']", ["a.jpg", "b c.jpg"]),
        ("[a.jpg, b c.jpg]", ["a.jpg", "b c.jpg"]),
        ("[1].jpg", ["[1].jpg"]),
        ("b c", ["b c.jpg"]),
        (["./a.jpg", "gone.jpg", None, 7, {"x": 1}, {"path": "a.jpg"}],
         ["a.jpg", "missing_file", "missing_file", "broken_row", "a.jpg"]),
        ("gone.jpg", ["missing_file"]),
        ("me, my dog and I.jpg", ["missing_file"]),
        ("gone.jpg,a.jpg,lost.jpg", ["missing_file", "a.jpg", "missing_file"]),
        ("https://x.invalid/a.jpg?x=1,2;3,https://x.invalid/n.jpg", ["a.jpg", "not_downloaded"]),
        ("https://x.invalid/a.jpg,b c.jpg", ["a.jpg", "b c.jpg"]),
        ("https://x.invalid/q?format=jpg&name=large", ["not_downloaded"]),
        ("//x.invalid/a.jpg", ["a.jpg"]),
        ("data:image/png;base64,AAAA", [""]),
        ("data:image/png;base64,???", ["broken_row"]),
        ("data:,plain", ["broken_row"]),
        ("", []),
    ],
)  # fmt: skip
def test_a_cell_is_split_only_where_it_has_several_names(
    tmp_path: Path, cell: object, expected: list[str]
) -> None:
    names = ["a.jpg", "b c.jpg", "x;y,z.jpg", "it's.jpg", "[1].jpg"]
    assert _cell(_write(tmp_path, dict.fromkeys(names, JPEG)), cell) == expected


def test_addresses_are_found_under_the_id_of_the_post_or_with_their_query(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"img/p.png": JPEG, "b.jpg?x=1": JPEG, "EaBc.jpg": JPEG})
    assert _cell(folder, "https://x.invalid/gone.jpg") == ["img/p.png"]
    assert _cell(folder, "https://x.invalid/b.jpg?x=1") == ["b.jpg?x=1"]
    assert _cell(folder, "https://x.invalid/EaBc?format=jpg&name=large") == ["EaBc.jpg"]
    assert _outcome(folder.read("https://x.invalid/eabc.jpg")) == "not_downloaded"


# the summary


def _faulty_table(root: Path) -> Path:
    image = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(image, "JPEG")
    _write(root, {"a.jpg": image.getvalue()})
    (root / "t.csv").write_text(
        "post_id,caption,pics\n1,c,A.jpg\n2,c,gone.jpg\n3,c,https://x.invalid/1.jpg\n,c,\n"
        "5,c,also gone.jpg\n6,c,../a.jpg\n7,c,\n8,c,\n9,c,\n10,c,\n"
    )
    return root / "t.csv"


def test_the_summary_has_an_example_of_each_reason_and_warns_of_addresses(tmp_path: Path) -> None:
    arguments = ["import", "table", str(_faulty_table(tmp_path / "src")), str(tmp_path / "out"),
                 "--column", "images=pics"]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    kept = "their posts are kept without them"
    assert result.exit_code == 0
    assert result.stdout == (
        "imported 9 posts with 1 images, 1 shard(s)\n"
        "  encoding: utf-8 (confidence 100%)\n"
        "  rejected 1 (missing_id), e.g. t.csv:4: nothing in column 'post_id'\n"
        f"  2 images could not be read (missing_file); {kept}, e.g. t.csv:2: gone.jpg: not there\n"
        f"  1 images could not be read (not_downloaded); {kept}, e.g. t.csv:3: "
        "https://x.invalid/1.jpg: no file '1.jpg' in the folder\n"
        f"  1 images could not be read (outside_folder); {kept}, e.g. t.csv:6: ../a.jpg: leaves "
        "the folder; paths are relative to it\n"
        "  see rejects.parquet for details\n"
    )
    assert "WARNING: 1 posts name images by address in column 'pics'" in result.stderr
    manifest = json.loads((tmp_path / "out" / "import.json").read_text())
    assert manifest["reasons"].keys() == manifest["examples"].keys()
    assert manifest["image_reasons"].keys() == manifest["image_examples"].keys()
    again = CliRunner().invoke(main, arguments)
    assert again.stdout.splitlines()[1:] == result.stdout.splitlines()[1:]
    assert again.stderr == result.stderr


def test_images_added_later_are_imported_with_replace(tmp_path: Path) -> None:
    table = _faulty_table(tmp_path / "src")
    table.write_text(table.read_text().replace("pics", "images"))
    import_posts("table", table, tmp_path / "out")
    _write(tmp_path / "src", {"img/1.jpg": JPEG, "gone.jpg": JPEG})
    assert not import_posts("table", table, tmp_path / "out").is_new
    assert import_posts("table", table, tmp_path / "out", replace=True).n_images == 3


def test_scoring_a_table_reports_the_same_faults(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = _faulty_table(tmp_path / "src")
    table.write_text(table.read_text().replace("pics", "images"))
    summary = import_posts("table", table, tmp_path / "imported")
    student = write_tiny_artifact(tmp_path / "student", "text").folder
    with Scorer.open(student) as scorer:
        job = ScoringJob(table, tmp_path / "out.parquet")
        score_files(job, LocalBackend(scorer, batch_size=4))
    for line in summary.fault_lines():
        assert f"import: {line}" in caplog.messages
    assert any("1 posts name images by address" in message for message in caplog.messages)
    rejects = read_table(tmp_path / "out.rejects.parquet", REJECTS)["reason"].to_pylist()
    assert sorted(rejects) == ["missing_file", "missing_file", "missing_id", "not_downloaded",
                               "outside_folder"]  # fmt: skip


def test_an_absolute_path_of_another_computer_is_found_by_its_end(tmp_path: Path) -> None:
    folder = _write(tmp_path / "src", {"images/1.jpg": b"1", "2.jpg": b"2"})
    for path in ("/home/someone/export/images/1.jpg", "C:\\export\\images\\1.jpg",
                 "file:///srv/export/images/1.jpg"):  # fmt: skip
        assert _outcome(folder.read(path)) == _outcome(folder.read("images/1.jpg")), path
    # A name alone says too little, and no end of a path may lead out of the folder.
    for path in ("/home/someone/2.jpg", "/home/images/../images/1.jpg", "../../src/images/9.jpg"):
        assert isinstance(folder.read(path), ImageFault), path


def test_two_different_videos_of_one_name_are_ambiguous_and_copies_are_not(tmp_path: Path) -> None:
    video = b"\0\0\0\x20ftypisom" + bytes(300)
    for name, other, reason in (("different", b"other", "ambiguous_file"), ("copies", b"", None)):
        src = tmp_path / name
        folder = _write(src, {"a/v.mp4": video, "b/v.mp4": video + other})
        found = folder.read("https://x.invalid/v.mp4")
        assert getattr(found, "reason", None) == reason, name


def test_only_the_head_of_a_large_video_or_of_a_too_large_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    sizes = {"video.jpg": 8 * 2**20, "image.jpg": 2 * 2**20, "huge.jpg": 40 * 2**20}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.write(head if name == "video.jpg" else b"\xff\xd8\xff")
            file.truncate(size)
    n_read, read = [0], os.read

    def count(handle: int, n_bytes: int) -> bytes:
        data = read(handle, n_bytes)
        n_read[0] += len(data)
        return data

    monkeypatch.setattr(os, "read", count)
    found = {name: read_image(str(tmp_path), name) for name in sizes}
    assert isinstance(found["video.jpg"], MediaFile)
    assert isinstance(found["image.jpg"], ImageFile)
    assert len(found["image.jpg"].data) == sizes["image.jpg"]
    assert isinstance(found["huge.jpg"], ImageFault)
    assert n_read[0] <= sizes["image.jpg"] + 3 * HEAD_BYTES
