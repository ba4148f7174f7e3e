"""Extract the messages of the report and the pages, and update the catalogues of other languages.

python docs/messages.py            update src/postbias/localisation/catalogues/*.po
python docs/messages.py --check    report catalogues that are out of date, and exit with code 1

A new message is added without a translation, and a changed one is marked as fuzzy with the
translation of the old one: a translator writes or checks it, and removes the mark.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from postbias.localisation.messages import CATALOGUES, LANGUAGES

ROOT = Path(__file__).resolve().parents[1]

_PACKAGE = ROOT / "src" / "postbias"
_METHODS = [
    ("**.py", "python"),
    ("**.html.j2", "jinja2"),
    ("app/static/**.js", "javascript"),
]
# `_t` marks messages of constants; `_` and `ngettext` translate, `gettext` a `{% trans %}` block.
_KEYWORDS = {"_": None, "_t": None, "gettext": None, "ngettext": (1, 2)}
_OPTIONS = {"**.html.j2": {"encoding": "utf-8", "silent": "false"}}
_WIDTH = 96


def extract_catalogue() -> Catalog:
    """Extract all messages, with the files that use them."""
    catalogue = Catalog(charset="utf-8")
    found = extract_from_dir(
        _PACKAGE, _METHODS, _OPTIONS, _KEYWORDS, comment_tags=("TRANSLATORS:",)
    )
    for file, _line, message, comments, context in sorted(found, key=lambda one: one[:2]):
        # Without line numbers, which would change with every edit.
        place = [(Path(file).as_posix(), None)]
        catalogue.add(message, None, place, auto_comments=comments, context=context)
    return catalogue


def update_catalogue(path: Path, extracted: Catalog) -> bytes:
    """Return the content of a catalogue with the extracted messages.

    Args:
        path: The catalogue; need not exist.
        extracted: All messages.

    Returns:
        The catalogue in gettext form.
    """
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem)
    else:
        catalogue = Catalog(locale=path.stem, charset="utf-8")
    catalogue.update(extracted)
    for message in catalogue:
        # Babel takes the percent sign of "95% interval" for a placeholder.
        if not any(file.endswith(".j2") for file, _ in message.locations):
            message.flags.discard("python-format")
    content = BytesIO()
    write_po(content, catalogue, width=_WIDTH, ignore_obsolete=True, omit_header=True)
    return _header(path.stem) + content.getvalue()


def stale_catalogues() -> list[Path]:
    """List the catalogues that `make messages` would change."""
    extracted = extract_catalogue()
    return [path for path in _paths() if path.read_bytes() != update_catalogue(path, extracted)]


def main(arguments: list[str]) -> int:
    """Update the catalogues, or check that they are up to date.

    Args:
        arguments: None, or `--check`.

    Returns:
        The exit code.
    """
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not arguments:
        extracted = extract_catalogue()
        for path in _paths():
            path.write_bytes(update_catalogue(path, extracted))
        return 0
    stale = stale_catalogues()
    for path in stale:
        name = path.relative_to(ROOT).as_posix()
        print(f"{name} is out of date; run `make messages` and translate", file=sys.stderr)
    return 1 if stale else 0


def _paths() -> list[Path]:
    return [CATALOGUES / f"{language}.po" for language in LANGUAGES if language != "en"]


def _header(language: str) -> bytes:
    """Return a header without dates, which would change with every update."""
    plural = Catalog(locale=language).plural_forms
    fields = {
        "Project-Id-Version": "postbias",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": plural,
    }
    lines = [f'"{name}: {value}\\n"' for name, value in fields.items()]
    return "\n".join(['msgid ""', 'msgstr ""', *lines, "", ""]).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
