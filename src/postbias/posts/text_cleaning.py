"""Clean decoded text in the same way for imports, requests and posts from Python."""

# Ships inside the registered model: standard library only.
from __future__ import annotations


def clean_text(text: str) -> str:
    """Return text without NUL, lone surrogates and carriage returns; it is valid in UTF-8.

    Surrogate pairs are joined and a lone surrogate becomes U+FFFD. A carriage return, alone or with
    a line feed, becomes a line feed.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\0" in text:
        text = text.replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
