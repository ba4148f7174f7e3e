"""Recognise the layout of JSON by its structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from postbias.posts.importers.instagram_nodes import get_nested, is_media_node
from postbias.posts.importers.instagram_pages import unwrap_api_v1, unwrap_graphql
from postbias.posts.importers.meta_download import unwrap_meta
from postbias.posts.importers.table_detection import has_default_columns
from postbias.posts.importers.tiktok_posts import unwrap_tiktok, unwrap_tiktok_download
from postbias.posts.importers.x_posts import unwrap_x
from postbias.posts.importers.youtube_posts import unwrap_youtube
from postbias.posts.importers.zeeschuimer import unwrap_zeeschuimer


class JsonStructure(NamedTuple):
    """The structure of the JSON of a layout.

    Attributes:
        layout: Name of the layout.
        evidence: Description in one line.
        matches: Tells whether a value has it.
    """

    layout: str
    evidence: str
    matches: Callable[[Any], bool]


def find_structure(value: Any) -> JsonStructure | None:  # noqa: ANN401 - foreign JSON
    """Find the structure of a page, a line or a post; None if no layout has it."""
    return next((structure for structure in _STRUCTURES if structure.matches(value)), None)


def _is_instaloader(value: object) -> bool:
    return is_media_node(get_nested(value, "node")) or "instaloader" in (
        value if isinstance(value, dict) else ()
    )


def _has_media(nodes: list[Any] | None) -> bool:
    return any(map(is_media_node, nodes or ()))


def _is_fourcat(value: object) -> bool:
    return isinstance(get_nested(value, "__import_meta"), dict)


def _is_research_page(value: object) -> bool:
    return bool(unwrap_tiktok(value)) and not is_media_node(value)


# The first that matches decides.
_STRUCTURES = (
    JsonStructure("4cat", "objects with __import_meta, as in NDJSON of 4CAT", _is_fourcat),
    JsonStructure(
        "zeeschuimer",
        "objects with source_platform and data",
        lambda value: unwrap_zeeschuimer(value) is not None,
    ),
    JsonStructure("instaloader", "a media node under the key node", _is_instaloader),
    JsonStructure(
        "youtube",
        "a resource or response of kind youtube#...",
        lambda value: unwrap_youtube(value) is not None,
    ),
    JsonStructure(
        "tiktok-download",
        "the lists of an account's download",
        lambda value: unwrap_tiktok_download(value) is not None,
    ),
    JsonStructure(
        "api-v1",
        "media nodes of the mobile API",
        lambda value: _has_media(unwrap_api_v1(value)),
    ),
    JsonStructure(
        "graphql",
        "media nodes of the GraphQL API",
        lambda value: _has_media(unwrap_graphql(value)),
    ),
    JsonStructure("tiktok", "videos of the Research API", _is_research_page),
    JsonStructure("x", "posts of the API of X", lambda value: unwrap_x(value) is not None),
)

# Structures that suffice to name the layout of what another layout does not know, but not to choose
# the layout of an export: pages without posts, and lists that only the names of files make certain.
_WEAKER: dict[str, Callable[[Any], bool]] = {
    "table": has_default_columns,
    "meta-download": lambda value: unwrap_meta(value) is not None,
    "graphql": lambda value: unwrap_graphql(value) is not None,
    "api-v1": lambda value: unwrap_api_v1(value) is not None,
    "instaloader": lambda value: get_nested(value, "node") is not None,
}


def find_other_layout(value: Any) -> str | None:  # noqa: ANN401 - foreign JSON
    """Find the layout of JSON that the layout of an import does not know; None if none does."""
    if structure := find_structure(value):
        return structure.layout
    return next((layout for layout, matches in _WEAKER.items() if matches(value)), None)
