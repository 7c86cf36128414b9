"""How things are said in one language: the texts of a page, numbers, days, and words of others in quotes."""

from __future__ import annotations

import datetime
import difflib
import functools
import string
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from trust.errors import nearest
from trust.times import read_time
from trust.words.language import LANGUAGES, catalogue, check_language
from trust.words.safe import escaped

__all__ = ["Speech", "among", "phrase", "speech"]

_LOCALES = {"en": "en_GB", "fr": "fr_FR"}
_SPACE, _MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


class Speech(string.Formatter):
    """The texts of one page, and numbers and days, in one language: `speech("sums", count=27)`."""

    def __init__(self, lang: str, page: str, package: str = "trust.words") -> None:
        """Args: page: a section of the catalogue.  Raises: InvalidInput for a language that has no catalogue."""
        self.lang, self._texts = check_language(lang), catalogue(lang, package)[page]
        self.other = next(other_language for other_language in LANGUAGES if other_language != lang)

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text of that key; numbers in it are written as the language does, `count` of 1 takes `KEY_one`."""
        if values.get("count") == 1 and f"{key}_one" in self._texts:
            key = f"{key}_one"
        values_in_words = {n: self.number(v) if isinstance(v, int | float | Decimal) else v for n, v in values.items()}
        return self.vformat(self._texts[key], (), values_in_words)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """`{name!q}` is the value in quotation marks, made safe to show."""
        return self.quoted(str(value)) if conversion == "q" else super().convert_field(value, conversion)

    def of_table(self, table: str, name: str) -> Any:
        """A name's entry in a table of the page, None where it has none."""
        return self._texts[table].get(name)

    def number(self, value: float | Decimal) -> str:
        """All its digits, thousands apart; two different numbers are never written the same."""
        text = str(value) if isinstance(value, Decimal) else repr(value)
        mantissa, _, exponent = text.lstrip("-").lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits = self._marks(f"{int(whole):,}" + (f".{fraction}" if fraction.strip("0") else ""))
        power = f"{_SPACE}×{_SPACE}10^{int(exponent)}".replace("-", _MINUS) if exponent else ""
        return (_MINUS if text.startswith("-") else "") + digits + power

    def decimal(self, value: float, digits: int) -> str:
        """With this many decimals."""
        return self._marks(f"{value:,.{digits}f}")

    def _marks(self, text: str) -> str:
        """`1,234.5` with this language's marks for thousands and decimals."""
        from babel.numbers import get_decimal_symbol, get_group_symbol

        locale = _LOCALES[self.lang]
        return text.translate({ord(","): get_group_symbol(locale), ord("."): get_decimal_symbol(locale)})

    def share(self, value: float) -> str:
        """0.25 as 25 %."""
        return self("percent", value=Decimal(format((Decimal(repr(value)) * 100).normalize(), "f")))

    def day(self, year: int, month: int, day: int) -> str:
        """22 February 2027, 22 février 2027."""
        from babel.dates import format_date

        text = str(format_date(datetime.date(year, month, day), "long", locale=_LOCALES[self.lang]))
        if self.lang == "fr" and day == 1:
            text = text.replace("1 ", "1er ", 1)
        return text.replace(" ", _SPACE)

    def moment(self, time: str, key: str) -> str:
        """A time of a document, in `KEY_midnight` where a day begins and with its hour in `KEY_hour` elsewhere."""
        read_moment = read_time(time)
        day = self.day(read_moment.year, read_moment.month, read_moment.day)
        if (read_moment.hour, read_moment.minute, read_moment.second) == (0, 0, 0):
            return self(f"{key}_midnight", day=day)
        hour = f"{read_moment:%H:%M:%S}" if read_moment.second else f"{read_moment:%H:%M}"
        return self(f"{key}_hour", day=day, hour=hour)

    def quoted(self, text: str) -> str:
        """Somebody else's words, between quotation marks that they cannot close."""
        return f"“{escaped(text)}”" if self.lang == "en" else f"«{_SPACE}{escaped(text)}{_SPACE}»"

    def listed(self, items: Iterable[str]) -> str:
        """Several things in a row."""
        return self("list_mark").join(items)


@functools.cache
def speech(page: str, lang: str) -> Speech:
    """The texts of that page.  Raises: InvalidInput for a language that has no catalogue."""
    return Speech(lang, page)


def phrase(key: str, lang: str = "en", **values: Any) -> str:
    """What charters and policies say to people: the text of that key."""
    return speech("policy", lang)(key, **values)


def among(word: str, candidates: Iterable[str], lang: str = "en") -> str:
    """`trust.errors.nearest` in that language."""
    names = sorted(set(candidates))
    if lang == "en":
        return nearest(word, names)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return phrase("perhaps", lang, name=close[0])
    return phrase("one_of", lang, names=", ".join(names[:12]) + (", …" if len(names) > 12 else ""))
