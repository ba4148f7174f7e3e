"""Small exports in the structure of each research tool, API and account download.

All persons and posts are invented.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

JPEG = b"\xff\xd8\xff\xe0 of "
TIME_S = 1_709_280_550  # 2024-03-01 08:09:10 UTC
TIME_US = TIME_S * 1_000_000

Rows = Sequence[dict[str, object]]


def write_csv(path: Path, rows: Rows) -> Path:
    """Write rows as CSV; the columns are those of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), restval="")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def write_json(path: Path, value: object) -> Path:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, values: Sequence[object]) -> Path:
    """Write NDJSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
    return path


def write_image(path: Path) -> Path:
    """Write a file that starts like a JPEG image and has its own name as content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(JPEG + path.name.encode())
    return path


def fourcat_row(post_id: str, body: str = "hello", **more: object) -> dict[str, object]:
    """Return a row of a 4CAT data set of Instagram."""
    return {
        "id": post_id,
        "thread_id": post_id,
        "parent_id": post_id,
        "url": f"https://www.instagram.com/p/{post_id}",
        "body": body,
        "author": "ann",
        "author_fullname": "Ann",
        "timestamp": "2024-03-01 08:09:10",
        "type": "photo",
        "image_url": f"https://cdn.invalid/v/{post_id}.jpg?x=1",
        "media_url": f"https://cdn.invalid/v/{post_id}.jpg?x=2",
        "hashtags": "a,b",
        "num_likes": "12",
        "num_comments": "3",
        "unix_timestamp": str(TIME_S),
    } | more


def crowdtangle_facebook_row(number: int, **more: object) -> dict[str, object]:
    """Return a row of CrowdTangle's historical data of Facebook."""
    return {
        "Page Name": "Anna's kitchen",
        "User Name": "annaskitchen",
        "Facebook Id": "1000",
        "Page Category": "FOOD",
        "Likes at Posting": "10",
        "Post Created": "2024-03-01 03:09:10 EST",
        "Type": "Native Video",
        "Total Interactions": "1,300",
        "Likes": "1,264",
        "Comments": "7",
        "URL": f"https://www.facebook.com/1000/posts/{number}",
        "Message": "fresh bread",
        "Link": "",
        "Image Text": "",
        "Sponsor Id": "",
        "Sponsor Name": "",
        "Overperforming Score": "1.2",
    } | more


def crowdtangle_instagram_row(code: str, **more: object) -> dict[str, object]:
    """Return a row of CrowdTangle's historical data of Instagram."""
    return {
        "Account": "Anna",
        "User Name": "anna",
        "Followers at Posting": "10",
        "Post Created": "2024-03-01 09:09:10 CET",
        "Type": "Album",
        "Total Interactions": "3",
        "Likes": "2",
        "Comments": "1",
        "URL": f"https://www.instagram.com/p/{code}/",
        "Photo": f"https://cdn.invalid/{code}.jpg?a=b",
        "Title": "",
        "Description": "at the lake",
        "Sponsor Id": "77",
        "Sponsor Name": "Boats",
    } | more


def content_library_row(number: int, **more: object) -> dict[str, object]:
    """Return a row of the Meta Content Library."""
    return {
        "id": str(number),
        "mcl_url": f"https://www.facebook.com/transparency-tools/content-library/?id={number}",
        "creation_time": "2024-03-01T08:09:10+0000",
        "text": "a walk",
        "content_type": "photos",
        "post_owner.id": "55",
        "post_owner.name": "Anna",
        "post_owner.username": "anna",
        "shared_post_id": "",
        "is_branded_content": "False",
        "statistics.comment_count": "4",
        "statistics.reaction_count": "9",
        "statistics.share_count": "0",
    } | more


def twarc_row(number: int, **more: object) -> dict[str, object]:
    """Return a row of twarc-csv."""
    media = [
        {"media_key": "3_1", "type": "photo", "url": f"https://pbs.invalid/media/{number}.jpg"}
    ]
    return {
        "id": str(number),
        "conversation_id": str(number),
        "referenced_tweets.replied_to.id": "",
        "referenced_tweets.retweeted.id": "",
        "author_id": "9",
        "created_at": "2024-03-01T08:09:10.000Z",
        "text": "good morning",
        "public_metrics.like_count": "5",
        "public_metrics.reply_count": "1",
        "attachments.media": json.dumps(media),
        "author.username": "ann",
    } | more


def tweet_v2(number: int, **more: object) -> dict[str, Any]:
    """Return a post of API v2 of X."""
    return {
        "id": str(number),
        "text": "good morning",
        "author_id": "9",
        "created_at": "2024-03-01T08:09:10.000Z",
        "conversation_id": str(number),
        "edit_history_tweet_ids": [str(number)],
        "public_metrics": {"like_count": 5, "reply_count": 1, "retweet_count": 0},
        "attachments": {"media_keys": [f"3_{number}"]},
    } | more


def tweet_page(*tweets: dict[str, Any], **more: object) -> dict[str, Any]:
    """Return a page of API v2 of X."""
    media = [
        {
            "media_key": f"3_{t['id']}",
            "type": "photo",
            "url": f"https://pbs.invalid/m/{t['id']}.jpg",
        }
        for t in tweets
    ]
    includes = {"users": [{"id": "9", "username": "ann", "name": "Ann"}], "media": media}
    return {
        "data": list(tweets),
        "includes": includes,
        "meta": {"result_count": len(tweets)},
    } | more


def archived_tweet(number: int, **more: object) -> dict[str, Any]:
    """Return a post in the archive of an account of X."""
    media = [{"type": "photo", "media_url_https": f"https://pbs.invalid/media/F{number}.jpg"}]
    tweet = {
        "id_str": str(number),
        "id": str(number),
        "full_text": "good morning",
        "created_at": "Fri Mar 01 08:09:10 +0000 2024",
        "favorite_count": "5",
        "retweet_count": "0",
        "entities": {"media": media[:1]},
        "extended_entities": {"media": media},
    } | more
    return {"tweet": tweet}


def web_tweet(number: int, **legacy: object) -> dict[str, Any]:
    """Return a post of the web interface of X."""
    return {
        "__typename": "Tweet",
        "rest_id": str(number),
        "core": {"user_results": {"result": {"legacy": {"screen_name": "ann"}}}},
        "legacy": {
            "id_str": str(number),
            "full_text": "good morning",
            "created_at": "Fri Mar 01 08:09:10 +0000 2024",
            "favorite_count": 5,
            "reply_count": 1,
            "entities": {},
        }
        | legacy,
        "promoted": False,
    }


def instagram_item(number: int, **more: object) -> dict[str, Any]:
    """Return a media node of Instagram's API v1."""
    return {
        "pk": str(number),
        "id": f"{number}_9",
        "code": f"C{number}",
        "media_type": 1,
        "taken_at": TIME_S,
        "caption": {"text": "good morning"},
        "user": {"username": "ann"},
        "like_count": 5,
        "comment_count": 1,
        "image_versions2": {"candidates": [{"url": f"https://cdn.invalid/{number}_n.jpg?e=1"}]},
    } | more


def tiktok_item(number: int, **more: object) -> dict[str, Any]:
    """Return a video of the web interface of TikTok."""
    return {
        "id": str(number),
        "desc": "good morning",
        "createTime": str(TIME_S),
        "author": {"id": "1", "uniqueId": "ann", "nickname": "Ann"},
        "stats": {"diggCount": 5, "commentCount": 1, "shareCount": 0, "playCount": 9},
        "video": {"cover": f"https://p16.invalid/obj/{number}~tplv-photo.image?x-expires=1"},
        "isAd": False,
    } | more


def threads_item(number: int, **more: object) -> dict[str, Any]:
    """Return a post of Threads."""
    return (
        instagram_item(number)
        | {
            "media_type": 19,
            "carousel_media": None,
            "video_versions": None,
            "is_paid_partnership": None,
            "text_post_app_info": {"direct_reply_count": 1, "share_info": {"reposted_post": None}},
        }
        | more
    )


def linkedin_item(number: int, **more: object) -> dict[str, Any]:
    """Return a post of LinkedIn."""
    return {
        "updateMetadata": {"urn": f"urn:li:activity:{number}"},
        "actor": {
            "name": {"text": "Ann"},
            "navigationContext": {"actionTarget": "https://www.linkedin.com/in/ann?mini=1"},
            "subDescription": {"text": "18h •"},
        },
        "commentary": {"text": {"text": "good morning"}},
        "content": None,
        "*socialDetail": {"*totalSocialActivityCounts": {"numLikes": 5, "numComments": 1}},
    } | more


def facebook_item(number: int, **story: object) -> dict[str, Any]:
    """Return a post of the web interface of Facebook."""
    metadata = [
        {
            "__typename": "CometFeedStoryMinimizedTimestampStrategy",
            "story": {"creation_time": TIME_S, "url": "https://www.facebook.com/ann"},
        }
    ]
    return {
        "comet_sections": {
            "content": {
                "story": {
                    "post_id": str(number),
                    "message": {"text": "good morning"},
                    "actors": [{"url": "https://www.facebook.com/ann", "name": "Ann"}],
                    "attachments": [],
                }
                | story
            },
            "context_layout": {"story": {"comet_sections": {"metadata": metadata}}},
        }
    }  # fmt: skip


def capture(platform: str, data: dict[str, Any], item_id: object = "1") -> dict[str, Any]:
    """Return a line of Zeeschuimer."""
    return {
        "nav_index": "1:2:0",
        "item_id": item_id,
        "timestamp_collected": TIME_S * 1000,
        "source_platform": platform,
        "source_platform_url": f"https://{platform}/",
        "source_url": f"https://{platform}/api",
        "user_agent": "test",
        "data": data,
    }


def research_video(number: int, **more: object) -> dict[str, Any]:
    """Return a video of TikTok's Research API."""
    return {
        "id": number,
        "video_description": "good morning",
        "create_time": TIME_S,
        "username": "ann",
        "region_code": "NL",
        "like_count": 5,
        "comment_count": 1,
        "share_count": 0,
        "view_count": 9,
        "hashtag_names": ["a"],
    } | more


def research_page(*videos: dict[str, Any]) -> dict[str, Any]:
    """Return a page of TikTok's Research API."""
    data = {"videos": list(videos), "cursor": 100, "has_more": False, "search_id": "1"}
    return {"data": data, "error": {"code": "ok", "message": ""}}


def youtube_video(video_id: str, **more: object) -> dict[str, Any]:
    """Return a video of YouTube's Data API."""
    return {
        "kind": "youtube#video",
        "id": video_id,
        "snippet": {
            "publishedAt": "2024-03-01T08:09:10Z",
            "channelId": "UC1",
            "title": "Bread",
            "description": "how to bake it",
            "thumbnails": {"high": {"url": f"https://i.invalid/vi/{video_id}/hqdefault.jpg"}},
        },
        "statistics": {"likeCount": "5", "commentCount": "1", "viewCount": "9"},
    } | more


def youtube_thread(comment_id: str) -> dict[str, Any]:
    """Return a comment thread of YouTube's Data API."""
    snippet = {
        "textDisplay": "yum",
        "textOriginal": "yum",
        "authorDisplayName": "@bert",
        "authorChannelId": {"value": "UC2"},
        "likeCount": 2,
        "publishedAt": "2024-03-01T08:09:10Z",
    }
    top = {"kind": "youtube#comment", "id": comment_id, "snippet": snippet}
    return {
        "kind": "youtube#commentThread",
        "id": comment_id,
        "snippet": {"videoId": "v1", "topLevelComment": top, "totalReplyCount": 0},
    }


def youtube_page(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    """Return a response of YouTube's Data API."""
    return {"kind": f"youtube#{kind}ListResponse", "etag": "x", "items": list(items)}


def mangle(text: str) -> str:
    """Decode UTF-8 as Latin-1, as the downloads of Meta do."""
    return text.encode().decode("latin-1")


def instagram_entry(uri: str, title: str) -> dict[str, Any]:
    """Return an entry of `posts_1.json` of Instagram."""
    return {"media": [{"uri": uri, "creation_timestamp": TIME_S, "title": mangle(title)}]}


def facebook_entry(text: str, uri: str | None = None) -> dict[str, Any]:
    """Return an entry of `your_posts_1.json` of Facebook."""
    media = {"uri": uri, "creation_timestamp": TIME_S, "description": mangle(text)}
    return {
        "timestamp": TIME_S,
        "attachments": [{"data": [{"media": media}]}] if uri else [],
        "data": [{"post": mangle(text)}, {"update_timestamp": TIME_S}],
        "title": "Ann updated her status.",
    }


def tiktok_download(*videos: dict[str, Any]) -> dict[str, Any]:
    """Return `user_data_tiktok.json`."""
    return {
        "Profile": {"Profile Information": {"ProfileMap": {"userName": "ann"}}},
        "Activity": {"Video Browsing History": {"VideoList": [{"Date": "x", "Link": "y"}]}},
        "Video": {"Videos": {"VideoList": list(videos)}},
    }


def write_example(layout: str, folder: Path) -> int:
    """Write an export of a layout with two posts.

    Args:
        layout: A layout of research tools, APIs or downloads.
        folder: Receives the files.

    Returns:
        Number of its posts.
    """
    rows: dict[str, Rows] = {
        "4cat": [fourcat_row("A1"), fourcat_row("A2")],
        "crowdtangle": [crowdtangle_facebook_row(1), crowdtangle_facebook_row(2)],
        "meta-content-library": [content_library_row(1), content_library_row(2)],
    }
    values: dict[str, tuple[str, object]] = {
        "x": ("page.json", tweet_page(tweet_v2(1), tweet_v2(2))),
        "youtube": ("page.json", youtube_page("video", youtube_video("v1"), youtube_video("v2"))),
        "tiktok": ("page.json", research_page(research_video(1), research_video(2))),
        "meta-download": (
            "your_instagram_activity/media/posts_1.json",
            [
                instagram_entry("media/posts/1.jpg", "one"),
                instagram_entry("media/posts/2.jpg", "2"),
            ],
        ),
        "tiktok-download": (
            "user_data_tiktok.json",
            tiktok_download(
                {
                    "Date": "2024-03-01 08:09:10",
                    "Link": "https://t.invalid/video/1",
                    "Title": "one",
                },
                {
                    "Date": "2024-03-02 08:09:10",
                    "Link": "https://t.invalid/video/2",
                    "Title": "two",
                },
            ),
        ),
    }
    if layout in rows:
        write_csv(folder / "export.csv", rows[layout])
    elif layout == "zeeschuimer":
        lines = [capture("instagram.com", instagram_item(n)) for n in (1, 2)]
        write_lines(folder / "export.ndjson", lines)
    else:
        name, value = values[layout]
        write_json(folder / name, value)
    return 2
