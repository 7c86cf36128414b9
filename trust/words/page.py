"""A page of words: sections of lines, for a terminal now and for HTML later."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["MARKS", "Line", "Page", "Section"]

Kind: TypeAlias = Literal["text", "item", "quote", "code", "warning"]

_BULLET, _INNER, _BAR, _FLAG, _RULE = "•", "◦", "│", "■", "═"
MARKS = frozenset({_BULLET, _INNER, _BAR, _FLAG, _RULE})
"""Signs that say what a line is; words of others never hold them, so that a wrapped line cannot pose as another."""


@dataclass(frozen=True)
class Line:
    """One line of a section, without a line break in it.

    `quote`: somebody else's words, or what is digested, as they are; `code`: never broken; `warning`: to be seen.
    """

    text: str
    kind: Kind = "text"
    depth: int = 0


@dataclass(frozen=True)
class Section:
    """A heading and its lines."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Page:
    """The whole page; iterating gives its sections."""

    title: str
    sections: tuple[Section, ...]

    def __iter__(self) -> Iterator[Section]:
        return iter(self.sections)

    def text(self, width: int = 88) -> str:
        """For a terminal.

        Only headings begin in the first column, and a line that goes on is indented further than one that begins: words
        that somebody else chose can look like neither.
        """
        lines = [self.title, _RULE * min(columns(self.title), width)]
        for section in self.sections:
            lines += ["", *wrap(section.heading, "", "  ", width)]
            for line in section.lines:
                lines += _laid_out(line, width)
        return "\n".join(lines) + "\n"


def _laid_out(line: Line, width: int) -> list[str]:
    indent = "  " * (line.depth + 1)
    match line.kind:
        case "item":
            first = f"{indent}{_INNER if line.depth else _BULLET} "
            return wrap(line.text, first, indent + "  ", width)
        case "quote":
            return wrap(line.text, f"{indent}{_BAR} ", f"{indent}{_BAR} ", width)
        case "warning":
            return wrap(line.text, f"{indent}{_FLAG} ", indent + "    ", width)
        case "code":
            return [f"{indent}  {line.text}"]
    return wrap(line.text, indent, indent + "  ", width)


def wrap(text: str, first: str, rest: str, width: int) -> list[str]:
    """Broken at ordinary spaces only, a word that is too long anywhere; widths are those of a terminal."""
    lines, line, used, fresh = [], first, columns(first), True
    for word in text.split(" "):
        for index, piece in enumerate(_pieces(word, width - max(columns(first), columns(rest)))):
            glue = "" if fresh or index else " "
            size = columns(piece)
            if not fresh and used + len(glue) + size > width:
                lines.append(line)
                line, used, glue = rest, columns(rest), ""
            line, used, fresh = line + glue + piece, used + len(glue) + size, False
    return [line.rstrip(" ") for line in (*lines, line)]


def _pieces(word: str, room: int) -> list[str]:
    """The word, or as many pieces of it as fit."""
    pieces, used = [""], 0
    for character in word:
        size = columns(character)
        if used + size > room:
            pieces.append("")
            used = 0
        pieces[-1] += character
        used += size
    return pieces


def columns(text: str) -> int:
    """How wide a text is in a terminal: wide characters count two, marks on a letter none."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
