"""Names of hub repositories, the access token, and errors of the hub in the words of postbias."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postbias.errors import HubError, MissingExtraError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Start of the name of a student on the hub.
SCHEME = "hf://"
TOKEN = "HF_TOKEN"  # noqa: S105 - name of a variable

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?:hf://)?(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[\w./-]{{1,200}}))?")


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository on the hub.

    Attributes:
        repo: `owner/name`.
        revision: Branch, tag or commit; None for the default branch.
    """

    repo: str
    revision: str | None

    def __str__(self) -> str:
        """Render as `hf://owner/name@revision`."""
        return f"{SCHEME}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def parse_reference(name: str) -> HubReference:
    """Parse `hf://owner/name`, `hf://owner/name@revision`, or either without `hf://`.

    Args:
        name: What the user wrote.

    Raises:
        HubError: If it has another form.
    """
    match = _NAME.fullmatch(name)
    # The hub keeps these two for itself.
    if match is None or "--" in match["repo"] or ".." in match["repo"]:
        raise HubError(
            "not the name of a repository on the hub",
            seen=name,
            allowed="hf://OWNER/NAME, or hf://OWNER/NAME@REVISION; letters, digits, - _ .",
        )
    return HubReference(match["repo"], match["revision"])


def open_hub() -> HfApi:
    """Open the hub that `HF_ENDPOINT` names, with the token of `HF_TOKEN` or without one.

    A token that another program saved on this machine is not used.

    Raises:
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(
            "the hub needs the package huggingface_hub",
            do="run `pip install 'postbias[hub]'`",
        ) from error
    return HfApi(token=os.environ.get(TOKEN) or False, library_name="postbias")


@contextmanager
def hub_errors(action: str, name: object) -> Iterator[None]:
    """Turn errors of the hub and of the network into a `HubError`.

    Args:
        action: What is tried: `cannot download`.
        name: The repository.

    Raises:
        HubError: States the cause and what to do.
    """
    import httpx2
    from huggingface_hub import errors

    is_anonymous = not os.environ.get(TOKEN)
    access = (
        f"set {TOKEN} to a token with access" if is_anonymous else f"check the token in {TOKEN}"
    )
    what = f"{action} {name}"
    try:
        yield
    except errors.GatedRepoError as error:
        do = f"accept its terms on the hub, then {access}"
        raise HubError(f"{what}: access must be requested", do=do) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{what}: the repository has no such revision") from error
    except errors.RepositoryNotFoundError as error:
        do = f"check the name; if it is private, {access}"
        raise HubError(f"{what}: no such repository, or no access to it", do=do) from error
    except errors.RemoteEntryNotFoundError as error:
        raise HubError(f"{what}: {_first_line(error)}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        do = access if status in (401, 403) else "try again later; what was transferred is kept"
        raise HubError(f"{what}: the hub answered with status {status}", do=do) from error
    except (errors.OfflineModeIsEnabled, httpx2.HTTPError, OSError, RuntimeError) as error:
        # A failed upload is a RuntimeError, with the answer of the hub as its cause.
        do = "check the connection and HF_ENDPOINT, then run it again: transfers are resumed"
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise HubError(f"{what}: {_first_line(cause)}", do=do) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
