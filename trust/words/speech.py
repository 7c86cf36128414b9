"""How things are said in one language: the catalogue `plain.toml`, numbers, days, and words of others in quotes."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from importlib.resources import files
from typing import Any

from trust.errors import InvalidInput, nearest
from trust.times import read_time
from trust.words.safe import escaped

__all__ = ["LANGUAGES", "Speech", "catalogue"]

LANGUAGES = ("en", "fr")
_SPACE, _MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


@functools.cache
def catalogue() -> dict[str, Any]:
    """Every text, by its key and language; `units` and `purposes` are tables of their own."""
    text = (files("trust") / "plain" / "plain.toml").read_text("utf-8")
    # French sets these marks apart by a space that must not end a line
    return tomllib.loads(re.sub(r"(?<=«) |(?<=n°) | (?=[»;:?!%])", _SPACE, text))


class Speech:
    """Texts, numbers and days in one language: `speech("sums", count=27)`."""

    def __init__(self, lang: str) -> None:
        """Raises: InvalidInput for a language that there is no catalogue of."""
        if lang not in LANGUAGES:
            raise InvalidInput(f"the language {lang!r}", expected=nearest(lang, LANGUAGES))
        self.lang = lang
        self.other = next(other_language for other_language in LANGUAGES if other_language != lang)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of that key; numbers in it are written as the language does, `count` of 1 takes `KEY_one`."""
        if values.get("count") == 1 and f"{key}_one" in catalogue():
            key = f"{key}_one"
        values_in_words = {n: v if isinstance(v, str) else self.number(v) for n, v in values.items()}
        text: str = catalogue()[key][self.lang].format(**values_in_words)
        return text

    def of_table(self, table: str, name: str) -> Any:
        """A name's entry in a table of the catalogue, None where it has none."""
        return catalogue()[table].get(name, {}).get(self.lang)

    def number(self, value: float | Decimal) -> str:
        """All its digits, thousands apart; two different numbers are never written the same."""
        text = str(value) if isinstance(value, Decimal) else repr(value)
        sign = _MINUS if text.startswith("-") else ""
        mantissa, _, exponent = text.lstrip("-").lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits = f"{int(whole):,}" + (f".{fraction}" if fraction.strip("0") else "")
        if self.lang == "fr":
            digits = digits.replace(",", _SPACE).replace(".", ",")
        power = f"{_SPACE}×{_SPACE}10^{int(exponent)}".replace("-", _MINUS) if exponent else ""
        return sign + digits + power

    def share(self, value: float) -> str:
        """0.25 as 25 %."""
        return self("percent", value=(Decimal(repr(value)) * 100).normalize() + Decimal(0))

    def day(self, year: int, month: int, day: int) -> str:
        """22 February 2027, 22 février 2027."""
        months: str = catalogue()["months"][self.lang]
        first = self("first_day") if day == 1 else str(day)
        return _SPACE.join([first, months.split()[month - 1], f"{year:04d}"])

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
        return self("quoted", text=escaped(text))

    def listed(self, items: Iterable[str]) -> str:
        """Several things in a row."""
        return self("list_mark").join(items)
