"""What is said to people, in English and French: one catalogue, `data/words.toml`, and how numbers are written."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib.resources import files
from typing import Any

from trust.errors import InvalidInput, nearest

__all__ = ["LANGUAGES", "Words"]

LANGUAGES = ("en", "fr")
_SPACE = "\N{NO-BREAK SPACE}"


@functools.cache
def _catalogue() -> dict[str, dict[str, str]]:
    text = (files("datatrust.demo") / "data" / "words.toml").read_text("utf-8")
    # French sets these marks apart by a space that must not end a line
    return tomllib.loads(re.sub(r"(?<=«) | (?=[»;:?!%])", _SPACE, text))


class Words:
    """Texts and numbers in one language: `words("study_title")`, `words.number(0.25, 2)`."""

    def __init__(self, lang: str = "en") -> None:
        """Raises: InvalidInput for a language that there is no catalogue of."""
        if lang not in LANGUAGES:
            raise InvalidInput(f"the language {lang!r}", expected=nearest(lang, LANGUAGES))
        self.lang = lang

    def __call__(self, key: str, **values: Any) -> str:
        """The text of that key; `{name}` in it is replaced."""
        return _catalogue()[key][self.lang].format(**values)

    def number(self, value: float, digits: int) -> str:
        """With this many decimals."""
        return self._local(f"{value:,.{digits}f}")

    def count(self, value: int) -> str:
        """A whole number, thousands apart."""
        return self._local(f"{value:,}")

    def small(self, value: float) -> str:
        """A tiny difference: `3e-11`, or that it is below 1e-12, where it depends on the random bits of the masks."""
        return self._local(f"{value:.0e}") if value >= 1e-12 else self("less_than", value=self._local("1e-12"))

    def _local(self, text: str) -> str:
        if self.lang == "en":
            return text
        return text.replace(",", _SPACE).replace(".", ",")
