"""Options that several commands share, so that they read and work alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

model_option: Option = click.option(
    "--model", help="Artifact folder, models:/NAME@ALIAS or hf://OWNER/NAME.  [default: champion]"
)

caption_option: Option = click.option("--caption", default="", help="Caption of the post.")

image_option: Option = click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image file. Repeatable.",
)

host_option: Option = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Any but 127.0.0.1, such as 0.0.0.0 for all, opens the page to the"
    " network, with a token in the printed address.",
)

browser_option: Option = click.option(
    "--browser/--no-browser", default=True, help="Open the page in a browser."
)


def port_option(default: int) -> Option:
    """Return the option for the port of a page, with its default."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="0: any free.",
    )
