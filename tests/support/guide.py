"""Read a guide: what is typed where, which files are written, and what travels; and hold its print to a run's.

A comment before a fence says what it is:

<!-- on: north -->            commands after `$ `, typed at this place; what they print stands below each
<!-- on: north; also: south, east -->   and then at those, with their names in place of the first one's
<!-- on: north; exit: 1 -->   the last command ends with this exit code
<!-- file: north path -->     a file's content
<!-- carry -->                lines `place:path -> place:path`
<!-- skip: why -->            not for a test
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (on|file|carry|skip):?\s*([^>]*?)\s*-->\n\Z")
_NEEDS_A_MARK = ("console", "toml", "sql", "yaml")


@dataclass
class Typed:
    """One command and the lines below it."""

    command: str
    printed: list[str] = field(default_factory=list)

    @property
    def answers(self) -> list[tuple[str, str]]:
        """What the reader types: the question, and `y`; the passphrase is hers."""
        found = []
        for line in self.printed:
            if match := re.match(r"(.*\[y/N\]: )(\w+)$", line):
                found.append((match[1].rstrip(), match[2]))
            elif re.match(r"(Passphrase .*|The same again):$", line):
                found.append((line, "PASSPHRASE"))
        return found


@dataclass
class Step:
    """One fence.  `line`: where it stands."""

    kind: str
    line: int
    place: str = ""
    also: tuple[str, ...] = ()
    exit: int = 0
    path: str = ""
    content: str = ""
    commands: list[Typed] = field(default_factory=list)

    def at(self, place: str) -> list[Typed]:
        """The commands with this place's name."""
        name = re.compile(rf"\b{re.escape(self.place)}\b")
        return [Typed(name.sub(place, c.command), [name.sub(place, line) for line in c.printed]) for c in self.commands]


def read(page: Path) -> list[Step]:
    """Raises: AssertionError for a fence that needs a mark and has none."""
    text = page.read_text("utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        mark = _MARK.search(text[: fence.start()][-200:])
        if mark is None:
            assert fence[1] not in _NEEDS_A_MARK, f"{page.name}:{line}: a fence without a mark"
            continue
        found.append(_step(mark[1], mark[2], fence[2], line))
    return found


def _step(kind: str, said: str, content: str, line: int) -> Step:
    step = Step(kind, line, content=content)
    if kind == "file":
        step.place, _, step.path = said.partition(" ")
    elif kind == "on":
        step.place, *rest = [part.strip() for part in said.split(";")]
        for part in rest:
            name, _, value = part.partition(":")
            if name == "also":
                step.also = tuple(each.strip() for each in value.split(","))
            elif name == "exit":
                step.exit = int(value)
            else:
                raise AssertionError(f"line {line}: {part!r}")
        step.commands = _commands(content)
        assert step.commands, f"line {line}: no command"
    return step


def _commands(content: str) -> list[Typed]:
    found: list[Typed] = []
    continued = False
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append(Typed(line[2:]))
        elif continued:
            found[-1].command += "\n" + line
        elif found:
            found[-1].printed.append(line)
        continued = line.endswith("\\")
    return found


# ---- what is printed

_VOLATILE = (
    (re.compile(r"\b(?:sha256:)?(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}(?![0-9a-f])…?"), "#"),
    (re.compile(r"\b[a-z]+(?:-[a-z]+)+-[a-z0-9]{4}\b"), "#"),  # a study's id ends with four random characters
    (re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)


def plain(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, instead in _VOLATILE:
        line = pattern.sub(instead, line)
    return line.strip()


def lacking(printed: list[str], said: str) -> str:
    """The first line of the guide that was not printed, in the guide's order; empty if all were.

    `…` stands for anything: alone for lines, within a line for the rest of a word or of the line.
    """
    lines = [plain(line) for line in said.splitlines()]
    at = 0
    for line in printed:
        wanted = plain(line)
        if not wanted or wanted == "…":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        at = next((n + 1 for n in range(at, len(lines)) if pattern.fullmatch(lines[n])), -1)
        if at < 0:
            return line
    return ""
