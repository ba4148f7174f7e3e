"""Numbers, amounts and dates as the language in use writes them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from babel import Locale
from babel.dates import format_date as _format_date
from babel.dates import format_skeleton
from babel.numbers import format_currency, format_decimal

from postbias.localisation.messages import current_language

#: The typographic sign of negative numbers.
MINUS = "\u2212"


def format_fixed(number: float, digits: int) -> str:
    """Format a number with a fixed number of decimals, such as `0.50`, with a minus sign."""
    # Adding 0.0 turns -0.0 into 0.0. Rounded before Babel sees it, which rounds halves differently.
    rounded = Decimal(f"{round(number, digits) + 0.0:.{digits}f}")
    return _format(rounded, "0." + "0" * digits if digits else "0")


def format_share(share: float, digits: int) -> str:
    """Format a share as a percentage, such as `1.2%`."""
    percentage = Decimal(f"{100 * share:.{digits}f}")
    number = "0." + "0" * digits if digits else "0"
    pattern = _locale().percent_formats[None].pattern.replace("#,##0", number)
    return _format(percentage.scaleb(-2), pattern)


def format_count(number: int) -> str:
    """Format a whole number, with its thousands separated."""
    return _format(Decimal(number), "#,##0")


def format_significant(number: float, digits: int = 6) -> str:
    """Format a number with at most this many significant digits, without trailing zeros."""
    decimal: str = _locale().number_symbols["latn"]["decimal"]
    return f"{number:.{digits}g}".replace("-", MINUS).replace(".", decimal)


def format_usd(amount: float, digits: int = 2) -> str:
    """Format an amount of US dollars."""
    pattern = _locale().currency_formats["standard"].pattern
    pattern = pattern.partition(";")[0].replace("0.00", "0." + "0" * digits)
    rounded = Decimal(f"{amount:.{digits}f}")
    text: str = format_currency(rounded, "USD", pattern, locale=_locale(), currency_digits=False)
    return text


def format_day(day: str) -> str:
    """Format a day: in English as it is given, `2025-01-31`."""
    if current_language() == "en":
        return day
    return _format_date(date.fromisoformat(day), "long", locale=_locale())


def format_period(period: str) -> str:
    """Format a month, quarter or year: in English as it is given, `2025-01`, `2025 Q1` or `2025`.

    Args:
        period: A name of `postbias.population.groups.group_by_period`.

    Returns:
        The name in the language in use.
    """
    if current_language() == "en":
        return period
    year, _, quarter = period.partition(" Q")
    if quarter:
        first = date(int(year), 3 * int(quarter) - 2, 1)
        return format_skeleton("yQQQ", first, locale=_locale())
    if "-" in period:
        return format_skeleton("yMMM", date.fromisoformat(f"{period}-01"), locale=_locale())
    return format_skeleton("y", date(int(period), 1, 1), locale=_locale())


def name_language(code: str) -> str:
    """Name a language, such as `Spanish`; a code without a name stays as it is."""
    name: str | None = _locale().languages.get(code)
    return name or code


def _locale() -> Locale:
    return Locale.parse(current_language())


def _format(number: Decimal, pattern: str) -> str:
    text: str = format_decimal(number, pattern, locale=_locale(), decimal_quantization=False)
    return text.replace("-", MINUS)
