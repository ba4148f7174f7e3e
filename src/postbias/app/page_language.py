"""The language of a page in the browser: a choice that a cookie keeps, or the browser's setting."""

from __future__ import annotations

from functools import cache

from fastapi import FastAPI, HTTPException
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from postbias.localisation.messages import (
    HTML_LANGUAGES,
    list_translations,
    use_language,
)
from postbias.localisation.template_messages import install_messages

#: The names of the languages in themselves, by the value of the attribute `lang`.
LANGUAGE_NAMES = {"en": "English", "zh-CN": "中文"}

_COOKIE = "postbias_language"
_YEAR_S = 365 * 24 * 3600


class LanguagePages:
    """A page in each language, its translated texts, and the switch between languages."""

    def __init__(self, template: str) -> None:
        """Serve one page.

        Args:
            template: Its file in `app/templates`.
        """
        self._template = template

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.get("/")(self.page)
        app.get("/texts.json")(self.texts)
        app.get("/language/{code}")(self.switch)

    def page(self, request: Request) -> Response:
        """Send the page."""
        with use_language(choose_language(request)):
            text = _environment().get_template(self._template).render()
        return HTMLResponse(text, headers={"Vary": "Cookie, Accept-Language"})

    def texts(self, request: Request) -> dict[str, str]:
        """Return the translations of the messages; empty for English."""
        return list_translations(choose_language(request))

    def switch(self, code: str) -> Response:
        """Keep the choice of a language, and show the page in it."""
        if code not in LANGUAGE_NAMES:
            raise HTTPException(404)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(_COOKIE, code, max_age=_YEAR_S, httponly=True, samesite="strict")
        return answer


def choose_language(request: Request) -> str:
    """Choose the language of a page: that of the cookie, or else the browser's first known one."""
    by_code = {code: language for language, code in HTML_LANGUAGES.items()}
    chosen = by_code.get(request.cookies.get(_COOKIE, ""))
    if chosen is not None:
        return chosen
    accepted = request.headers.get("accept-language", "")
    for tag in _rank_languages(accepted):
        language = tag.partition("-")[0].lower()
        if language in HTML_LANGUAGES:
            return language
    return "en"


def _rank_languages(header: str) -> list[str]:
    """List the languages of an `Accept-Language` header, the preferred one first."""
    ranked = []
    for entry in header.split(","):
        tag, _, weight = entry.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), tag))
        except ValueError:  # a weight that is no number: not a language that was asked for
            continue
    return [tag for weight, tag in sorted(ranked, key=lambda one: one[0]) if weight < 0]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("postbias.app", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install_messages(environment)
    environment.globals["language_names"] = LANGUAGE_NAMES
    return environment
