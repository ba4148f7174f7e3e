"""What each layout is, how to get such an export, and an example; for `postbias import --list`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayoutGuide:
    """Guide to a layout.

    Attributes:
        description: One line for people.
        how_to_get: Where such an export comes from.
        example: SRC of an import.
    """

    description: str
    how_to_get: str
    example: str


#: The guides of all layouts by name.
LAYOUT_GUIDES: dict[str, LayoutGuide] = {
    "influencer-brand": LayoutGuide(
        "folder with post_info.txt, json/ and image folders (Kim et al., WSDM 2021)",
        "on request from the authors of the data set",
        "influencers/",
    ),
    "instaloader": LayoutGuide(
        "folders of *_UTC.json(.xz), *_UTC.txt and images, written by Instaloader",
        "instaloader profile NAME",
        "profiles/",
    ),
    "graphql": LayoutGuide(
        "JSON pages or single posts of Instagram's GraphQL API, a file or a folder",
        "responses of the web interface, saved by a scraper",
        "pages/",
    ),
    "api-v1": LayoutGuide(
        "JSON pages or single posts of Instagram's mobile API, a file or a folder",
        "responses of the mobile interface, saved by a scraper",
        "pages/",
    ),
    "table": LayoutGuide(
        "CSV, JSON, Excel or Parquet file of posts, also compressed or in a ZIP with its images",
        "your own; name its columns with --column FIELD=NAME",
        "posts.csv",
    ),
    "4cat": LayoutGuide(
        "CSV or NDJSON file of 4CAT, with its image download beside it",
        "4CAT: a data set's Download button, then its processor 'Download images'",
        "4cat/",
    ),
    "zeeschuimer": LayoutGuide(
        "NDJSON of Zeeschuimer: Instagram, TikTok, X, Threads, LinkedIn, Facebook",
        "Zeeschuimer: the button .ndjson of a platform",
        "zeeschuimer-export-instagram.com.ndjson",
    ),
    "meta-content-library": LayoutGuide(
        "CSV file of posts of the Meta Content Library",
        "Meta Content Library: Download results, or data.to_csv() in its environment",
        "mcl.csv",
    ),
    "crowdtangle": LayoutGuide(
        "CSV file of CrowdTangle, Facebook or Instagram",
        "historical data of CrowdTangle, which closed in August 2024",
        "crowdtangle.csv",
    ),
    "x": LayoutGuide(
        "X (Twitter): JSON or CSV of API v2 (twarc), JSON of API v1.1, or an account's archive",
        "twarc2 search QUERY posts.jsonl, or X: Settings, Download an archive of your data",
        "posts.jsonl",
    ),
    "youtube": LayoutGuide(
        "JSON of YouTube's Data API: videos, search, playlistItems, commentThreads",
        "responses of the API with part=snippet,statistics, one per file or line",
        "youtube/",
    ),
    "tiktok": LayoutGuide(
        "JSON of TikTok's Research API",
        "responses of /v2/research/video/query/, one per file or line",
        "tiktok/",
    ),
    "meta-download": LayoutGuide(
        "an account's download from Instagram or Facebook, in JSON",
        "Accounts Centre: Download your information, format JSON; unpack it",
        "instagram-someone-2024-01-01/",
    ),
    "tiktok-download": LayoutGuide(
        "an account's download from TikTok, in JSON",
        "TikTok: Settings, Account, Download your data, format JSON; unpack it",
        "user_data_tiktok.json",
    ),
}


def describe_layouts() -> str:
    """Describe all layouts as text."""
    lines = ["auto", "    finds out the layout of SRC and says why", ""]
    for name, guide in LAYOUT_GUIDES.items():
        lines += [
            name,
            f"    {guide.description}",
            f"    get it:  {guide.how_to_get}",
            f"    example: postbias import {name} {guide.example} data",
            "",
        ]
    return "\n".join(lines).rstrip()
