"""What each layout reads: handmade exports, and real ones counted independently."""

from __future__ import annotations

import csv
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postbias.errors import CorpusError, InputError, LayoutError, SchemaError
from postbias.posts.importers import Columns, ImportSummary, ReadingOptions, import_posts
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real exports next to this checkout")


def _import(
    layout: str, src: Path, dest: Path, options: ReadingOptions | None = None
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], ImportSummary]:
    summary = import_posts(layout, src, dest, options=options)
    posts = read_posts(dest / "posts", POSTS.names).to_pylist()
    rejects = read_table(dest / "rejects.parquet", REJECTS).to_pylist()
    return {post["post_id"]: post for post in posts}, rejects, summary


def _node(number: int, caption: str | None = "hello", **more: Any) -> dict[str, Any]:
    edges = [] if caption is None else [{"node": {"text": caption}}]
    return {
        "id": str(number),
        "__typename": "GraphImage",
        "edge_media_to_caption": {"edges": edges},
        "edge_media_preview_like": {"count": 12},
        "edge_media_to_comment": {"count": 3},
        "taken_at_timestamp": 1_500_000_000,
        **more,
    }


def _brand_export(root: Path, lines: list[str], nodes: dict[str, object]) -> Path:
    (root / "json").mkdir(parents=True)
    for name, node in nodes.items():
        data = node if isinstance(node, bytes) else json.dumps(node).encode()
        (root / "json" / name).write_bytes(data)
    (root / "post_info.txt").write_bytes("".join(lines).encode())
    return root


# influencer-brand


def test_influencer_brand_reads_both_views_several_folders_and_odd_lines(tmp_path: Path) -> None:
    many = [f"c{number}.jpg" for number in range(16)]
    root = _brand_export(
        tmp_path / "src",
        [
            "0\tanna\t1\t1.json\t['a.jpg']\r\n",
            "1\tbert\t0\t2.json\t[]\n",
            f"2\tanna\t0\t3.json\t{many}\n",
            '3\tcara\t0\t4.json\t"[\'d e.jpg\', ""f\'g.jpg""]"\n',
            "\n",
        ],
        {
            "1.json": _node(1, owner={"username": "anna", "id": "9"}, is_video=False),
            "2.json": {"id": "2", "edge_media_to_caption": {"edges": []}},
            "3.json": _node(3, __typename="GraphSidecar"),
            "4.json": _node(4),
        },
    )
    for position, name in enumerate(["a.jpg", *many, "d e.jpg", "f'g.jpg"]):
        folder = root / f"img_resized_{position % 3 + 1}"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(name.encode())
    posts, rejects, summary = _import("influencer-brand", root, tmp_path / "out")
    assert not rejects
    assert summary.n_images == 19
    assert posts["1"] == {
        "post_id": "1",
        "author": "anna",
        "caption": "hello",
        "images": [{"bytes": b"a.jpg", "path": "img_resized_1/a.jpg"}],
        "sponsored": True,
        "posted_at": datetime.fromtimestamp(1_500_000_000, UTC),
        "likes": 12,
        "comments": 3,
        "media_type": "image",
        "platform": "instagram",
        "source": "json/1.json",
    }
    assert (posts["2"]["caption"], posts["2"]["images"], posts["2"]["likes"]) == ("", [], None)
    assert [image["bytes"].decode() for image in posts["3"]["images"]] == many
    assert [image["bytes"] for image in posts["4"]["images"]] == [b"d e.jpg", b"f'g.jpg"]


def test_influencer_brand_rejects_each_broken_line_and_file_by_name(tmp_path: Path) -> None:
    nodes: dict[str, object] = {
        "1.json": _node(1),
        "2.json": b'{"id": "2", "edge',
        "3.json": {"graphql": {"shortcode_media": _node(3)}},
        "5.json": _node(5, caption=7),  # type: ignore[arg-type]
        "7.json": b"[" * 100_000,
    }
    lines = [
        "0\tann\t0\t1.json\t['gone.jpg']\n",
        "1\tann\t0\t2.json\t[]\n",
        "2\tann\t0\t3.json\t[]\n",
        "3\tann\t0\t4.json\t[]\n",
        "4\tann\t0\t5.json\t[]\n",
        "5\tann\t0\t1.json\t[]\n",
        "6\tann\t0\t7.json\t[]\n",
        "7\tann\tmaybe\t8.json\t[]\n",
        "8\tann\t0\t9.json\t__import__('os').system('x')\n",
        "9\tann\t0\t../../secret.json\t[]\n",
        "10\tann\t0\t11.json\t['../x.jpg']\n",
        "11\tann\t0\n",
        "12\t\t0\t13.json\t[]\n",
        "13\tann\t0\t.json\t[]\n",
    ]
    root = _brand_export(tmp_path / "src", lines, nodes)
    posts, rejects, summary = _import("influencer-brand", root, tmp_path / "out")
    assert list(posts) == ["1"]
    assert summary.n_posts + summary.n_rejects == len(lines)
    assert [(row["source"], row["reason"]) for row in rejects] == [
        ("json/1.json", "missing_file"),
        ("json/2.json", "broken_file"),
        ("json/3.json", "broken_file"),
        ("json/4.json", "missing_file"),
        ("json/5.json", "broken_file"),
        ("json/1.json", "duplicate_id"),
        ("json/7.json", "broken_file"),
        ("post_info.txt:8", "broken_row"),
        ("post_info.txt:9", "broken_row"),
        ("post_info.txt:10", "broken_row"),
        ("json/11.json", "missing_file"),
        ("post_info.txt:12", "broken_row"),
        ("post_info.txt:13", "broken_row"),
        ("post_info.txt:14", "missing_id"),
    ]
    assert rejects[0]["stage"] == "import image"


def test_images_unpacked_later_make_another_import(tmp_path: Path) -> None:
    root = _brand_export(tmp_path / "src", ["0\ta\t0\t1.json\t['a.jpg']\n"], {"1.json": _node(1)})
    import_posts("influencer-brand", root, tmp_path / "out")
    (root / "img").mkdir()
    (root / "img" / "a.jpg").write_bytes(b"a")
    with pytest.raises(InputError, match="--replace"):
        import_posts("influencer-brand", root, tmp_path / "out")
    assert import_posts("influencer-brand", root, tmp_path / "out", replace=True).n_images == 1


def test_an_export_whose_json_is_all_wrapped_has_another_layout(tmp_path: Path) -> None:
    page = {"items": [{"pk": 1, "media_type": 1}]}
    root = _brand_export(tmp_path / "src", ["0\ta\t0\t1.json\t[]\n"], {"1.json": page})
    with pytest.raises(LayoutError, match=r"1\.json.*influencer-brand, instaloader, graphql"):
        import_posts("influencer-brand", root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (json.dumps(_node(1, "plain \u00e9")).encode("utf-16"), "plain \u00e9"),
        (json.dumps(_node(1, "plain")).encode("utf-16-le"), "plain"),
        (b"\xef\xbb\xbf" + json.dumps(_node(1, "marked")).encode(), "marked"),
        (json.dumps(_node(1, "caf#")).replace("#", "\u00e9").encode("cp1252"), "caf\u00e9"),
        (json.dumps(_node(1, "l\u2019\u00e9t\u00e9 \u2728".encode().decode("cp1252"))).encode(),
         "l\u2019\u00e9t\u00e9 \u2728"),
        (json.dumps(_node(1, "half \ud83d")).encode(), "half \ufffd"),
        (json.dumps(_node(1, "pair \ud83d\ude00")).encode(), "pair \U0001f600"),
        (json.dumps(_node(1, "nul\0 and\r\nline")).encode(), "nul and\nline"),
    ],
    ids=["utf-16", "utf-16 unmarked", "bom", "cp1252", "mojibake", "half", "pair", "nul"],
)  # fmt: skip
def test_damaged_text_is_repaired(tmp_path: Path, data: bytes, expected: str) -> None:
    root = _brand_export(tmp_path / "src", ["0\ta\t0\t1.json\t[]\n"], {"1.json": data})
    posts, _, _ = _import("influencer-brand", root, tmp_path / "out")
    assert posts["1"]["caption"] == expected


def test_text_in_no_known_encoding_is_rejected(tmp_path: Path) -> None:
    nodes: dict[str, object] = {"1.json": _node(1), "2.json": b"\xff\xfe{\x00\xd8"}
    lines = ["0\ta\t0\t1.json\t[]\n", "1\ta\t0\t2.json\t[]\n"]
    root = _brand_export(tmp_path / "src", lines, nodes)
    _, rejects, _ = _import("influencer-brand", root, tmp_path / "out")
    assert [row["reason"] for row in rejects] == ["bad_encoding"]


# instaloader


def test_instaloader_groups_files_by_stem(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "anna"
    folder.mkdir(parents=True)
    stem = "2020-01-0{}_10-00-00_UTC"

    def post(number: int, **node: Any) -> bytes:
        wrapped = {"node": _node(number, **node), "instaloader": {"node_type": "Post"}}
        return json.dumps(wrapped).encode()

    (folder / (stem.format(1) + ".json.xz")).write_bytes(lzma.compress(post(1)))
    for number in (2, 10, 1):
        (folder / f"{stem.format(1)}_{number}.jpg").write_bytes(str(number).encode())
    (folder / (stem.format(2) + ".json")).write_bytes(post(2, caption=None))
    (folder / (stem.format(2) + ".txt")).write_text("from the text file\n")
    (folder / (stem.format(2) + ".jpg")).write_bytes(b"one")
    (folder / (stem.format(3) + ".txt")).write_text("no JSON")
    (folder / (stem.format(3) + "_1.webp")).write_bytes(b"w")
    (folder / (stem.format(4) + ".json.xz")).write_bytes(b"\xfd7zXZ broken")
    (folder / (stem.format(2) + "_comments.json")).write_text("[]")
    (folder / "2020-01-01_10-00-00_UTC_profile_pic.jpg").write_bytes(b"p")
    (folder / "anna_123.json").write_text(
        json.dumps({"node": {"id": "123"}, "instaloader": {"node_type": "Profile"}})
    )
    posts, rejects, _ = _import("instaloader", tmp_path / "src", tmp_path / "out")
    third = "anna/2020-01-03_10-00-00_UTC"
    assert set(posts) == {"1", "2", third}
    assert [image["bytes"] for image in posts["1"]["images"]] == [b"1", b"2", b"10"]
    assert posts["2"]["caption"] == "from the text file"
    assert posts[third]["author"] == "anna"
    assert posts[third]["posted_at"] == datetime(2020, 1, 3, 10, tzinfo=UTC)
    assert [image["path"] for image in posts[third]["images"]] == [f"{third}_1.webp"]
    assert [row["source"] for row in rejects] == ["anna/2020-01-04_10-00-00_UTC.json.xz"]


def test_a_folder_without_instaloader_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "notes.txt").write_text("x")
    with pytest.raises(LayoutError, match="_UTC"):
        import_posts("instaloader", tmp_path / "src", tmp_path / "out")


# graphql and api-v1


def _graphql_ids(page: Any) -> set[str]:
    """Collect the ids of all objects with a caption edge, independently of the importer."""
    if isinstance(page, dict):
        own = {page["id"]} if "edge_media_to_caption" in page else set()
        return own.union(*map(_graphql_ids, page.values()))
    return set().union(*map(_graphql_ids, page)) if isinstance(page, list) else set()


@needs_real
def test_real_graphql_pages_yield_every_post_once_with_its_caption(tmp_path: Path) -> None:
    src = REAL / "instagram_json"
    names = ["hashtag.json", "location-medias.json", "medias.json"]
    pages = [json.loads((src / name).read_text()) for name in names]
    posts, rejects, summary = _import("graphql", src, tmp_path / "out")
    assert set(posts) == set().union(*map(_graphql_ids, pages))
    assert sum(bool(post["caption"]) for post in posts.values()) > 0.9 * len(posts)
    reasons = {"broken_file", "other_layout"}
    by_name = {row["source"]: row for row in rejects if row["reason"] in reasons}
    assert set(by_name) == {"media-2.json", "media.json", "medias-error.json", "timeline.json"}
    assert "layout api-v1" in by_name["media.json"]["detail"]
    assert summary.n_rejects == sum(row["stage"] == "import" for row in rejects)
    first = pages[2]["data"]["user"]["edge_owner_to_timeline_media"]["edges"][0]["node"]
    assert (
        posts[first["id"]]["caption"] == first["edge_media_to_caption"]["edges"][0]["node"]["text"]
    )
    assert posts[first["id"]]["author"] == "robertdowneyjr"
    assert posts[first["id"]]["likes"] == first["edge_media_preview_like"]["count"]


@needs_real
def test_real_api_pages_yield_every_post_with_its_caption(tmp_path: Path) -> None:
    src = REAL / "instagram_json"
    items = [
        *json.loads((src / "media.json").read_text())["items"],
        *json.loads((src / "media-2.json").read_text())["items"],
        *(
            entry["media_or_ad"]
            for entry in json.loads((src / "timeline.json").read_text())["feed_items"]
        ),
    ]
    posts, _, _ = _import("api-v1", src, tmp_path / "out")
    assert {post_id: post["caption"] for post_id, post in posts.items()} == {
        item["id"].split("_")[0]: item["caption"]["text"] for item in items
    }
    assert {post["author"] for post in posts.values()} == {i["user"]["username"] for i in items}


@needs_real
@pytest.mark.parametrize(
    ("layout", "name"),
    [("graphql", "media.json"), ("api-v1", "hashtag.json"), ("instaloader", ".")],
)
def test_a_real_file_of_another_layout_is_an_error_that_names_the_layouts(
    tmp_path: Path, layout: str, name: str
) -> None:
    with pytest.raises(LayoutError, match="influencer-brand, instaloader, graphql, api-v1, table"):
        import_posts(layout, REAL / "instagram_json" / name, tmp_path / "out")


@needs_real
def test_a_real_broken_file_alone_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"medias-error\.json: not JSON"):
        import_posts("graphql", REAL / "instagram_json" / "medias-error.json", tmp_path / "out")


@pytest.mark.parametrize(
    "page",
    [
        {"graphql": {"shortcode_media": _node(1)}},
        {"data": {"xdt_shortcode_media": _node(1)}},
        {"data": {"user": {"edge_owner_to_timeline_media": {"edges": [{"node": _node(1)}]}}}},
        {"data": {"a_connection": {"edges": [{"node": {"pk": 1, "media_type": 1}}]}}},
        _node(1),
    ],
)
def test_graphql_wrappers_are_recognised(tmp_path: Path, page: object) -> None:
    (tmp_path / "page.json").write_text(json.dumps(page))
    posts, _, _ = _import("graphql", tmp_path / "page.json", tmp_path / "out")
    assert set(posts) == {"1"}


@pytest.mark.parametrize(
    "page",
    [
        {"items": [{"pk": 1, "media_type": 1}]},
        {"items": [{"media": {"id": "1_2", "media_type": 8}}]},
        {"sections": [{"layout_content": {"medias": [{"media": {"pk": "1", "media_type": 2}}]}}]},
        {"feed_items": [{"suggested_users": {}}, {"media_or_ad": {"pk": 1, "media_type": 1}}]},
        {"pk": 1, "media_type": 1},
    ],
)
def test_api_wrappers_are_understood(tmp_path: Path, page: object) -> None:
    (tmp_path / "page.json").write_text(json.dumps(page))
    posts, rejects, _ = _import("api-v1", tmp_path / "page.json", tmp_path / "out")
    assert set(posts) == {"1"}
    assert not rejects


@pytest.mark.parametrize(
    "page",
    [{}, [], 7, None, "x", {"data": None}, {"status": "ok"}, {"items": 3},
     {"data": {"user": {"followers": {"edges": [{"node": {}}]}}}}],
)  # fmt: skip
def test_unknown_wrappers_are_errors_and_never_empty_posts(tmp_path: Path, page: object) -> None:
    (tmp_path / "page.json").write_text(json.dumps(page))
    for layout in ("graphql", "api-v1"):
        with pytest.raises(LayoutError, match="no known wrapper"):
            import_posts(layout, tmp_path / "page.json", tmp_path / "out")


def test_pages_use_the_images_in_their_folder(tmp_path: Path) -> None:
    src = tmp_path / "src"
    (src / "img").mkdir(parents=True)
    slides = {
        "edges": [{"node": {"display_url": f"https://cdn.example/v/{n}.jpg?x=1"}} for n in "ab"]
    }
    nodes = [
        _node(1, edge_sidecar_to_children=slides),
        _node(2, shortcode="Cxyz"),
        _node(3, display_url="https://cdn.example/../../etc/passwd"),
    ]
    for name in ("a", "b", "Cxyz"):
        (src / "img" / f"{name}.jpg").write_bytes(name.encode())
    edges = [{"node": node} for node in nodes]
    page = {"data": {"user": {"edge_owner_to_timeline_media": {"edges": edges}}}}
    (src / "page.json").write_text(json.dumps(page))
    posts, _, _ = _import("graphql", src, tmp_path / "out")
    images = {number: [image["bytes"] for image in posts[number]["images"]] for number in "123"}
    assert images == {"1": [b"a", b"b"], "2": [b"Cxyz"], "3": []}


# table


@needs_real
@pytest.mark.parametrize(("name", "n_posts"), [("edos.csv", 20_000), ("qwen_captions.csv", 28)])
def test_real_tables_keep_every_caption(tmp_path: Path, name: str, n_posts: int) -> None:
    with (REAL / name).open(newline="", encoding="utf-8") as file:
        expected = {row["post_id"]: row["caption"] for row in csv.DictReader(file)}
    posts, rejects, summary = _import("table", REAL / name, tmp_path / "out")
    assert summary.n_posts == n_posts == len(expected)
    assert not rejects
    same = sum(posts[post_id]["caption"] == caption for post_id, caption in expected.items())
    # A few captions of these crawls contain mojibake, which the import repairs.
    assert same >= n_posts * 0.999


def _rows() -> list[dict[str, Any]]:
    return [
        {"post_id": "1", "caption": "caf\u00e9\nnoir", "author": "anna", "images": ["a.jpg"],
         "sponsored": True, "posted_at": "2020-02-03T04:05:06Z", "likes": 5},
        {"post_id": "2", "caption": "", "author": "", "images": ["sub/b.jpg", "a.jpg"],
         "sponsored": None, "posted_at": None, "likes": None},
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "semicolon", "utf-16", "tsv", "jsonl", "parquet"])
def test_every_kind_of_table_yields_the_same_posts(tmp_path: Path, kind: str) -> None:
    src = tmp_path / "src"
    (src / "sub").mkdir(parents=True)
    (src / "a.jpg").write_bytes(b"a")
    (src / "sub" / "b.jpg").write_bytes(b"b")
    path = src / f"t.{'csv' if kind in {'semicolon', 'utf-16'} else kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, _rows())) + "\n\n")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(_rows()), path)
    else:
        delimiter = {"semicolon": ";", "tsv": "\t"}.get(kind, ",")
        encoding = "utf-16" if kind == "utf-16" else "utf-8-sig"
        with path.open("w", newline="", encoding=encoding) as file:
            writer = csv.DictWriter(file, _rows()[0], delimiter=delimiter)
            writer.writeheader()
            for row in _rows():
                writer.writerow(row | {"images": "|".join(row["images"])})
    posts, rejects, _ = _import("table", path, tmp_path / "out")
    assert not rejects
    assert posts["1"]["caption"] == "caf\u00e9\nnoir"
    assert posts["1"]["sponsored"] is True
    assert posts["1"]["posted_at"] == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert (posts["1"]["likes"], posts["2"]["likes"]) == (5, None)
    assert [image["bytes"] for image in posts["2"]["images"]] == [b"b", b"a"]
    assert (posts["1"]["author"], posts["2"]["author"]) == ("anna", "post:2")


def test_post_shards_can_be_imported_as_tables(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "t.jsonl").write_text('{"post_id": "1", "caption": "c", "images": "a.jpg"}')
    first, _, _ = _import("table", tmp_path / "t.jsonl", tmp_path / "one")
    again, _, _ = _import("table", tmp_path / "one" / "posts" / "00000.parquet", tmp_path / "two")
    assert again["1"] | {"source": "t.jsonl:1"} == first["1"]


def test_image_paths_may_not_leave_the_folder_and_addresses_are_not_fetched(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (src / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    paths = ["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "https://example.org/a.jpg"]
    lines = [{"post_id": str(n), "caption": "c", "images": [path]} for n, path in enumerate(paths)]
    (src / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    posts, rejects, _ = _import("table", src / "t.jsonl", tmp_path / "out")
    assert all(post["images"] == [] for post in posts.values())
    assert [row["stage"] for row in rejects] == ["import image"] * 4
    assert [row["reason"] for row in rejects] == ["outside_folder"] * 3 + ["not_downloaded"]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,who\n1,hello,anna\n")
    columns = Columns(post_id="id", caption="text", author="who")
    posts, _, _ = _import("table", tmp_path / "t.csv", tmp_path / "out", ReadingOptions(columns))
    assert (posts["1"]["caption"], posts["1"]["author"]) == ("hello", "anna")
    with pytest.raises(SchemaError, match=r"post_id, caption.*'id', 'text', 'who'.*--column"):
        import_posts("table", tmp_path / "t.csv", tmp_path / "other")
    (tmp_path / "t.csv").write_text("post_id,caption,caption\n1,a,b\n")
    with pytest.raises(SchemaError, match="same name"):
        import_posts("table", tmp_path / "t.csv", tmp_path / "other")


def test_invalid_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "post_id,caption,sponsored,likes,posted_at,images\n"
        "1,ok,,,,\n"
        "2,too few\n"
        f"3,{'x' * 200_000},,,,\n"
    )
    posts, rejects, _ = _import("table", tmp_path / "t.csv", tmp_path / "out")
    assert set(posts) == {"1"}
    assert [row["source"] for row in rejects] == [f"t.csv:{number}" for number in range(2, 4)]
    assert {row["reason"] for row in rejects} == {"broken_row"}


def test_files_that_are_not_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(LayoutError, match=r"\.csv, \.tsv, \.txt"):
        import_posts("table", tmp_path / "t.xlsx", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        import_posts("table", tmp_path / "t.parquet", tmp_path / "out")
