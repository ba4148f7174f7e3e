"""Who may use a local server: this machine, or whoever has the token.

Without `--host`, a server answers only requests whose Host header names this machine, so that no
web page can reach it through a domain name of its own. With `--host`, each browser needs the token
once, in the address that the command prints; a cookie keeps it. A public server answers everyone.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

#: Sent with every response: nothing from elsewhere is loaded, and only the page's own script runs.
#: `blob:` is for images that a person chose and that are shown before they are sent.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: A Space is shown in a frame of the hub's page.
PUBLIC_HEADERS = SECURITY_HEADERS | {
    "Content-Security-Policy": SECURITY_HEADERS["Content-Security-Policy"].replace(
        "frame-ancestors 'none'", "frame-ancestors https://huggingface.co"
    )
}
LOOPBACK = "127.0.0.1"

_COOKIE = "postbias_token"
_LOCAL_NAMES = frozenset({LOOPBACK, "localhost"})


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for who may use a server.

    Attributes:
        token: The token that every browser needs; None if only this machine can connect, or
            everyone.
        is_public: Whether everyone may use it, also inside a page of the Hugging Face Hub.
    """

    token: str | None
    is_public: bool = False

    @classmethod
    def for_host(cls, host: str) -> Access:
        """Create the rule for an address to listen on, with a new token unless it is loopback."""
        return cls(None if host == LOOPBACK else secrets.token_urlsafe(24))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.token is None and not self.is_public

    async def __call__(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Answer a request, or refuse it with status 403, and add the security headers."""
        response = self._refusal(request) or await call_next(request)
        for name, value in (PUBLIC_HEADERS if self.is_public else SECURITY_HEADERS).items():
            response.headers.setdefault(name, value)
        return response

    def _refusal(self, request: Request) -> Response | None:
        origin = request.headers.get("origin")
        if self.is_public:
            # A proxy may have ended the encryption, so the scheme of the origin can be another.
            origin = origin and f"{request.url.scheme}://{origin.partition('://')[2]}"
        is_own = origin in {None, f"{request.url.scheme}://{request.url.netloc}"}
        if not is_own and request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("this server answers its own page only", 403)
        if self.is_public:
            return None
        if self.token is None:
            if request.url.hostname in _LOCAL_NAMES:
                return None
            return PlainTextResponse("this server answers requests from its machine only", 403)
        given = request.query_params.get("token", "")
        if request.method == "GET" and request.url.path == "/" and self._is_token(given):
            # Away from the address bar, and from there from the history and screenshots.
            answer = RedirectResponse("/", 303)
            answer.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return answer
        if self._is_token(request.cookies.get(_COOKIE, "")):
            return None
        return PlainTextResponse(
            "open the address with the token that `postbias` printed when it started", 403
        )

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode(), self.token.encode())
