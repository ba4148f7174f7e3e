"""Write large exports of invented posts, one of each layout that people import.

Each has the keys or columns that its importer reads and the bulkiest of those that it does not. The
posts have no images, and what a bare loop has to parse is therefore small.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

CAPTION = "Good morning from the kitchen \u2615 new recipe is up, link in bio #food #homemade "
PAGE_POSTS = 100
FILE_POSTS = 10_000
_TIME_S = 1_709_280_550
_URL = f"https://example.org/{'x' * 250}/%d_n.jpg?{'y' * 150}"

Node = dict[str, Any]
#: Id, author, caption, time, likes and comments of a post.
Values = tuple[object, object, object, object, object, object]


@dataclass(frozen=True, slots=True)
class LargeExport:
    """An export to measure.

    Attributes:
        layout: Its layout.
        file: Name of its file; of its folder if it has several files.
        write: Writes a number of posts to that path.
        nodes: Lists the posts in a parsed JSON document, or in a line of one.
        values: Returns the values of a post, of a JSON object or of a row of a CSV file.
    """

    layout: str
    file: str
    write: Callable[[Path, int], None]
    nodes: Callable[[Any], Iterable[Any]] = lambda line: (line,)
    values: Callable[[Any], Values] = tuple  # type: ignore[assignment]


def _time(number: int) -> str:
    """Return a time in ISO 8601, a different one for each post."""
    seconds = number % 86_400
    day = f"2024-{1 + number // 86_400 % 12:02}-{1 + number % 28:02}"
    return f"{day}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _caption(number: int) -> str:
    return CAPTION * (1 + number % 4)


def _media_node(number: int) -> Node:
    url = _URL % number
    candidates = [
        {"url": url, "width": side, "height": side} for side in (1080, 750, 640, 480, 320)
    ]
    user = {"pk": str(number % 97), "username": f"user{number % 97}", "profile_pic_url": url}
    return {
        "pk": str(number), "id": f"{number}_{number % 97}", "code": f"C{number}", "media_type": 1,
        "taken_at": _TIME_S + number, "caption": {"text": _caption(number), "user": user},
        "user": user, "like_count": number, "comment_count": 3, "image_versions2": {},
        "video_versions": candidates, "usertags": None, "location": None, "has_liked": False,
    }  # fmt: skip


def _media_values(node: Node) -> Values:
    return (
        node["pk"], node["user"]["username"], node["caption"]["text"], node["taken_at"],
        node["like_count"], node["comment_count"],
    )  # fmt: skip


def _capture(number: int) -> Node:
    return {
        "nav_index": "1:2:0", "item_id": str(number), "timestamp_collected": _TIME_S * 1000,
        "source_platform": "instagram.com", "source_platform_url": "https://example.org",
        "source_url": "https://example.org", "user_agent": "benchmark", "data": _media_node(number),
    }  # fmt: skip


def _graphql_node(number: int) -> Node:
    url = _URL % number
    return {
        "__typename": "GraphImage", "id": str(number), "shortcode": f"C{number}",
        "edge_media_to_caption": {"edges": [{"node": {"text": _caption(number)}}]},
        "edge_media_preview_like": {"count": number}, "edge_media_to_comment": {"count": 3},
        "taken_at_timestamp": _TIME_S + number, "is_video": False,
        "owner": {"id": str(number % 97), "username": f"user{number % 97}"},
        "thumbnail_resources": [{"src": url, "config_width": side} for side in (150, 240, 320)],
    }  # fmt: skip


def _graphql_values(node: Node) -> Values:
    return (
        node["id"], node["owner"]["username"],
        node["edge_media_to_caption"]["edges"][0]["node"]["text"], node["taken_at_timestamp"],
        node["edge_media_preview_like"]["count"], node["edge_media_to_comment"]["count"],
    )  # fmt: skip


def _tweet(number: int) -> Node:
    return {
        "id": str(number), "text": CAPTION, "author_id": str(number % 97),
        "created_at": f"{_time(number)}.000Z",
        "conversation_id": str(number), "lang": "en",
        "public_metrics": {"like_count": 5, "reply_count": 1, "retweet_count": 0, "quote_count": 0},
        "entities": {"hashtags": [{"start": 1, "end": 5, "tag": "food"}] * 3},
        "edit_history_tweet_ids": [str(number)], "possibly_sensitive": False,
    }  # fmt: skip


def _tweet_page(tweets: list[Node]) -> Node:
    users = [{"id": str(n), "username": f"user{n}", "name": f"User {n}"} for n in range(97)]
    return {"data": tweets, "includes": {"users": users}, "meta": {"result_count": len(tweets)}}


def _tweet_values(node: Node) -> Values:
    metrics = node["public_metrics"]
    return (
        node["id"], node["author_id"], node["text"], node["created_at"], metrics["like_count"],
        metrics["reply_count"],
    )  # fmt: skip


def _youtube_video(number: int) -> Node:
    sizes = ("default", "medium", "high")
    snippet = {
        "publishedAt": f"{_time(number)}Z", "channelId": f"UC{number % 97}",
        "title": f"Recipe {number}", "description": _caption(number),
        "tags": ["food", "homemade", "kitchen"], "categoryId": "26", "liveBroadcastContent": "none",
        "thumbnails": {size: {"width": 120, "height": 90} for size in sizes},
    }  # fmt: skip
    return {
        "kind": "youtube#video", "etag": "x" * 27, "id": f"v{number}", "snippet": snippet,
        "statistics": {"likeCount": str(number), "commentCount": "3", "viewCount": "9"},
    }  # fmt: skip


def _youtube_page(items: list[Node]) -> Node:
    return {"kind": "youtube#videoListResponse", "etag": "x" * 27, "items": items}


def _youtube_values(node: Node) -> Values:
    snippet, statistics = node["snippet"], node["statistics"]
    return (
        node["id"], snippet["channelId"], snippet["description"], snippet["publishedAt"],
        int(statistics["likeCount"]), int(statistics["commentCount"]),
    )  # fmt: skip


def _tiktok_video(number: int) -> Node:
    return {
        "id": number, "video_description": _caption(number), "create_time": _TIME_S + number,
        "username": f"user{number % 97}", "region_code": "NL", "like_count": number,
        "comment_count": 3, "share_count": 0, "view_count": 9, "music_id": number,
        "hashtag_names": ["food", "homemade"], "voice_to_text": CAPTION,
    }  # fmt: skip


def _tiktok_page(videos: list[Node]) -> Node:
    data = {"videos": videos, "cursor": 100, "has_more": True, "search_id": "1"}
    return {"data": data, "error": {"code": "ok", "message": "", "log_id": "1"}}


def _tiktok_values(node: Node) -> Values:
    return (
        str(node["id"]), node["username"], node["video_description"], node["create_time"],
        node["like_count"], node["comment_count"],
    )  # fmt: skip


def _download_entry(number: int) -> Node:
    title = _caption(number).encode().decode("latin-1")
    media = {
        "uri": f"https://example.org/{number}.mp4", "creation_timestamp": _TIME_S + number,
        "media_metadata": {"photo_metadata": {"exif_data": [{"device_id": "x" * 20}]}},
        "title": title, "cross_post_source": {"source_app": "FB"},
    }  # fmt: skip
    return {"media": [media]}


def _download_values(node: Node) -> Values:
    media = node["media"][0]
    return (media["uri"], "", media["title"], media["creation_timestamp"], None, None)


def _tiktok_entry(number: int) -> Node:
    return {
        "Date": _time(number).replace("T", " "), "Link": f"https://example.org/video/{number}.mp4",
        "Likes": str(number), "WhoCanView": "Public", "AllowComments": "Yes", "Sound": "",
        "Title": _caption(number), "Location": "",
    }  # fmt: skip


def _tiktok_download(entries: list[Node]) -> Node:
    return {"Profile": {"Profile Info": {}}, "Video": {"Videos": {"VideoList": entries}}}


def _entry_values(node: Node) -> Values:
    return (node["Link"], "", node["Title"], node["Date"], int(node["Likes"]), None)


_Row = tuple[object, ...]


def _fourcat_row(n: int) -> _Row:
    return (
        n, n, f"https://www.instagram.com/p/{n}", _caption(n), f"user{n % 97}",
        _time(n), "photo", "", "food,homemade", n, 3, _TIME_S + n,
    )  # fmt: skip


FOURCAT_COLUMNS = (
    "id", "thread_id", "url", "body", "author", "timestamp", "type", "image_url", "hashtags",
    "num_likes", "num_comments", "unix_timestamp",
)  # fmt: skip

CROWDTANGLE_COLUMNS = (
    "Page Name", "User Name", "Facebook Id", "Page Category", "Page Admin Top Country",
    "Page Description", "Page Created", "Likes at Posting", "Followers at Posting", "Post Created",
    "Post Created Date", "Post Created Time", "Type", "Total Interactions", "Likes", "Comments",
    "Shares", "Love", "Wow", "Haha", "Sad", "Angry", "Care", "Video Share Status",
    "Is Video Owner?", "Post Views", "Total Views", "Total Views For All Crossposts",
    "Video Length", "URL", "Message", "Link", "Final Link", "Image Text", "Link Text",
    "Description", "Sponsor Id", "Sponsor Name", "Sponsor Category", "Overperforming Score",
)  # fmt: skip


def _crowdtangle_row(n: int) -> _Row:
    return (
        f"User {n % 97}", f"user{n % 97}", str(1000 + n % 97), "FOOD", "NL", "recipes",
        "2012-01-01 09:00:00 EST", "10", "12", f"{_time(n).replace('T', ' ')} EST", "2024-03-01",
        "03:09:10", "Photo", "1,300", n, 3, 0, 1, 0, 0, 0, 0, 0, "", "-", 0, 0, 0, "",
        f"https://www.facebook.com/1000/posts/{n}", _caption(n), "", "", "", "", "", "", "", "",
        "1.2",
    )  # fmt: skip


CONTENT_LIBRARY_COLUMNS = (
    "id", "mcl_url", "creation_time", "modified_time", "text", "lang", "content_type",
    "post_owner.type", "post_owner.id", "post_owner.name", "post_owner.username", "surface.type",
    "shared_post_id", "is_branded_content", "hashtags", "link_attachment.link", "match_type",
    "multimedia", "statistics.comment_count", "statistics.reaction_count",
    "statistics.share_count", "statistics.views",
)  # fmt: skip


def _content_library_row(n: int) -> _Row:
    return (
        n, f"https://www.facebook.com/transparency-tools/content-library/?id={n}",
        f"{_time(n)}+0000", f"{_time(n)}+0000", _caption(n), "en", "photos",
        "facebook_page", n % 97, f"User {n % 97}", f"user{n % 97}", "facebook_page", "", "False",
        "food,homemade", "", "text", "[]", 3, n, 0, 9,
    )  # fmt: skip


TABLE_COLUMNS = ("post_id", "author", "caption", "posted_at", "likes", "comments", "images")


def _table_row(n: int) -> _Row:
    return (n, f"user{n % 97}", _caption(n), _time(n), n, 3, "")


def _cells(*places: int) -> Callable[[Any], Values]:
    def values(row: list[str]) -> Values:
        post_id, author, caption, time, likes, comments = (row[place] for place in places)
        return post_id, author, caption, time, int(likes), int(comments)

    return values


def _write_lines(make: Callable[[int], Node], path: Path, n_posts: int) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"{json.dumps(make(number))}\n" for number in range(n_posts))


def _batches(make: Callable[[int], Node], n_posts: int, size: int) -> Iterator[list[Node]]:
    for start in range(0, n_posts, size):
        yield [make(number) for number in range(start, min(start + size, n_posts))]


def _write_pages(
    make: Callable[[int], Node], page: Callable[[list[Node]], Node], path: Path, n_posts: int
) -> None:
    with path.open("w", encoding="utf-8") as out:
        for batch in _batches(make, n_posts, PAGE_POSTS):
            out.write(f"{json.dumps(page(batch))}\n")


def _write_files(
    make: Callable[[int], Node],
    page: Callable[[list[Node]], Any],
    name: str,
    size: int,
    path: Path,
    n_posts: int,
) -> None:
    path.mkdir()
    for number, batch in enumerate(_batches(make, n_posts, size), start=1):
        (path / f"{name}{number}.json").write_text(json.dumps(page(batch)), encoding="utf-8")


def _write_table(
    columns: tuple[str, ...], make: Callable[[int], _Row], path: Path, n_posts: int
) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out, quoting=csv.QUOTE_ALL)
        rows.writerow(columns)
        rows.writerows(map(make, range(n_posts)))


def _write_instaloader(path: Path, n_posts: int) -> None:
    for number in range(n_posts):
        folder = path / f"user{number % 97}"
        folder.mkdir(parents=True, exist_ok=True)
        clock = f"{number // 3600 % 24:02}-{number // 60 % 60:02}-{number % 60:02}"
        stem = folder / f"{2020 + number // 86_400}-01-01_{clock}_UTC"
        page = {"node": _graphql_node(number), "instaloader": {"node_type": "Post"}}
        stem.with_suffix(".json").write_text(json.dumps(page), encoding="utf-8")
        stem.with_suffix(".txt").write_text(_caption(number), encoding="utf-8")


def _write_influencers(path: Path, n_posts: int) -> None:
    (path / "json").mkdir(parents=True)
    with (path / "post_info.txt").open("w", encoding="utf-8") as rows:
        for number in range(n_posts):
            node = json.dumps(_graphql_node(number))
            (path / "json" / f"{number}.json").write_text(node, encoding="utf-8")
            rows.write(f"{number}\tuser{number % 97}\t0\t{number}.json\t[]\n")


def _graphql_page(nodes: list[Node]) -> Node:
    edges = [{"node": node} for node in nodes]
    return {"data": {"user": {"edge_owner_to_timeline_media": {"edges": edges}}}}


#: The exports by name.
EXPORTS: dict[str, LargeExport] = {
    "zeeschuimer": LargeExport(
        "zeeschuimer", "a.ndjson", partial(_write_lines, _capture),
        lambda line: (line["data"],), _media_values,
    ),
    "4cat": LargeExport(
        "4cat", "a.csv", partial(_write_table, FOURCAT_COLUMNS, _fourcat_row),
        values=_cells(0, 4, 3, 5, 9, 10),
    ),
    "x": LargeExport(
        "x", "a.jsonl", partial(_write_pages, _tweet, _tweet_page),
        lambda page: page["data"], _tweet_values,
    ),
    "youtube": LargeExport(
        "youtube", "a.jsonl", partial(_write_pages, _youtube_video, _youtube_page),
        lambda page: page["items"], _youtube_values,
    ),
    "tiktok": LargeExport(
        "tiktok", "a.jsonl", partial(_write_pages, _tiktok_video, _tiktok_page),
        lambda page: page["data"]["videos"], _tiktok_values,
    ),
    "meta-content-library": LargeExport(
        "meta-content-library", "a.csv",
        partial(_write_table, CONTENT_LIBRARY_COLUMNS, _content_library_row),
        values=_cells(0, 8, 4, 2, 19, 18),
    ),
    "crowdtangle": LargeExport(
        "crowdtangle", "a.csv", partial(_write_table, CROWDTANGLE_COLUMNS, _crowdtangle_row),
        values=_cells(29, 2, 30, 9, 14, 15),
    ),
    "meta-download": LargeExport(
        "meta-download", "download",
        partial(_write_files, _download_entry, list, "posts_", FILE_POSTS),
        lambda page: page, _download_values,
    ),
    "tiktok-download": LargeExport(
        "tiktok-download", "downloads",
        partial(_write_files, _tiktok_entry, _tiktok_download, "user_data_tiktok_", FILE_POSTS),
        lambda page: page["Video"]["Videos"]["VideoList"], _entry_values,
    ),
    "table-csv": LargeExport(
        "table", "a.csv", partial(_write_table, TABLE_COLUMNS, _table_row),
        values=_cells(0, 1, 2, 3, 4, 5),
    ),
    "table-jsonl": LargeExport(
        "table", "a.jsonl",
        partial(_write_lines, lambda n: dict(zip(TABLE_COLUMNS, _table_row(n), strict=True))),
        values=lambda row: (str(row["post_id"]), *(row[name] for name in TABLE_COLUMNS[1:6])),
    ),
    "instaloader": LargeExport(
        "instaloader", "profiles", _write_instaloader,
        lambda page: (page["node"],), _graphql_values,
    ),
    "influencer-brand": LargeExport(
        "influencer-brand", "dataset", _write_influencers, values=_graphql_values
    ),
    "graphql": LargeExport(
        "graphql", "pages",
        partial(_write_files, _graphql_node, _graphql_page, "page_", PAGE_POSTS),
        lambda page: [
            edge["node"]
            for edge in page["data"]["user"]["edge_owner_to_timeline_media"]["edges"]
        ],
        _graphql_values,
    ),
    "api-v1": LargeExport(
        "api-v1", "pages",
        partial(_write_files, _media_node, lambda nodes: {"items": nodes}, "page_", PAGE_POSTS),
        lambda page: page["items"], _media_values,
    ),
}  # fmt: skip
