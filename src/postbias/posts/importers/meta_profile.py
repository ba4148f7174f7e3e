"""Find out whose download of Instagram or Facebook an export is.

The user name is in the profile file of the download. Its keys are in the language of the account,
so that a name is used only where its key is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_core import from_json

from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.text_repair import decode_latin1

#: Author of a download without a profile, in a folder without a name.
UNKNOWN_OWNER = "account owner"

_MAX_PROFILE_BYTES = 4 * 2**20

# Present and earlier folders of the two files.
_PROFILES = (
    "personal_information/personal_information/personal_information.json",
    "personal_information/personal_information.json",
    "account_information/personal_information.json",
    "personal_information/profile_information/profile_information.json",
    "profile_information/profile_information.json",
)

_INSTAGRAM = ("profile_user", 0, "string_map_data")
_NAMES: tuple[tuple[str | int, ...], ...] = (
    *((*_INSTAGRAM, key, "value") for key in ("Username", "Benutzername", "Name")),
    ("profile_v2", "username"),
    ("profile_v2", "name", "full_name"),
    ("profile", "username"),
    ("profile", "name", "full_name"),
)


def find_owner(download: Path, folder: str) -> str:
    """Return the user name of the owner of a download, else the name of its folder.

    Args:
        download: The folder of the download.
        folder: Its name; "" for a folder without one.
    """
    for name in _PROFILES:
        profile = _read_profile(download / name)
        for keys in _NAMES:
            owner = get_nested(profile, *keys)
            if isinstance(owner, str) and owner.strip():
                return decode_latin1(owner).strip()
    return folder or UNKNOWN_OWNER


def _read_profile(path: Path) -> Any:  # noqa: ANN401 - foreign JSON
    """Read a profile; None if it is missing, damaged, or a link out of the download."""
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_PROFILE_BYTES:
            return None
        return from_json(path.read_bytes())
    except (OSError, ValueError):
        return None
