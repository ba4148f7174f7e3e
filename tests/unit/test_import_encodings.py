"""The encoding of a file is decided once, from all of it, and can be given."""

# ruff: noqa: RUF001 - letters of many alphabets

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from postbias.cli import main
from postbias.errors import InputError
from postbias.posts.importers import ReadingOptions, import_posts
from postbias.posts.schema import POSTS, REJECTS
from postbias.posts.shards import read_posts, read_table

_CAPTIONS = {
    "ru": ["Доброе утро, девочки! Сегодня готовим завтрак для всей семьи", "Настоящий мужчина",
           "Купила новое платье, как вам цвет?", "Понедельник начинается с тренировки и кофе"],
    "de": ["Schöne Grüße aus München, alle müde Mädchen", "Frühstück mit Käse und Brötchen",
           "Männer können auch weinen, ganz natürlich", "Heiße Schokolade im Café"],
    "fr": ["Bonjour à tous, c'est l'été et le café est déjà prêt", "Une journée très agréable",
           "Les garçons préfèrent rester à l'extérieur avec ma chère mère"],
    "pl": ["Dzień dobry, dziewczyny! Dziś gotujemy śniadanie dla całej rodziny",
           "Prawdziwy mężczyzna zawsze dotrzymuje słowa", "Żółta sukienka, wyglądam świetnie"],
    "cs": ["Dobré ráno, holky! Dnes vaříme snídani pro celou rodinu", "Žluté šaty, těším se",
           "Skutečný muž vždy drží slovo, říká můj přítel"],
    "el": ["Καλημέρα κορίτσια! Σήμερα ετοιμάζουμε πρωινό", "Ο άντρας κρατάει πάντα τον λόγο του"],
    "tr": ["Günaydın kızlar! Bugün bütün aile için kahvaltı hazırlıyoruz",
           "Gerçek bir erkek her zaman sözünü tutar, değil mi"],
    "ja": ["おはようございます!今日は家族のために朝ごはんを作ります", "本当の男はいつも約束を守る"],
    "zh": ["早上好，姑娘们！今天为全家人做早餐", "真正的男人总是信守诺言",
           "买了一条新裙子，颜色怎么样？"],
    "ko": ["좋은 아침이에요! 오늘은 가족을 위해 아침을 준비해요",
           "진정한 남자는 항상 약속을 지킨다"],
    "ar": ["صباح الخير يا بنات! اليوم نحضر الفطور لكل العائلة", "الرجل الحقيقي دائما يفي بوعده"],
}  # fmt: skip
_ENCODED = [
    *(("ru", encoding) for encoding in ("cp1251", "koi8_r", "iso8859_5", "cp866", "utf-16-be")),
    *((language, "cp1252") for language in ("de", "fr")),
    *((language, encoding) for language in ("pl", "cs") for encoding in ("cp1250", "iso8859_2")),
    *(("el", "cp1253"), ("tr", "cp1254"), ("ar", "cp1256"), ("de", "mac_roman"), ("de", "cp850")),
    *(("ja", "shift_jis"), ("ja", "euc_jp"), ("zh", "gb18030"), ("ko", "cp949")),
    *(("zh", "utf-16"), ("ja", "utf-16-le"), ("zh", "utf-8"), ("ru", "utf-8-sig")),
]


def _rows(language: str, n: int) -> dict[str, str]:
    captions = _CAPTIONS[language]
    # Half of real captions are ASCII.
    return {
        str(i): captions[i // 2 % len(captions)] if i % 2 else f"Monday mood, coffee {i}"
        for i in range(n)
    }


def _write(path: Path, rows: dict[str, str], encoding: str) -> Path:
    text = {
        ".csv": "post_id,caption\n" + "".join(f'{n},"{c}"\n' for n, c in rows.items()),
        ".tsv": "post_id\tcaption\n" + "".join(f"{n}\t{c}\n" for n, c in rows.items()),
        ".jsonl": "".join(
            json.dumps({"post_id": n, "caption": c}, ensure_ascii=False) + "\n"
            for n, c in rows.items()
        ),
    }[path.suffix]
    path.write_bytes(text.encode(encoding, "replace"))
    return path


def _captions(dest: Path) -> dict[str, str]:
    posts = read_posts(dest / "posts", POSTS.names).to_pylist()
    return {post["post_id"]: post["caption"] for post in posts}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize(("language", "encoding"), _ENCODED)
def test_legacy_encodings_are_read_as_they_were_written(
    tmp_path: Path, language: str, encoding: str, suffix: str
) -> None:
    rows = _rows(language, 60)
    table = _write(tmp_path / f"t{suffix}", rows, encoding)
    summary = import_posts("table", table, tmp_path / "out")
    assert _captions(tmp_path / "out") == rows
    assert (summary.warning, summary.notes) == (None, ())
    assert "confidence" in summary.render()


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "mac_roman", "shift_jis", "UTF-16"])
def test_a_given_encoding_is_used_however_short_the_file_is(tmp_path: Path, encoding: str) -> None:
    caption = {"mac_roman": "Grüße", "shift_jis": "男"}.get(encoding, "мама")
    table = _write(tmp_path / "t.csv", {"1": caption}, encoding)
    summary = import_posts(
        "table", table, tmp_path / "o", options=ReadingOptions(encoding=encoding)
    )
    assert _captions(tmp_path / "o") == {"1": caption}
    assert f"encoding: {codecs.lookup(encoding).name} (given)" in summary.render()


def test_too_little_text_gives_a_remark_that_names_the_option(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", {"1": "мама"}, "cp1251")
    arguments = ["import", "table", str(table), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert "the encoding is uncertain" in result.output
    assert "--encoding" in result.output
    result = CliRunner().invoke(main, [*arguments, "--encoding", "windows-1251", "--replace"])
    assert result.exit_code == 0
    assert _captions(tmp_path / "out") == {"1": "мама"}


@pytest.mark.parametrize("name", ["latin-99", "hex", "rot13", "idna", "unicode_escape", ""])
def test_an_unknown_encoding_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    table = _write(tmp_path / "t.csv", {"1": "c"}, "utf-8")
    with pytest.raises(InputError, match=r"unknown encoding.*windows-1251"):
        import_posts("table", table, tmp_path / "out", options=ReadingOptions(encoding=name))
    assert not (tmp_path / "out").exists()


def test_lines_that_are_not_valid_in_the_given_encoding_are_rejects(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b"post_id,caption\n1,fine\n2,caf\xe9\n")
    import_posts("table", table, tmp_path / "o", options=ReadingOptions(encoding="utf-8"))
    (reject,) = read_table(tmp_path / "o" / "rejects.parquet", REJECTS).to_pylist()
    assert reject["reason"] == "bad_encoding"
    assert "--encoding" in reject["detail"]


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis"])
def test_other_layouts_take_a_given_encoding(tmp_path: Path, encoding: str) -> None:
    caption = {"cp1251": "мама", "shift_jis": "男"}[encoding]
    src = tmp_path / "src"
    src.mkdir()
    (src / "2020-01-01_10-00-00_UTC.txt").write_bytes(caption.encode(encoding))
    options = ReadingOptions(encoding=encoding)
    import_posts("instaloader", src, tmp_path / "o1", options=options)
    assert list(_captions(tmp_path / "o1").values()) == [caption]
    node = {"id": "1", "edge_media_to_caption": {"edges": [{"node": {"text": caption}}]}}
    page = json.dumps(node, ensure_ascii=False).encode(encoding)
    (tmp_path / "p.json").write_bytes(page)
    import_posts("graphql", tmp_path / "p.json", tmp_path / "o2", options=options)
    assert list(_captions(tmp_path / "o2").values()) == [caption]


def test_a_long_caption_file_in_a_legacy_encoding_is_detected(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    caption = " ".join(_CAPTIONS["ru"])
    (src / "2020-01-01_10-00-00_UTC.txt").write_bytes(caption.encode("cp1251"))
    import_posts("instaloader", src, tmp_path / "out")
    assert list(_captions(tmp_path / "out").values()) == [caption]


def test_a_truncated_utf_16_file_costs_one_row(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", _rows("ru", 20), "utf-16")
    table.write_bytes(table.read_bytes()[:-7])
    summary = import_posts("table", table, tmp_path / "out")
    assert summary.n_posts + summary.n_rejects == 20
    assert summary.n_posts >= 19


@pytest.mark.parametrize("n_legacy", [1, 10, 30])
def test_lines_of_two_encodings_are_both_read(tmp_path: Path, n_legacy: int) -> None:
    rows = _rows("ru", 60)
    lines = [f"{n},{caption.replace(',', ' ')}\n" for n, caption in rows.items()]
    legacy = [f"x{i},caf\u00e9 cr\u00e8me\n" for i in range(n_legacy)]
    data = "".join(["post_id,caption\n", *lines]).encode() + "".join(legacy).encode("cp1252")
    (tmp_path / "t.csv").write_bytes(data)
    import_posts("table", tmp_path / "t.csv", tmp_path / "out")
    captions = _captions(tmp_path / "out")
    assert captions["1"] == rows["1"].replace(",", " ")
    assert {captions[f"x{i}"] for i in range(n_legacy)} == {"caf\u00e9 cr\u00e8me"}
