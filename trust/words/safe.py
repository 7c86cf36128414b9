"""Words that somebody else chose, made safe to show: every character that can hide, move or pose is written out.

Written out as `⟨U+202E⟩`, and the brackets themselves too, so that two different texts never look the same.
Source: Unicode Technical Report 36 and Standard Annex 9 (bidirectional text).
"""

from __future__ import annotations

import unicodedata

from trust.words.page import MARKS

__all__ = ["escaped", "lines_of"]

_QUOTES = ("QUOTATION MARK", "DOUBLE ANGLE", "DOUBLE PRIME", "MUCH LESS-THAN", "MUCH GREATER-THAN")
"""What a sign that opens or closes a quotation, or looks like one, has in its name."""
_APOSTROPHES = frozenset("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}")
_KEPT_SPACES = frozenset(" \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0x180B, 0x1810)}
"""Blank, though Unicode files them under letters, marks and symbols."""
_MOST_MARKS = 3
"""Marks on one letter; more of them climb over the lines above."""
_FIRST_STRONG, _POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def escaped(text: str, *, quotes: bool = True) -> str:
    """One line: no control, no invisible character, no sign of our own.

    `quotes`: quotation marks are written out too, for a text that stands between ours.
    """
    characters, marks = [], _MOST_MARKS
    for position, character in enumerate(text):
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Mc") else 0
        lost = character == " " and (
            position in (0, len(text) - 1) or text[position - 1] == " "
        )  # at the end of a line, say
        if _plain(character, quotes) and marks <= _MOST_MARKS and not lost:
            characters.append(character)
        else:
            characters.append(f"⟨U+{ord(character):04X}⟩")
            marks = _MOST_MARKS  # nothing may stand on a closing bracket
    whole = "".join(characters)
    if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in whole):
        return f"{_FIRST_STRONG}{whole}{_POP}"  # its direction must not turn the words around it
    return whole


def lines_of(text: str) -> list[str]:
    """The lines of a longer text, each made safe."""
    return [escaped(line, quotes=False) for line in text.split("\n")]


def _plain(character: str, quotes: bool) -> bool:
    if character in "⟨⟩" or character in MARKS or character in _INVISIBLE:
        return False
    name = unicodedata.name(character, "")
    if "VARIATION SELECTOR" in name:
        return False
    if quotes and character not in _APOSTROPHES and any(part in name for part in _QUOTES):
        return False
    category = unicodedata.category(character)
    if category[0] == "Z":
        return character in _KEPT_SPACES
    return category[0] != "C" and category != "Me"
