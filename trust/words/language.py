"""The languages, and the one loader of their catalogues: a file a language, a section a page."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from trust.errors import InvalidInput, nearest

__all__ = ["LANGUAGES", "catalogue", "check_language", "french"]

LANGUAGES = ("en", "fr")
_SPACE, _THIN = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
_FRENCH = (
    (re.compile(r"(?<=«) | (?=»)|(?<=n°) | (?=[:%])"), _SPACE),
    (re.compile(r" (?=[;!?])"), _THIN),
    (re.compile(r"(?<=\w)'(?=\w)"), "’"),
)
"""Spaces that must not end a line, and the apostrophe (Lexique des règles typographiques, Imprimerie nationale)."""


def check_language(lang: str) -> str:
    """The same language.  Raises: InvalidInput for one that has no catalogue."""
    if lang not in LANGUAGES:
        raise InvalidInput(f"the language {lang!r}", expected=nearest(lang, LANGUAGES))
    return lang


@functools.cache
def catalogue(lang: str, package: str = "trust.words") -> Mapping[str, Mapping[str, Any]]:
    """The texts of `LANG.toml` in that package, by section and key.  Raises: InvalidInput for another language."""
    text = (files(package) / f"{check_language(lang)}.toml").read_text("utf-8")
    return tomllib.loads(french(text) if lang == "fr" else text)


def french(text: str) -> str:
    """With the no-break spaces and apostrophes of French in place of ordinary ones."""
    for pattern, mark in _FRENCH:
        text = pattern.sub(mark, text)
    return text
