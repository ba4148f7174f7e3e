"""Durations and transcripts of videos: what each layout has, subtitle files, captions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.platform_exports import (
    archived_tweet,
    capture,
    crowdtangle_facebook_row,
    facebook_item,
    instagram_entry,
    instagram_item,
    research_page,
    research_video,
    threads_item,
    tiktok_item,
    tweet_page,
    tweet_v2,
    web_tweet,
    write_csv,
    write_json,
    write_lines,
    youtube_page,
    youtube_video,
)
from tests.video_files import make_video

from postbias.cli import main
from postbias.posts.importers import ReadingOptions, append_posts, import_posts
from postbias.posts.importers.durations import parse_duration_s
from postbias.posts.importers.media_converter import installed_extras
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.subtitles import parse_subtitles
from postbias.posts.schema import POSTS
from postbias.posts.shards import read_posts
from postbias.posts.video_details import MAX_CHARS, VIDEOS_FILE, read_video_details

_ROLLING = """WEBVTT
Kind: captions
Language: en

STYLE
::cue { color: red }

NOTE a remark

00:00:00.000 --> 00:00:02.000 align:start position:0%
 
<00:00:00.320><c>never</c><00:00:00.640><c> trust</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
never trust
 

00:00:02.010 --> 00:00:04.000 align:start position:0%
never trust
a<00:00:02.500><c> driver</c>

00:00:04.000 --> 00:00:04.010
a driver

00:00:04.010 --> 00:00:06.000
a driver
<v Anna>I said &amp; meant 3 < 4</v>
"""  # noqa: W293 - as YouTube writes it


def _details(data: Path) -> dict[str, tuple[float | None, str | None]]:
    rows = read_video_details(data).to_pylist()
    return {row["post_id"]: (row["duration_s"], row["transcript"]) for row in rows}


def _captions(data: Path) -> dict[str, str]:
    posts = read_posts(data / "posts", ["post_id", "caption"]).to_pylist()
    return {post["post_id"]: post["caption"] for post in posts}


def test_scrolling_subtitles_give_each_line_once() -> None:
    assert parse_subtitles(_ROLLING) == "never trust a driver I said & meant 3 < 4"


def test_numbers_positions_and_missing_blank_lines_of_subrip_are_no_text() -> None:
    text = (
        "1\r\n00:00:01,000 --> 00:00:02,000\r\n{\\an8}<i>One</i>\r\ntwo\r\n"
        "2\r\n00:00:03,000 --> 00:00:04,000\r\n1984\r\n\r\n3\r\n00:00:05,000 --> 00:00:06,000\r\n"
    )
    assert parse_subtitles(text) == "One two 1984"
    assert parse_subtitles("no subtitles\n\n12 --> 13\ntext") == ""


_words = st.text(st.characters(categories=["L"], codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(_words, max_size=8, unique=True), st.sampled_from([".", ","]))
def test_all_cues_of_a_file_are_read_in_order(words: list[str], point: str) -> None:
    cues = [
        f"{n}\n00:{n:02d}:00{point}000 --> 00:{n:02d}:01{point}000\n{word}\n"
        for n, word in enumerate(words)
    ]
    assert parse_subtitles("\n".join(cues)) == " ".join(words)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (12, 12.0), ("12.5", 12.5), ("PT1H2M3.5S", 3723.5), ("P1DT1S", 86401.0),
        ("1:02:03", 3723.0), ("2:03", 123.0), ("P0D", None), (0, None), ("", None), (None, None),
        ("nan", None),
    ],
)  # fmt: skip
def test_durations_are_read_in_the_forms_of_the_platforms(
    value: object, seconds: float | None
) -> None:
    assert parse_duration_s(value) == seconds


@pytest.mark.parametrize("value", [-1, "1e9", "long", True, "1_0", [3], float("inf"), "1:2:3:4"])
def test_other_durations_are_refused(value: object) -> None:
    with pytest.raises(RecordError):
        parse_duration_s(value)


def _zeeschuimer(folder: Path) -> Path:
    video = {"duration": 11, "cover": "https://c.invalid/a.jpg"}
    lines = [
        capture("tiktok.com", tiktok_item(1, video=video), "1"),
        capture("instagram.com", instagram_item(2, video_duration=2.5), "2"),
        capture("threads.net", threads_item(3, video_duration=3), "3"),
        capture(
            "facebook.com",
            facebook_item(4, attachments=[{"media": {"playable_duration_in_ms": 4500}}]),
            "4",
        ),
        capture("twitter.com", web_tweet(5, **_x_media("video_info", "duration_millis")), "5"),
    ]
    return write_lines(folder / "a.ndjson", lines)


def _x_media(*path: str) -> dict[str, Any]:
    info: Any = 7250
    for key in reversed(path):
        info = {key: info}
    media = {"type": "video", "media_url_https": "https://p.invalid/a.jpg", **info}
    return {"extended_entities": {"media": [media]}}


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("tiktok", {"1": (31.0, "she can't park"), "2": (None, None)}),
        ("youtube", {"v1": (63.0, None)}),
        ("x", {"1": (7.25, None), "2": (7.25, None)}),
        ("crowdtangle", {"1": (80.0, None)}),
        ("zeeschuimer", {"1": (11.0, None), "2": (2.5, None), "3": (3.0, None), "4": (4.5, None),
                         "5": (7.25, None)}),
        ("table", {"1": (63.0, "hi there")}),
    ],
)  # fmt: skip
def test_each_layout_gives_what_its_exports_have(
    layout: str, expected: dict[str, tuple[float | None, str | None]], tmp_path: Path
) -> None:
    src = tmp_path / "src"
    if layout == "tiktok":
        first = research_video(1, video_duration=31, voice_to_text="she can't park")
        write_json(src / "a.json", research_page(first, research_video(2, voice_to_text="")))
    elif layout == "youtube":
        details = {"duration": "PT1M3S"}
        write_json(
            src / "a.json", youtube_page("video", youtube_video("v1", contentDetails=details))
        )
    elif layout == "x":
        media = [{"media_key": "k", "type": "video", "duration_ms": 7250}]
        first = tweet_v2(1, attachments={"media_keys": ["k"]})
        page = tweet_page(first) | {"includes": {"media": media}}
        write_lines(
            src / "a.jsonl", [page, archived_tweet(2, **_x_media("video_info", "duration_millis"))]
        )
    elif layout == "crowdtangle":
        row = crowdtangle_facebook_row(1, **{"Video Length": "00:01:20"})
        write_csv(src / "a.csv", [row])
    elif layout == "zeeschuimer":
        _zeeschuimer(src)
    else:
        src.mkdir()
        src /= "a.csv"
        src.write_text("post_id,caption,duration_s,transcript\n1,a,63, hi there \n2,b,,\n")
    import_posts(layout, src, tmp_path / "out")
    found = _details(tmp_path / "out")
    if layout == "crowdtangle":
        found = {"1": next(iter(found.values()))}  # its ids are those of addresses
    assert found == {key: value for key, value in expected.items() if value != (None, None)}


def test_details_change_no_shard_and_exports_without_them_have_no_table(tmp_path: Path) -> None:
    digests = []
    for name, more in (("a", {}), ("b", {"video_duration": 3, "voice_to_text": "hello"})):
        write_json(tmp_path / name / "a.json", research_page(research_video(1, **more)))
        import_posts("tiktok", tmp_path / name, tmp_path / f"{name}-out")
        shard = tmp_path / f"{name}-out" / "posts" / "00000.parquet"
        digests.append(hashlib.sha256(shard.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert not (tmp_path / "a-out" / VIDEOS_FILE).exists()
    assert _details(tmp_path / "b-out") == {"1": (3.0, "hello")}


def test_transcripts_are_appended_to_captions_on_request(tmp_path: Path) -> None:
    videos = [
        research_video(1, voice_to_text="she can't\npark"),
        research_video(2),
        research_video(3, voice_to_text="word " * 2000, video_description=""),
    ]
    src = write_json(tmp_path / "a.json", research_page(*videos))
    first = CliRunner().invoke(main, ["import", "tiktok", str(src), str(tmp_path / "out")])
    assert "2 posts have a transcript" in first.output
    assert _captions(tmp_path / "out")["1"] == "good morning"
    arguments = ["import", "tiktok", str(src), str(tmp_path / "out"), "--transcripts", "--replace"]
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 0, second.output
    assert "--transcripts" not in second.output
    captions = _captions(tmp_path / "out")
    assert captions["1"] == "good morning\n[transcript] she can't park"
    assert captions["2"] == "good morning"
    assert captions["3"].startswith("[transcript] word word")
    assert len(captions["3"]) <= MAX_CHARS + len("[transcript] ")
    assert _details(tmp_path / "out")["3"][1] == ("word " * 2000).strip()


def test_subtitle_files_are_found_beside_videos_and_by_the_id(tmp_path: Path) -> None:
    src = tmp_path / "src"
    (src / "videos").mkdir(parents=True)
    (src / "videos" / "reel.mp4").write_bytes(make_video())
    for name, text in (
        ("videos/reel.de.vtt", "Hallo"), ("videos/reel.en-orig.vtt", "hello"),
        ("videos/reel2.vtt", "other"), ("subs/v2.en.srt", "second"),
    ):  # fmt: skip
        (src / name).parent.mkdir(exist_ok=True)
        (src / name).write_text(f"00:00:01.000 --> 00:00:02.000\n{text}\n", encoding="utf-8")
    (src / "v3.srt").symlink_to("/etc/passwd")
    (src / "v4.vtt").write_text("no cue")
    table = src / "posts.csv"
    rows = ["v1,a,videos/reel.mp4,", "v2,b,,video", "v3,c,,video", "v4,d,,video", "v5,e,,image"]
    table.write_text("\n".join(["post_id,caption,images,media_type", *rows]))
    options = ReadingOptions(transcripts=True)
    summary = import_posts("table", table, tmp_path / "out", options=options)
    assert summary.emptied_cells == {"transcript": 1}
    captions = _captions(tmp_path / "out")
    assert captions == {
        "v1": "a\n[transcript] hello",
        "v2": "b\n[transcript] second",
        "v3": "c",
        "v4": "d",
        "v5": "e",
    }
    if "video" in installed_extras():
        duration_s, transcript = _details(tmp_path / "out")["v1"]
        assert transcript == "hello"
        assert duration_s == pytest.approx(4.0, abs=0.1)


def test_subtitles_of_a_download_of_meta_are_read(tmp_path: Path) -> None:
    entry = instagram_entry("media/reels/1.mp4", "one")
    subtitles = {"uri": "media/other/9.srt", "creation_timestamp": 1}
    entry["media"][0]["media_metadata"] = {"video_metadata": {"subtitles": subtitles}}
    write_json(tmp_path / "src" / "your_instagram_activity" / "media" / "reels.json",
               {"ig_reels_media": [entry]})  # fmt: skip
    path = tmp_path / "src" / "media" / "other" / "9.srt"
    path.parent.mkdir(parents=True)
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\ngood morning\n")
    import_posts("meta-download", tmp_path / "src", tmp_path / "out")
    assert [value[1] for value in _details(tmp_path / "out").values()] == ["good morning"]
    posts = read_posts(tmp_path / "out" / "posts", POSTS.names).to_pylist()
    assert [post["media_type"] for post in posts] == ["video"]


def test_an_append_adds_details_and_keeps_known_ones(tmp_path: Path) -> None:
    def write(name: str, *videos: dict[str, Any]) -> Path:
        return write_json(tmp_path / name / "a.json", research_page(*videos)).parent

    dest = tmp_path / "data"
    import_posts("tiktok", write("a", research_video(1, video_duration=3), research_video(2)), dest)
    later = write("b", research_video(1, voice_to_text="hi"), research_video(3, video_duration=9))
    append_posts("tiktok", dest, lambda to: import_posts("tiktok", later, to, replace=True))
    assert _details(dest) == {"1": (3.0, "hi"), "3": (9.0, None)}
    manifest = json.loads((dest / "import.json").read_text())
    assert manifest["n_posts"] == 3
    import_posts("tiktok", write("c", research_video(4)), dest, replace=True)
    assert not (dest / VIDEOS_FILE).exists()
