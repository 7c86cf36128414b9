"""What the demo says, in English and French: `en.toml` and `fr.toml` beside this file."""

from __future__ import annotations

from typing import Any

from trust.words.language import LANGUAGES
from trust.words.speech import Speech

__all__ = ["LANGUAGES", "Words"]


class Words:
    """Texts and numbers in one language: `words("study_title")`, `words.number(0.25, 2)`."""

    def __init__(self, lang: str = "en") -> None:
        """Raises: InvalidInput for a language that has no catalogue."""
        self.lang, self._speech = lang, Speech(lang, "demo", "datatrust.demo")

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text of that key; `{name}` in it is replaced."""
        return self._speech(key, **values)

    def number(self, value: float, digits: int) -> str:
        """With this many decimals."""
        return self._speech.decimal(value, digits)

    def count(self, value: int) -> str:
        """A whole number, thousands apart."""
        return self._speech.number(int(value))

    def small(self, value: float) -> str:
        """A tiny difference: `3e-11`, or that it is below 1e-12, where it depends on the random bits of the masks."""
        return f"{value:.0e}" if value >= 1e-12 else self("less_than", value="1e-12")
