"""Fields of platforms whose place or spelling differs between versions and accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.platform_exports import (
    TIME_S,
    TIME_US,
    capture,
    content_library_row,
    facebook_item,
    linkedin_item,
    tiktok_download,
    write_csv,
    write_image,
    write_json,
    write_lines,
)

from postbias.posts.importers import import_posts
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts


def _import(layout: str, src: Path) -> list[dict[str, Any]]:
    dest = src.with_name("out")
    import_posts(layout, src, dest)
    rows: list[dict[str, Any]] = read_posts(dest / "posts", POSTS.names).to_pylist()
    return rows


def _import_capture(folder: Path, platform: str, item: dict[str, Any]) -> dict[str, Any]:
    write_lines(folder / "src" / "a.ndjson", [capture(platform, item, "7")])
    (post,) = _import("zeeschuimer", folder / "src")
    return post


def test_a_tiktok_download_writes_no_title_as_not_available(tmp_path: Path) -> None:
    video = {"Date": "2024-03-01 08:09:10", "Link": "https://www.tiktokv.com/share/video/7/",
             "Likes": "5", "Title": "N/A", "AlternateText": "N/A", "CoverImage": "N/A"}  # fmt: skip
    src = write_json(tmp_path / "src" / "user_data_tiktok.json", tiktok_download(video))
    (post,) = _import("tiktok-download", src.parent)
    assert (post["caption"], post["likes"]) == ("", 5)


@pytest.mark.parametrize(
    ("columns", "platform"),
    [
        ({"post_owner.type": "page"}, "facebook"),
        ({"post_owner.type": "", "surface.type": "group"}, "facebook"),
        ({"post_owner.type": "Creator"}, "instagram"),
        ({"post_owner.type": "business", "statistics.share_count": "1"}, "instagram"),
        ({"post_owner.type": "facebook_page"}, "facebook"),
        ({"statistics.reaction_count": "1"}, "facebook"),
        ({"statistics.like_count": "1"}, "instagram"),
    ],
)
def test_the_content_library_tells_the_platform_by_accounts_or_columns(
    tmp_path: Path, columns: dict[str, object], platform: str
) -> None:
    kept = ("id", "text", "creation_time", "post_owner.id")
    row = {name: cell for name, cell in content_library_row(1).items() if name in kept} | columns
    (post,) = _import("meta-content-library", write_csv(tmp_path / "a.csv", [row]))
    assert post["platform"] == platform


def test_linkedin_counts_are_read_from_the_older_structure(tmp_path: Path) -> None:
    social = {"likes": {"paging": {"total": 8}}, "comments": {"paging": {"total": 0}}}
    post = _import_capture(tmp_path, "linkedin.com", linkedin_item(7, **{"*socialDetail": social}))
    assert (post["likes"], post["comments"]) == (8, 0)


@pytest.mark.parametrize("part", [None, "linkedInVideoComponent", "externalVideoComponent"])
def test_the_preview_of_a_video_of_linkedin_is_its_image(tmp_path: Path, part: str | None) -> None:
    thumbnail = {
        "rootUrl": "https://media.invalid/dms/",
        "artifacts": [{"width": 80, "fileIdentifyingUrlPathSegment": "80/1700?e=1"}],
    }
    video = {"*videoPlayMetadata": {"thumbnail": thumbnail}}
    write_image(tmp_path / "src" / "7.jpg")
    item = linkedin_item(7, content={part: video} if part else video)
    post = _import_capture(tmp_path, "linkedin.com", item)
    assert [image["path"] for image in post["images"]] == ["7.jpg"]
    dest = tmp_path / "without"
    (tmp_path / "src" / "7.jpg").unlink()
    assert import_posts("zeeschuimer", tmp_path / "src", dest).n_missing_images == 1


_TOTAL = {"comment_rendering_instance": {"comments": {"total_count": 3}}}


@pytest.mark.parametrize(
    "target",
    [
        {"comet_ufi_summary_and_actions_renderer": {
            "feedback": {"comments_count_summary_renderer": {"feedback": _TOTAL}}}},
        {"comet_ufi_summary_and_actions_renderer": {"feedback": _TOTAL}},
        _TOTAL,
    ],
)  # fmt: skip
def test_comments_of_facebook_are_counted_in_each_structure(
    tmp_path: Path, target: dict[str, Any]
) -> None:
    item = facebook_item(7)
    context = {"feedback_context": {"feedback_target_with_context": target}}
    item["comet_sections"]["feedback"] = {"story": {"story_ufi_container": {"story": context}}}
    post = _import_capture(tmp_path, "facebook.com", item)
    assert (post["likes"], post["comments"]) == (None, 3)


def test_the_time_of_a_post_of_facebook_may_be_in_its_own_section(tmp_path: Path) -> None:
    item = facebook_item(7)
    del item["comet_sections"]["context_layout"]
    item["comet_sections"]["timestamp"] = {"story": {"creation_time": TIME_S}}
    post = _import_capture(tmp_path, "facebook.com", item)
    assert int(post["posted_at"].timestamp() * 1_000_000) == TIME_US
