"""Over two hundred hostile uploads: files by name, as a browser sends them."""
# ruff: noqa: E501 - one upload per line is easier to read

from __future__ import annotations

import csv
import io
import stat
import struct
import zipfile
import zlib

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

CSV = b"id,text,photo\n1,she leads,a.jpg\n2,he cooks,../../secret.jpg\n"
SCRIPT = "<script>alert(1)</script>"
_FORMULAS = (
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", " =1+1", "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","x")', "\uff1d1+1", "=IMPORTXML(A1)", "\n=1",
)  # fmt: skip


def write_zip(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """Return an archive of some entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def _link(name: str, target: bytes) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target


def _encrypted() -> bytes:
    data = bytearray(write_zip(("posts.csv", CSV)))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    return bytes(data)


def write_png(width: int, height: int) -> bytes:
    """Return a PNG that says how large it is, without pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def _xlsx(*rows: list[str]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _with_image(data: bytes) -> dict[str, bytes]:
    return {"posts.csv": b"id,text,photo\n1,she leads,a.jpg\n", "a.jpg": data}


def _parquet(**columns: list[object]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


_BOMB = zlib.compress(bytes(2**20))
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{SCRIPT}</svg>'.encode()
#: Files of each upload, by what is hostile in it.
UPLOADS: dict[str, dict[str, bytes]] = {
    "zip bomb": {"a.zip": write_zip(("posts.csv", b"id,text\n" + bytes(300 * 2**20)))},
    "bomb beside a table": {"a.zip": write_zip(("posts.csv", CSV), ("x.jpg", bytes(300 * 2**20)))},
    "zip in zip": {"a.zip": write_zip(("b.zip", write_zip(("c.zip", write_zip(("posts.csv", CSV))))))},
    "path up": {"a.zip": write_zip(("../../evil.csv", CSV))},
    "absolute path": {"a.zip": write_zip(("/tmp/evil.csv", CSV))},  # noqa: S108 - must not appear
    "windows path": {"a.zip": write_zip(("..\\..\\evil.csv", CSV))},
    "drive": {"a.zip": write_zip(("C:/evil.csv", CSV))},
    "link": {"a.zip": write_zip(("posts.csv", CSV), _link("a.jpg", b"/etc/passwd"))},
    "link to a folder": {"a.zip": write_zip(_link("x", b"/tmp"), ("x/evil.csv", CSV))},
    "table is a link": {"a.zip": write_zip(_link("posts.csv", b"/etc/passwd"))},
    "same name twice": {"a.zip": write_zip(("posts.csv", CSV), ("./posts.csv", CSV))},
    "encrypted": {"a.zip": _encrypted()},
    "cut off zip": {"a.zip": write_zip(("posts.csv", CSV * 100))[:80]},
    "empty zip": {"a.zip": write_zip()},
    "long name": {"a.zip": write_zip(("x" * 400 + ".csv", CSV))},
    "many tables": {"a.zip": write_zip(("a.csv", CSV), ("b.csv", CSV))},
    "program": {"a.exe": b"MZ\x90\0" + bytes(range(256)) * 20},
    "shell script": {"a.sh": b"#!/bin/sh\nrm -rf /\n"},
    "image alone": {"a.jpg": b"\xff\xd8\xff\xe0" + bytes(1000)},
    "svg alone": {"a.svg": SVG},
    "html": {"a.html": f"<html>{SCRIPT}</html>".encode()},
    "pdf": {"a.pdf": b"%PDF-1.7\n" + bytes(range(256))},
    "pickle": {"a.pkl": b"\x80\x04cos\nsystem\n(S'touch /tmp/evil'\ntR."},
    "empty file": {"a.csv": b""},
    "only a header": {"a.csv": b"id,text\n"},
    "nul bytes": {"a.csv": bytes(5000)},
    "random": {"a.csv": np.random.default_rng(0).bytes(5000)},
    "one long line": {"a.csv": b"id,text\n1," + b"a" * (20 * 2**20)},
    "open quote": {"a.csv": b'id,text\n1,"' + b"a\n" * 10_000},
    "no columns": {"a.csv": b"\n\n\n"},
    "deep json": {"a.json": b"[" * 100_000},
    "json number": {"a.json": b"1" * 100_000},
    "json text": {"a.jsonl": b'"a"\n' * 50},
    "damaged parquet": {"a.parquet": b"PAR1" + bytes(100) + b"PAR1"},
    "parquet of other columns": {"a.parquet": _parquet(x=[1], y=[2])},
    "parquet with paths": {"a.parquet": _parquet(id=[1], text=["a"], image=["/etc/passwd"])},
    "damaged xlsx": {"a.xlsx": write_zip(("xl/workbook.xml", b"<x>"), ("[Content_Types].xml", b"<"))},
    "entities in xlsx": {
        "a.xlsx": write_zip(
            ("[Content_Types].xml", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
            ("xl/workbook.xml", b"<x/>"),
        )
    },
    "xlsx bomb": {"a.xlsx": write_zip(("xl/workbook.xml", bytes(300 * 2**20)))},
    "formulas in xlsx": {
        "a.xlsx": _xlsx(["id", "text"], *([f"{n}", f] for n, f in enumerate(_FORMULAS)))
    },
    "gzip bomb": {"a.csv.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + _BOMB[2:-4] * 3},
    "not gzip": {"a.csv.gz": b"\x1f\x8b" + bytes(100)},
    "100 megapixels": _with_image(write_png(10_000, 10_000)),
    "4 gigapixels": _with_image(write_png(65_000, 65_000)),
    "wide strip": _with_image(write_png(1_000_000, 1)),
    "svg as image": _with_image(SVG),
    "text as image": _with_image(b"not an image"),
    "no bytes as image": _with_image(b""),
    "html as image": _with_image(SCRIPT.encode()),
    "cells with paths": {"posts.csv": b"id,text,photo\n1,a,/etc/passwd\n2,b,../../x.jpg\n3,c,file:///etc/passwd\n"},
    "addresses in cells": {"posts.csv": b"id,text,photo\n1,a,http://127.0.0.1:1/x.jpg\n"},
    "scripts in cells": {"posts.csv": f"id,text\n1,{SCRIPT}\n{SCRIPT},b\n".encode()},
    "column names": {"posts.csv": f"id,text,{SCRIPT},=1+1\n1,a,b,c\n".encode()},
    "same column twice": {"posts.csv": b"id,text,text\n1,a,b\n"},
    "same id": {"posts.csv": b"id,text\n1,a\n1,b\n"},
}  # fmt: skip


def _damaged_zip(place: int, value: bytes) -> bytes:
    """Return an archive with some bytes of its directory changed."""
    data = bytearray(write_zip(("posts.csv", CSV)))
    start = data.index(b"PK\x01\x02") + place
    data[start : start + len(value)] = value
    return bytes(data)


def _special(mode: int) -> bytes:
    """Return an archive with an entry that says it is a device, a pipe or a socket."""
    entry = zipfile.ZipInfo("posts.csv")
    entry.external_attr = (mode | 0o666) << 16
    return write_zip((entry, CSV))


def _table_with(cell: str) -> dict[str, bytes]:
    """Return a table with the same text as id, caption, image and author."""
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text", "photo", "author"], [cell] * 4])
    return {"posts.csv": file.getvalue().encode("utf-8", "surrogatepass")}


_PATHS = (
    "../evil.csv", "a/../../evil.csv", "../../../../../../tmp/evil.csv", "/evil.csv", "//host/share/evil.csv",
    "C:\\evil.csv", "\\\\host\\evil.csv", "..\\evil.csv", "a/b/../../../evil.csv", "./../evil.csv", "~/evil.csv",
    "a/\x00/evil.csv", "con.csv", "posts.csv/evil.csv", "\u2025/evil.csv", "..;/evil.csv", "%2e%2e/evil.csv",
    ".ssh/authorized_keys", ".bashrc", "evil.csv.", "evil\n.csv", "\x1b[31mevil.csv",
)  # fmt: skip
_CELLS = (
    *_FORMULAS, SCRIPT, "<svg onload=alert(1)>", "javascript:alert(1)", "{{7*7}}", "${7*7}", "<%= 7*7 %>", "\x1b]0;x\x07",
    "' OR 1=1 --", "$(touch /tmp/evil.csv)", "`touch /tmp/evil.csv`", "; rm -rf x", "| cat /etc/passwd", "/etc/passwd",
    "../../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/", "\\\\host\\x.jpg", "data:image/svg+xml,<svg/>",
    "gopher://127.0.0.1:1/_x", "\u202egnp.exe", "\ufeffid", "a\x00b", "\ufffe", "%s%s%s%n", "NaN", "-0", "1e999", "null",
    "x" * 200_000, "\u0301" * 5000, "\u202e" * 2000, "\U0001f469\u200d" * 500, "=" * 1000, "__import__('os').system('x')",
    '{"$ref": "file:///etc/passwd"}', "<!--#exec cmd='ls'-->", "DDE(cmd;x;y)", "\uff0b1", "\uff201", "\uff0d1", "\u200b=1+1",
)  # fmt: skip
_IMAGES = {
    "png cut off": write_png(100, 100)[:40],
    "png of no width": write_png(0, 10),
    "png of no height": write_png(10, 0),
    "png of 101 megapixels": write_png(10_050, 10_050),
    "png tall strip": write_png(1, 1_000_000),
    "png largest": write_png(2**31 - 1, 2**31 - 1),
    "gif of 4 gigapixels": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(20),
    "bmp of negative size": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, -5, -5, 1, 24, 0, 0, 0, 0, 0, 0),
    "bmp largest": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    "jpeg head": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "jpeg of 65500 px": b"\xff\xd8\xff\xc0\0\x11\x08\xff\xdc\xff\xdc\x03" + bytes(40),
    "webp head": b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 30,
    "tiff in a circle": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "icon": b"\0\0\1\0\xff\xff" + bytes(40),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file",
    "pdf as image": b"%PDF-1.7\n" + bytes(100),
    "zip as image": write_zip(("posts.csv", CSV)),
    "program as image": b"\x7fELF" + bytes(200),
    "video as image": b"\0\0\0\x18ftypmp42" + bytes(100),
    "svg with entity": b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    "svg that includes": b'<svg><image href="file:///etc/passwd"/></svg>',
    "php in a gif": b"GIF89a;<?php system($_GET['x']); ?>",
    "image magick": b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\n",
}  # fmt: skip
UPLOADS |= {f"archived as {path!r}": {"a.zip": write_zip((path, CSV))} for path in _PATHS}
UPLOADS |= {
    f"link to {path!r}": {"a.zip": write_zip(_link("posts.csv", path.encode()))}
    for path in _PATHS[:6]
}
UPLOADS |= {f"cell {number}": _table_with(cell) for number, cell in enumerate(_CELLS)}
UPLOADS |= {f"cell {number} in xlsx": {"a.xlsx": _xlsx(["id", "text"], ["1", cell])}
    for number, cell in enumerate(_CELLS) if cell.isprintable() and len(cell) < 30_000}  # fmt: skip
UPLOADS |= {name: _with_image(data) for name, data in _IMAGES.items()}
UPLOADS |= {
    f"special file {mode:o}": {"a.zip": _special(mode)}
    for mode in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR)
}
UPLOADS |= {
    f"archive damaged at {place}": {"a.zip": _damaged_zip(place, value)}
    for place, value in (
        (6, b"\xff\xff"), (8, b"\xff\xff"), (10, b"\x63\0"), (16, bytes(4)), (20, b"\xff" * 4),
        (24, b"\xff" * 4), (24, bytes(4)), (28, b"\xff\xff"), (30, b"\xff\xff"), (34, b"\x09\0"), (42, b"\xff" * 4),
    )
}  # fmt: skip
