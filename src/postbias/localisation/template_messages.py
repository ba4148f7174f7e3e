"""Messages in Jinja templates: `_("...")` and `{% trans %}` in the language in use."""

from __future__ import annotations

from jinja2 import Environment

from postbias.localisation.messages import (
    HTML_LANGUAGES,
    current_language,
    gettext,
    ngettext,
    sentence_space,
)


def install_messages(environment: Environment) -> None:
    """Let templates use messages, `html_language()` and `sentence_space()`.

    Args:
        environment: The environment, which may be shared by all languages.
    """
    environment.add_extension("jinja2.ext.i18n")
    # New-style: messages are formatted with their variables, which are escaped in HTML.
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals["html_language"] = lambda: HTML_LANGUAGES[current_language()]
    environment.globals["sentence_space"] = sentence_space
