"""What the importers of platforms and research tools read from exports in their real structure."""

from __future__ import annotations

import codecs
import csv
import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.platform_exports import (
    JPEG,
    TIME_S,
    TIME_US,
    archived_tweet,
    capture,
    content_library_row,
    crowdtangle_facebook_row,
    crowdtangle_instagram_row,
    facebook_entry,
    facebook_item,
    fourcat_row,
    instagram_entry,
    instagram_item,
    linkedin_item,
    mangle,
    research_page,
    research_video,
    threads_item,
    tiktok_download,
    tiktok_item,
    twarc_row,
    tweet_page,
    tweet_v2,
    web_tweet,
    write_csv,
    write_example,
    write_image,
    write_json,
    write_lines,
    youtube_page,
    youtube_thread,
    youtube_video,
)

from postbias.errors import InputError, LayoutError, SchemaError
from postbias.posts.file_kinds import FileKind
from postbias.posts.importers import ReadingOptions, detect_layout, import_posts
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.records import ImageFile
from postbias.posts.importers.source_layouts import SOURCE_LAYOUTS
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

Post = dict[str, Any]


def _import(layout: str, src: Path) -> tuple[dict[str, Post], Counter[str], Counter[str]]:
    """Import; return the posts by id, and the reasons of rejected posts and of missing images."""
    dest = src.parent / "out"
    summary = import_posts(layout, src, dest)
    posts = read_posts(dest / "posts", POSTS.names).to_pylist()
    rejects = read_table(dest / "rejects.parquet", REJECTS).to_pylist()
    assert len(rejects) == summary.n_rejects + summary.n_missing_images
    assert all(reject["detail"] and reject["source"] for reject in rejects)
    return (
        {post["post_id"]: post for post in posts},
        summary.reasons,
        summary.image_reasons,
    )


def _facts(post: Post) -> tuple[Any, ...]:
    time = post["posted_at"]
    posted_at_us = None if time is None else round(time.timestamp() * 1_000_000)
    keys = ("author", "caption", "platform", "likes", "comments", "media_type", "sponsored")
    return (*(post[key] for key in keys), posted_at_us)


def _images(post: Post) -> list[str]:
    return [image["bytes"].removeprefix(JPEG).decode() for image in post["images"]]


# 4CAT


def test_fourcat_reads_its_columns_and_finds_images_by_address(tmp_path: Path) -> None:
    src = tmp_path / "src"
    write_csv(src / "data.csv", [fourcat_row("A1"), fourcat_row("A2", num_likes="-1")])
    write_image(src / "images" / "A1.jpg")
    posts, reasons, image_reasons = _import("4cat", src)
    expected = ("ann", "hello", "instagram", 12, 3, "image", None, TIME_US)
    assert _facts(posts["A1"]) == expected
    assert _images(posts["A1"]) == ["A1.jpg"]
    assert posts["A2"]["likes"] is None
    assert not reasons
    # The two addresses of a photo are one image.
    assert image_reasons == {"not_downloaded": 1}


@pytest.mark.parametrize("is_packed", [False, True])
def test_fourcat_finds_images_by_its_list_of_downloads(tmp_path: Path, is_packed: bool) -> None:
    src = tmp_path / "src"
    row = fourcat_row("A1", image_url="https://cdn.invalid/one?id=1", media_url="")
    write_csv(src / "data.csv", [row, fourcat_row("A2")])
    listed = {
        "https://cdn.invalid/one?id=1": {"filename": "image-7.png", "success": True},
        "https://cdn.invalid/v/A2.jpg?x=1": {"filename": None, "success": False},
        "https://cdn.invalid/other": {"filename": "../../etc/passwd", "success": True},
    }
    images = src / "images"
    write_image(images / "image-7.png")
    write_json(images / ".metadata.json", listed)
    if is_packed:
        with zipfile.ZipFile(src / "images.zip", "w") as archive:
            for path in images.iterdir():
                archive.write(path, path.name)
                path.unlink()
        images.rmdir()
    posts, _, image_reasons = _import("4cat", src)
    assert _images(posts["A1"]) == ["image-7.png"]
    assert image_reasons == {"not_downloaded": 1}


def test_a_video_or_a_heif_image_in_an_archive_is_recognised_like_a_file(tmp_path: Path) -> None:
    members = {
        "v.mp4": b"\0\0\0\x20ftypisom",
        "h.jpg": b"\0\0\0\x18ftypheic",
        "j.jpg": b"\xff\xd8\xff",
    }
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    folder = MediaFolder(tmp_path)
    found = [folder.read(f"https://cdn.invalid/{name}") for name in members]
    assert [getattr(image, "kind", None) for image in found] == [FileKind.MOV, FileKind.HEIF, None]


@pytest.mark.parametrize("address", ["https://[x/a.jpg", "http://[::1/v.mp4", "//]/a.png?x"])
def test_an_invalid_address_of_an_image_costs_the_image(tmp_path: Path, address: str) -> None:
    row = fourcat_row("A1", image_url=address, media_url="")
    posts, reasons, _ = _import("4cat", write_csv(tmp_path / "data.csv", [row]))
    assert list(posts) == ["A1"]
    assert not reasons


def test_numbered_files_of_an_id_that_ends_in_a_number_are_found(tmp_path: Path) -> None:
    for name in ("31_41_1.jpg", "31_41_2.jpg", "59_1.jpg"):
        write_image(tmp_path / name)
    folder = MediaFolder(tmp_path)
    for post_id, names in (("31_41", ["31_41_1.jpg", "31_41_2.jpg"]), ("59", ["59_1.jpg"]),
                           ("41", [])):  # fmt: skip
        images = folder.read_ids([post_id])
        assert [image.path for image in images if isinstance(image, ImageFile)] == names


def test_fourcat_rejects_reposts_and_comments_by_reason(tmp_path: Path) -> None:
    rows = [
        fourcat_row("1", url="https://x.com/ann/status/1", thread_id="0", is_retweet="no"),
        fourcat_row("2", url="https://x.com/ann/status/2", is_retweet="yes"),
        fourcat_row("3", url="https://x.com/ann/status/3", thread_id="1", is_retweet="no"),
        fourcat_row("4", url="https://www.reddit.com/r/a/4", thread_id="9", is_retweet=""),
        fourcat_row("5", type="comment", is_retweet=""),
    ]
    src = write_csv(tmp_path / "data.csv", rows)
    posts, reasons, _ = _import("4cat", src)
    # A reply on X is a post of its author, an answer on Reddit is a comment.
    assert {key: post["platform"] for key, post in posts.items()} == {"1": "x", "3": "x"}
    assert reasons == {"repost": 1, "comment": 2}


def test_fourcat_imports_comments_if_there_is_nothing_else(tmp_path: Path) -> None:
    rows = [fourcat_row(str(n), thread_id="9", parent_id="9") for n in (1, 2)]
    posts, reasons, _ = _import("4cat", write_csv(tmp_path / "comments.csv", rows))
    assert set(posts) == {"1", "2"}
    assert not reasons


def test_fourcat_ndjson_has_the_nodes_of_the_platform(tmp_path: Path) -> None:
    meta = {"source_platform": "tiktok.com", "timestamp_collected": TIME_S * 1000}
    src = write_lines(tmp_path / "d.ndjson", [tiktok_item(7) | {"__import_meta": meta}])
    posts, _, _ = _import("4cat", src)
    assert _facts(posts["7"]) == ("ann", "good morning", "tiktok", 5, 1, "video", False, TIME_US)


# CrowdTangle and the Meta Content Library


def test_crowdtangle_reads_facebook_and_instagram(tmp_path: Path) -> None:
    src = tmp_path / "src"
    write_csv(src / "fb.csv", [crowdtangle_facebook_row(1), crowdtangle_facebook_row(2, URL="")])
    write_csv(src / "ig.csv", [crowdtangle_instagram_row("Cab")])
    write_image(src / "Cab.jpg")
    posts, reasons, _ = _import("crowdtangle", src)
    assert _facts(posts["1"]) == (
        *("1000", "fresh bread", "facebook", 1264, 7, "video", False, TIME_US),
    )
    assert _facts(posts["Cab"]) == (
        *("anna", "at the lake", "instagram", 2, 1, "carousel", True, TIME_US),
    )
    assert _images(posts["Cab"]) == ["Cab.jpg"]
    assert reasons == {"missing_id": 1}


def test_the_content_library_drops_shares_without_text(tmp_path: Path) -> None:
    rows = [
        content_library_row(1),
        content_library_row(2, shared_post_id="1", text=""),
        content_library_row(3, shared_post_id="1", text="so true", is_branded_content="True"),
    ]
    src = write_csv(tmp_path / "mcl.csv", rows)
    write_image(tmp_path / "1.jpg")
    posts, reasons, _ = _import("meta-content-library", src)
    assert _facts(posts["1"]) == ("55", "a walk", "facebook", 9, 4, "image", False, TIME_US)
    assert _images(posts["1"]) == ["1.jpg"]
    assert posts["3"]["sponsored"] is True
    assert reasons == {"repost": 1}


@pytest.mark.parametrize("layout", ["4cat", "crowdtangle", "meta-content-library", "x"])
def test_a_table_of_another_kind_is_refused_with_the_columns_needed(
    tmp_path: Path, layout: str
) -> None:
    src = write_csv(tmp_path / "a.csv", [{"name": "x", "value": "1"}])
    with pytest.raises(SchemaError, match=r"columns \['name', 'value'\]"):
        import_posts(layout, src, tmp_path / "out")


def test_rounded_ids_stop_a_table_and_reject_a_node(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", [twarc_row(1, id="1.78E+18")])
    with pytest.raises(InputError, match="rounded"):
        import_posts("x", table, tmp_path / "out")
    page = write_json(tmp_path / "a.json", tweet_page(tweet_v2(1), tweet_v2(2) | {"id": 1.78e18}))
    posts, reasons, _ = _import("x", page)
    assert set(posts) == {"1"}
    assert reasons == {"missing_id": 1}


# X


def test_x_reads_pages_of_api_v2(tmp_path: Path) -> None:
    src = tmp_path / "src"
    gone = [
        {"parameter": "ids", "resource_id": "8", "title": "Not Found Error"},
        {"parameter": "referenced_tweets.id", "resource_id": "9", "title": "Not Found Error"},
    ]
    tweets = [
        tweet_v2(1),
        tweet_v2(2, referenced_tweets=[{"type": "retweeted", "id": "1"}]),
        tweet_v2(3, referenced_tweets=[{"type": "quoted", "id": "1"}], note_tweet={"text": "long"}),
        tweet_v2(4, attachments=None, author_id="77"),
    ]
    write_lines(src / "a.jsonl", [tweet_page(*tweets, errors=gone)])
    write_image(src / "1.jpg")
    posts, reasons, image_reasons = _import("x", src)
    assert _facts(posts["1"]) == ("ann", "good morning", "x", 5, 1, "image", None, TIME_US)
    assert _images(posts["1"]) == ["1.jpg"]
    assert posts["3"]["caption"] == "long"
    assert (posts["4"]["author"], posts["4"]["media_type"]) == ("id:77", None)
    assert reasons == {"repost": 1, "deleted": 1}
    assert image_reasons == {"not_downloaded": 1}


def test_x_reads_twarc_tables(tmp_path: Path) -> None:
    rows = [twarc_row(1), twarc_row(2, **{"referenced_tweets.retweeted.id": "1"})]
    write_image(tmp_path / "src" / "1.jpg")
    write_csv(tmp_path / "src" / "a.csv", rows)
    posts, reasons, _ = _import("x", tmp_path / "src")
    assert _facts(posts["1"]) == ("ann", "good morning", "x", 5, 1, None, None, TIME_US)
    assert _images(posts["1"]) == ["1.jpg"]
    assert reasons == {"repost": 1}


@pytest.mark.parametrize("name", ["tweets.js", "tweet.js", "tweets-part1.js"])
def test_x_reads_the_archive_of_an_account(tmp_path: Path, name: str) -> None:
    data = tmp_path / "src" / "data"
    write_image(data / "tweets_media" / "1-F1.jpg")
    # Another post has an image of the same name.
    write_image(data / "tweets_media" / "7-F1.jpg")
    tweets = [archived_tweet(1), archived_tweet(2, full_text="RT @bert: hi")]
    (data / name).write_text(f"window.YTD.tweets.part0 = {json.dumps(tweets)}", encoding="utf-8")
    account = [{"account": {"username": "ann", "accountId": "9"}}]
    (data / "account.js").write_text(f"window.YTD.account.part0 = {json.dumps(account)}")
    (data / "ad-engagements.js").write_text("window.YTD.ad_engagements.part0 = [ {} ]")
    posts, reasons, _ = _import("x", tmp_path / "src")
    assert _facts(posts["1"]) == ("ann", "good morning", "x", 5, None, "image", None, TIME_US)
    assert _images(posts["1"]) == ["1-F1.jpg"]
    assert reasons == {"repost": 1}


# Zeeschuimer


@pytest.mark.parametrize(
    ("platform", "item", "name", "media_type", "sponsored"),
    [
        ("instagram.com", instagram_item(7), "instagram", "image", None),
        ("instagram.com", instagram_item(7, product_type="ad"), "instagram", "image", True),
        ("tiktok.com", tiktok_item(7), "tiktok", "video", False),
        ("tiktok.com", tiktok_item(7, author="ann", isAd=True), "tiktok", "video", True),
        ("twitter.com", web_tweet(7), "x", None, False),
        ("x.com", web_tweet(7), "x", None, False),
        ("threads.net", threads_item(7), "threads", None, None),
        ("www.threads.com", threads_item(7, is_paid_partnership=True), "threads", None, True),
        ("linkedin.com", linkedin_item(7), "linkedin", None, False),
        ("facebook.com", facebook_item(7), "facebook", None, None),
    ],
)
def test_zeeschuimer_reads_each_platform(
    tmp_path: Path,
    platform: str,
    item: dict[str, Any],
    name: str,
    media_type: str | None,
    sponsored: bool | None,
) -> None:
    src = write_lines(tmp_path / "a.ndjson", [capture(platform, item, "7")])
    posts, reasons, _ = _import("zeeschuimer", src)
    author = "in/ann" if name == "linkedin" else "ann"
    likes, comments = (None, None) if name == "facebook" else (5, 1)
    # LinkedIn only says how long ago a post was published.
    time = None if name == "linkedin" else TIME_US
    expected = (author, "good morning", name, likes, comments, media_type, sponsored, time)
    assert _facts(posts["7"]) == expected
    assert not reasons


def test_zeeschuimer_finds_images_by_address_or_id(tmp_path: Path) -> None:
    photo = {"imageURL": {"urlList": ["https://p16.invalid/a.jpeg?x=1"]}}
    vector = {
        "rootUrl": "https://media.invalid/dms/image/",
        "artifacts": [{"width": 80, "fileIdentifyingUrlPathSegment": "80/1700?e=1"}],
    }
    lines = [
        capture("instagram.com", instagram_item(1), "1"),
        capture("tiktok.com", tiktok_item(2, imagePost={"images": [photo]}), "2"),
        capture(
            "linkedin.com",
            linkedin_item(3, content={"images": [{"attributes": [{"vectorImage": vector}]}]}),
            "3",
        ),
        capture(
            "facebook.com",
            facebook_item(
                4, attachments=[{"media": {"image": {"uri": "https://f.invalid/4n.jpg"}}}]
            ),
            "4",
        ),
        capture("threads.net", threads_item(5), "5"),
    ]
    src = tmp_path / "src"
    write_lines(src / "a.ndjson", lines)
    # 1700 is the name of every file of LinkedIn.
    names = ["1_n.jpg", "a.jpeg", "3.jpg", "1700", "4n.jpg", "C5.jpg"]
    for name in names:
        write_image(src / "images" / name)
    posts, _, image_reasons = _import("zeeschuimer", src)
    found = {key: _images(post) for key, post in posts.items()}
    assert found == {"1": ["1_n.jpg"], "2": ["a.jpeg"], "3": ["3.jpg"], "4": ["4n.jpg"],
                     "5": ["C5.jpg"]}  # fmt: skip
    assert not image_reasons


def test_zeeschuimer_rejects_what_is_no_post_by_reason(tmp_path: Path) -> None:
    quoted = {"result": {"legacy": {"full_text": "theirs"}}}
    lines = [
        capture("instagram.com", instagram_item(1), "1"),
        capture("twitter.com", web_tweet(2, retweeted_status_result=quoted), "2"),
        capture("threads.net", threads_item(3, text_post_app_info={
            "share_info": {"reposted_post": {"pk": "1"}}}), "3"),
        capture("tiktok-comments", {"cid": "4", "text": "yes"}, "4"),
        capture("9gag.com", {"id": "5", "title": "x"}, "5"),
        capture("instagram.com", {"pk": "6", "media_type": 1}, "6"),
        capture("twitter.com", {"__typename": "TweetTombstone", "tombstone": {}}, "7"),
        capture("linkedin.com", {"header": {}}, "8"),
        {"source_platform": "tiktok.com", "item_id": "9", "data": None},
        {"something": "else"},
    ]  # fmt: skip
    src = write_lines(tmp_path / "a.ndjson", lines)
    posts, reasons, _ = _import("zeeschuimer", src)
    assert set(posts) == {"1"}
    assert reasons == {"repost": 2, "comment": 1, "deleted": 1, "broken_file": 5}


# TikTok


def test_tiktok_reads_pages_and_lines_of_the_research_api(tmp_path: Path) -> None:
    src = tmp_path / "src"
    write_json(src / "a.json", research_page(research_video(1)))
    write_lines(src / "b.jsonl", [research_video(2), {"id": 3, "video_id": 1, "text": "yes"}])
    write_json(src / "c.json", [research_video(4, username=None, like_count="many")])
    write_image(src / "1.jpg")
    posts, reasons, _ = _import("tiktok", src)
    assert _facts(posts["1"]) == ("ann", "good morning", "tiktok", 5, 1, "video", None, TIME_US)
    assert _images(posts["1"]) == ["1.jpg"]
    assert (posts["4"]["author"], posts["4"]["likes"]) == ("post:4", None)
    assert reasons == {"comment": 1}


@pytest.mark.parametrize("style", ["Video", "Post"])
def test_tiktok_download_reads_the_own_posts(tmp_path: Path, style: str) -> None:
    video = {"Date": "2024-03-01 08:09:10", "Link": "https://www.tiktokv.com/share/video/71/",
             "Likes": "5", "WhoCanView": "Everyone", "Title": "good morning"}  # fmt: skip
    if style == "Post":
        page: dict[str, Any] = {
            "Profile And Settings": {"Profile Info": {"ProfileMap": {"userName": "ann"}}},
            "Post": {"Posts": {"VideoList": [{k.lower(): v for k, v in video.items()}]}},
        }
    else:
        page = tiktok_download(video)
    src = write_json(tmp_path / "src" / "user_data_tiktok.json", page)
    posts, _, image_reasons = _import("tiktok-download", src.parent)
    assert _facts(posts["71"]) == ("ann", "good morning", "tiktok", 5, None, "video", None, TIME_US)
    assert image_reasons == {"not_downloaded": 1}


def test_tiktok_download_without_a_title_keeps_the_post_and_counts_its_file(tmp_path: Path) -> None:
    video = {"Date": "2024-03-01 08:09:10", "Link": "https://cdn.invalid/tos/abc/?a=1"}
    other: list[Any] = [{"x": 1}, 7]
    src = write_json(tmp_path / "user_data.json", tiktok_download(video, *other))
    posts, reasons, image_reasons = _import("tiktok-download", src)
    assert [post["caption"] for post in posts.values()] == [""]
    assert (reasons, image_reasons) == ({"broken_file": 2}, {"not_downloaded": 1})


# YouTube


def test_youtube_reads_title_description_and_previews_named_by_id(tmp_path: Path) -> None:
    src = tmp_path / "src"
    gone = youtube_video("v4", snippet={"title": "Private video", "description": "x",
                                        "thumbnails": {}})  # fmt: skip
    write_json(
        src / "a.json", youtube_page("video", youtube_video("v1"), youtube_video("v2"), gone)
    )
    found = youtube_video("") | {"kind": "youtube#searchResult",
                                 "id": {"kind": "youtube#video", "videoId": "v3"},
                                 "statistics": None}  # fmt: skip
    channel = {"kind": "youtube#searchResult", "id": {"kind": "youtube#channel"}, "snippet": {}}
    write_json(src / "b.json", youtube_page("search", found, channel))
    write_json(src / "c.json", youtube_page("commentThread", youtube_thread("c1")))
    write_image(src / "thumbs" / "v1.jpg")
    write_image(src / "thumbs" / "v2_hqdefault.jpg")
    # It belongs to no video that can be told.
    write_image(src / "hqdefault.jpg")
    posts, reasons, image_reasons = _import("youtube", src)
    assert _facts(posts["v1"]) == (
        *("UC1", "Bread\n\nhow to bake it", "youtube", 5, 1, "video", None, TIME_US),
    )
    assert {key: _images(post) for key, post in posts.items()} == {
        "v1": ["v1.jpg"], "v2": ["v2_hqdefault.jpg"], "v3": []
    }  # fmt: skip
    assert reasons == {"comment": 1, "deleted": 1}
    assert image_reasons == {"not_downloaded": 1}


def test_youtube_imports_comments_if_there_is_nothing_else(tmp_path: Path) -> None:
    page = youtube_page("commentThread", youtube_thread("c1"), youtube_thread("c2"))
    posts, reasons, _ = _import("youtube", write_json(tmp_path / "c.json", page))
    assert _facts(posts["c1"]) == ("UC2", "yum", "youtube", 2, 0, None, None, TIME_US)
    assert not reasons


# Downloads of Instagram and Facebook


def test_meta_download_of_instagram_decodes_captions_and_finds_media(tmp_path: Path) -> None:
    src = tmp_path / "src"
    one = src / "ann" / "your_instagram_activity" / "content"
    carousel = {
        "media": [
            {"uri": "media/posts/1.jpg", "creation_timestamp": TIME_S, "title": ""},
            {"uri": "media/posts/2.jpg", "creation_timestamp": TIME_S, "title": ""},
        ],
        "title": mangle("crème für € 5 “now” 👩‍🍳"),
        "creation_timestamp": TIME_S,
    }
    write_json(one / "posts_1.json", [instagram_entry("media/posts/1.jpg", "Café"), carousel])
    reel = {"media": [{"uri": "media/reels/r.mp4", "creation_timestamp": TIME_S, "title": "reel"}]}
    write_json(one / "reels.json", {"ig_reels_media": [reel]})
    story = {"uri": "media/stories/s.jpg", "creation_timestamp": TIME_S, "title": "story"}
    write_json(one / "stories.json", {"ig_stories": [story]})
    write_json(one / "archived_posts.json", {"ig_archived_post_media": [
        instagram_entry("media/posts/1.jpg", "archived")]})  # fmt: skip
    write_json(one.parent / "messages" / "message_1.json", {"messages": [{"content": "secret"}]})
    other = src / "bert" / "content" / "posts_1.json"
    write_json(other, instagram_entry("media/posts/1.jpg", "привет"))
    for name in ("1.jpg", "2.jpg"):
        write_image(src / "ann" / "media" / "posts" / name)
    (src / "bert" / "media" / "posts").mkdir(parents=True)
    (src / "bert" / "media" / "posts" / "1.jpg").write_bytes(JPEG + b"of bert")
    posts, reasons, image_reasons = _import("meta-download", src)
    by_caption = {post["caption"]: post for post in posts.values()}
    assert set(by_caption) == {
        "Café", "crème für € 5 “now” 👩‍🍳", "reel", "story", "archived", "привет"
    }  # fmt: skip
    assert _facts(by_caption["Café"]) == (
        *("ann", "Café", "instagram", None, None, "image", None, TIME_US),
    )
    assert by_caption["crème für € 5 “now” 👩‍🍳"]["media_type"] == "carousel"
    assert _images(by_caption["crème für € 5 “now” 👩‍🍳"]) == ["1.jpg", "2.jpg"]
    assert (by_caption["привет"]["author"], _images(by_caption["привет"])) == ("bert", ["of bert"])
    assert not reasons
    # The story; the video of the reel is no image.
    assert image_reasons == {"missing_file": 1}


def test_meta_download_of_facebook_skips_activities_without_content(tmp_path: Path) -> None:
    src = tmp_path / "src"
    posts_file = src / "your_facebook_activity" / "posts" / "your_posts_1.json"
    activity = {"timestamp": TIME_S, "data": [], "title": "Ann added a new friend."}
    unknown = {"timestamp": TIME_S, "label_values": [{"label": "Text", "value": "x"}]}
    entry = facebook_entry("grüße", "your_facebook_activity/posts/media/1.jpg")
    write_json(posts_file, [entry, activity, unknown, entry, facebook_entry("only text")])
    write_image(src / "your_facebook_activity" / "posts" / "media" / "1.jpg")
    posts, reasons, image_reasons = _import("meta-download", src)
    by_caption = {post["caption"]: post for post in posts.values()}
    assert set(by_caption) == {"grüße", "only text"}
    assert _facts(by_caption["grüße"])[2:] == ("facebook", None, None, "image", None, TIME_US)
    assert _images(by_caption["grüße"]) == ["1.jpg"]
    assert reasons == {"no_content": 1, "broken_file": 1, "duplicate_id": 1}
    assert not image_reasons


INSTAGRAM_PROFILE = "personal_information/personal_information/personal_information.json"
FACEBOOK_PROFILE = "personal_information/profile_information/profile_information.json"


def _profile_user(key: str, name: str) -> dict[str, Any]:
    return {"profile_user": [{"string_map_data": {key: {"href": "", "value": name}}}]}


@pytest.mark.parametrize(
    ("file", "profile", "author"),
    [
        (INSTAGRAM_PROFILE, _profile_user("Username", "ann_1"), "ann_1"),
        (INSTAGRAM_PROFILE, _profile_user("Name", mangle("Änn")), "Änn"),
        (FACEBOOK_PROFILE, {"profile_v2": {"name": {"full_name": "Ann B"}}}, "Ann B"),
        (INSTAGRAM_PROFILE, _profile_user("Nieznane", "ann_1"), "instagram-ann"),
        (INSTAGRAM_PROFILE, ["no profile"], "instagram-ann"),
        ("other.json", {}, "instagram-ann"),
    ],
)
@pytest.mark.parametrize("src", [".", "instagram-ann", "instagram-ann/your_activity/content"])
def test_meta_download_has_the_author_of_its_profile_or_folder(
    tmp_path: Path, src: str, file: str, profile: object, author: str
) -> None:
    download = tmp_path / "src" / "instagram-ann"
    page = [instagram_entry("media/1.jpg", "hello")]
    write_json(download / "your_activity" / "content" / "posts_1.json", page)
    write_json(download / file, profile)
    import_posts("meta-download", tmp_path / "src" / src, tmp_path / "out")
    assert read_posts(tmp_path / "out" / "posts", ["author"])["author"].to_pylist() == [author]


# All


@pytest.mark.parametrize(
    ("layout", "name"),
    [("x", "a.json"), ("tiktok", "a.json"), ("youtube", "a.json"), ("zeeschuimer", "a.ndjson"),
     ("meta-download", "posts_1.json"), ("tiktok-download", "user_data.json")],
)  # fmt: skip
def test_json_of_another_structure_is_an_error_and_no_empty_post(
    tmp_path: Path, layout: str, name: str
) -> None:
    src = write_json(tmp_path / name, {"id": "1", "name": "thing", "items": None})
    with pytest.raises(LayoutError, match=r"has another layout: .*no known wrapper"):
        import_posts(layout, src, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layout", "node"),
    [
        ("x", tweet_v2(2, referenced_tweets=[{"type": []}, {"type": {}}])),
        ("x", {"errors": [{"parameter": [], "resource_id": 1}], "meta": {}}),
        ("youtube", youtube_video("v2", kind=[])),
        ("youtube", youtube_video("v2", snippet={"title": [], "description": {}})),
        ("youtube", youtube_page("search", youtube_video("v2", id={"kind": []}))),
    ],
)
def test_lists_in_the_place_of_words_are_no_crash(
    tmp_path: Path, layout: str, node: dict[str, Any]
) -> None:
    first = tweet_v2(1) if layout == "x" else youtube_video("v1")
    posts, _, _ = _import(layout, write_lines(tmp_path / "a.jsonl", [first, node]))
    assert {"1", "v1"} & set(posts)


def test_a_damaged_line_costs_that_line(tmp_path: Path) -> None:
    lines = [json.dumps(research_video(n)).encode() for n in range(4)]
    lines[1] = lines[1][:40]
    lines[2] = lines[2].replace(b"good morning", "café".encode("cp1252"))
    src = tmp_path / "a.jsonl"
    src.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    posts, reasons, _ = _import("tiktok", src)
    assert {key: post["caption"] for key, post in posts.items()} == {
        "0": "good morning", "2": "café", "3": "good morning"
    }  # fmt: skip
    assert reasons == {"broken_file": 1}


def test_times_outside_2005_to_2100_are_left_empty_and_counted(tmp_path: Path) -> None:
    page = research_page(research_video(1, create_time=0), research_video(2, create_time=None))
    summary = import_posts("tiktok", write_json(tmp_path / "a.json", page), tmp_path / "out")
    assert summary.emptied_cells == {"posted_at": 1}


def test_reposts_and_comments_do_not_count_as_damage(tmp_path: Path) -> None:
    tweets = [tweet_v2(1), *(tweet_v2(n, referenced_tweets=[{"type": "retweeted"}])
                             for n in range(2, 9))]  # fmt: skip
    src = write_json(tmp_path / "a.json", tweet_page(*tweets))
    summary = import_posts("x", src, tmp_path / "out")
    assert summary.reasons == {"repost": 7}
    assert summary.warning is None


@pytest.mark.parametrize("encoding", ["windows-1251", "koi8-r", "utf-16"])
@pytest.mark.parametrize("layout", ["zeeschuimer", "4cat"])
def test_exports_are_read_in_their_own_encoding(tmp_path: Path, layout: str, encoding: str) -> None:
    # "Good morning, friends, in the city" in Russian.
    greeting = "\u0414\u043e\u0431\u0440\u043e\u0435 \u0443\u0442\u0440\u043e"
    friends = "\u0434\u0440\u0443\u0437\u044c\u044f \u0432 \u0433\u043e\u0440\u043e\u0434\u0435"
    captions = {str(n): f"{greeting} {n} {friends}" for n in range(40)}
    src = tmp_path / ("a.ndjson" if layout == "zeeschuimer" else "a.csv")
    if layout == "zeeschuimer":
        items = [_captioned_item(int(n), text) for n, text in captions.items()]
        lines = [json.dumps(capture("instagram.com", item, item["id"]), ensure_ascii=False)
                 for item in items]  # fmt: skip
        src.write_text("\n".join(lines) + "\n", encoding=encoding)
    else:
        write_csv(src, [fourcat_row(n, body=text) for n, text in captions.items()])
        src.write_text(src.read_text(encoding="utf-8"), encoding=encoding)
    for given in (None, encoding):
        dest = tmp_path / f"out-{given}"
        summary = import_posts(layout, src, dest, options=ReadingOptions(encoding=given))
        posts = read_posts(dest / "posts", ["post_id", "caption"]).to_pylist()
        assert {post["post_id"]: post["caption"] for post in posts} == captions
        assert summary.encoding is not None
        name = summary.encoding.split(" ", 1)[0].rstrip(",")
        # KOI8-U has the letters of KOI8-R in the same places.
        assert codecs.lookup(name).name[:4] == codecs.lookup(encoding).name[:4]
        assert summary.encoding.endswith("40 posts")
        assert ("(given)" in summary.encoding) == (given is not None)


@pytest.mark.parametrize("layout", SOURCE_LAYOUTS)
def test_each_layout_takes_the_encoding_that_a_reject_may_advise(
    tmp_path: Path, layout: str
) -> None:
    n_posts = write_example(layout, tmp_path / "src")
    src = tmp_path / "src"
    plain = import_posts(layout, src, tmp_path / "plain")
    assert (plain.n_posts, plain.encoding) == (n_posts, None)
    for path in [path for path in src.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    options = ReadingOptions(encoding="utf-16")
    given = import_posts(layout, src, tmp_path / "given", options=options)
    assert given.n_posts == n_posts
    assert given.encoding == f"utf-16 (given), {n_posts} posts"
    shards = [tmp_path / name / "posts" / "00000.parquet" for name in ("plain", "given")]
    assert shards[0].read_bytes() == shards[1].read_bytes()


@pytest.mark.parametrize("layout", SOURCE_LAYOUTS)
def test_files_of_all_other_layouts_are_other_layout_and_no_damage(
    tmp_path: Path, layout: str
) -> None:
    src = tmp_path / "src"
    n_posts = write_example(layout, src / "own")
    for other in SOURCE_LAYOUTS:
        # NDJSON of Zeeschuimer is also one of 4CAT; downloads are told by the names of their files.
        if other not in {layout, "zeeschuimer", "4cat"}:
            write_example(other, src / other)
    write_lines(src / "table.jsonl", [{"post_id": "1", "caption": "a"}])
    write_json(src / "graphql.json", {"data": {"user": {"media": {"edges": []}}}})
    summary = import_posts(layout, src, tmp_path / "out")
    assert summary.n_posts == n_posts
    assert set(summary.reasons) <= {"other_layout"}
    assert summary.warning is None


@pytest.mark.parametrize("mark", ["sep=;\r\n", "Export of 2024-03-01\r\n\r\n", "\ufeff\ufeff"])
def test_tables_of_tools_are_read_with_the_lines_that_spreadsheets_add(
    tmp_path: Path, mark: str
) -> None:
    table = write_csv(tmp_path / "a.csv", [fourcat_row("A1"), fourcat_row("A2")])
    rows = list(csv.reader(io.StringIO(table.read_text(encoding="utf-8"))))
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(rows)
    table.write_text(mark + text.getvalue(), encoding="utf-8", newline="")
    assert detect_layout(table).layout == "4cat"
    posts, reasons, _ = _import("4cat", table)
    assert set(posts) == {"A1", "A2"}
    assert not reasons


def _captioned_item(number: int, caption: str) -> dict[str, Any]:
    return instagram_item(number, id=str(number), caption={"text": caption})
