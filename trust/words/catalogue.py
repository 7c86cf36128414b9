"""What charters and policies say to people, in English and French: one catalogue, `phrases.toml`."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from trust.errors import InvalidInput, nearest

__all__ = ["LANGUAGES", "among", "check_language", "phrase"]

LANGUAGES = ("en", "fr")


@functools.cache
def _catalogue() -> dict[str, dict[str, str]]:
    text = (files("trust") / "words" / "phrases.toml").read_text("utf-8")
    # French sets these marks apart by a space that must not end a line
    return tomllib.loads(re.sub(r"(?<=\w|[)}`»]) (?=[;:?!%])", "\N{NO-BREAK SPACE}", text))


def check_language(lang: str) -> str:
    """The same language.  Raises: InvalidInput for one that there is no catalogue of."""
    if lang not in LANGUAGES:
        raise InvalidInput(f"the language {lang!r}", expected=nearest(lang, LANGUAGES))
    return lang


def phrase(key: str, lang: str = "en", **values: Any) -> str:
    """The text of that key; `{name}` in it is replaced."""
    return _catalogue()[key][lang].format(**values)


def among(word: str, candidates: Iterable[str], lang: str = "en") -> str:
    """`trust.errors.nearest` in that language."""
    names = sorted(set(candidates))
    if lang == "en":
        return nearest(word, names)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return phrase("perhaps", lang, name=close[0])
    return phrase("one_of", lang, names=", ".join(names[:12]) + (", …" if len(names) > 12 else ""))
