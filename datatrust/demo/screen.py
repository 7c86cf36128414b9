"""The demo on a terminal: plain lines, at most 88 columns and about 60 lines; the report says more."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from datatrust.demo import tables
from datatrust.demo.engine import EngineStory
from datatrust.demo.hospitals import SEED
from datatrust.demo.proof import Proof
from datatrust.demo.question import SMALL
from datatrust.demo.report import ReportTable
from datatrust.demo.sentences import asked, change_said, outcome, proved
from datatrust.demo.story import Story
from datatrust.demo.words import Words
from datatrust.person.program import program
from trust.documents.verification import STEPS

__all__ = ["ending", "engine_screen", "screen"]

_WIDTH = 88
_QUESTIONS_SHOWN = 3
"""Of what was asked, the first few: question, purpose, about whom."""


def screen(story: Story, words: Words) -> Iterator[str]:
    """Every line but the last ones."""
    yield from [words("title"), "=" * len(words("title"))]
    yield from _text(f"{words('what_1')} {words('made_up', seed=str(SEED))}")
    yield from _heading(1, words("seed_title"))
    yield from _table(tables.seed_table(story, words), words)
    yield from _text(f"{words('seed_rebuilt')} {words('seed_short')}")
    yield from _heading(2, words("study_title"))
    for name, sentence in asked(story, words)[:_QUESTIONS_SHOWN]:
        yield from _hanging(words("pair", name=name, said=sentence))
    yield ""
    yield from _table(tables.coefficients(story, words), words)
    yield ""
    yield from _heading(3, words("refused"))
    yield from _refusals(story, words)
    yield ""
    yield from _heading(4, words("proof_title"))
    yield from _text(f"{words('proof_short', steps=len(STEPS), entries=story.proof.entries)} {proved(story, words)}")


def engine_screen(story: EngineStory, words: Words) -> Iterator[str]:
    """Every line of the demo over a SuperLink, events aside."""
    yield from _heading(1, words("engine_title"))
    yield from _text(words("engine_1", address=story.address, seconds=words.number(story.seconds[0], 1)))
    yield from _table(tables.coefficients(story, words), words)
    yield ""
    yield from _heading(2, words("refused"))
    rules = (story.women.refused.rule, ", ".join(story.mended.rules), story.attack.refusal.refused.rule)
    for index, refusing in zip((2, 3, 5), rules, strict=True):
        question = words(f"outcome_{index}", persons=SMALL)
        yield from _hanging(words("refused_by", question=question, rules=refusing))
    yield ""
    yield words("checked", passed=story.checks.passed(), total=story.checks.total())
    yield _verify(story.proof, words)


def _verify(proof: Proof, words: Words) -> str:
    """The command that verifies the result, as it can be typed here."""
    called, path, root = map(shlex.quote, (program(), str(proof.result), str(proof.root)))
    return words("verify", program=called, path=path, root=root)


def ending(story: Story, words: Words, report: str) -> Iterator[str]:
    """The last lines: how much was checked, the command that verifies the result, and where data and report are."""
    yield words("checked", passed=story.checks.passed(), total=story.checks.total())
    yield _verify(story.proof, words)
    yield words("data", path=str(story.written.dataset.parent))
    yield words("report", path=report)


def _refusals(story: Story, words: Words) -> Iterator[str]:
    """Each study that was refused, by which rule, and what would mend it."""
    remedies = {
        1: words("remedy_is", remedy=story.women.refused.remedy),
        2: words("mended_short", change=change_said(story)) if story.mended.result else "",
        4: words("differencing_remedy_is", remedy=story.attack.refusal.refused.remedy, persons=story.persons),
    }
    for index, rules in enumerate(story.outcomes):
        if rules:
            yield from _hanging(words("refused_by", question=outcome(story, words, index), rules=", ".join(rules)))
            if remedies.get(index):
                yield from _hanging(words("pair", name=words("remedy"), said=remedies[index]), 4)
    difference_words = words("attack_short", value=words.number(story.attack.difference[1], 0))
    yield from _hanging(words("pair", name=words("told"), said=difference_words), 4)


# ---- layout


def _heading(number: int, text: str) -> list[str]:
    return [f"{number}  {text}", "-" * (len(text) + 3)]


def _text(paragraph: str) -> list[str]:
    return [*textwrap.wrap(paragraph, _WIDTH), ""]


def _hanging(text: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent="    ")


def _table(table: ReportTable, words: Words) -> list[str]:
    """Its caption; labels to the left, numbers to the right."""
    rows = [[words("hidden") if cell is None else cell for cell in row] for row in table.rows]
    head = [textwrap.wrap(cell, 14 if index >= table.labels else 40) for index, cell in enumerate(table.head)]
    widths = [
        max([len(line) for line in column] + [len(row[index]) for row in rows]) for index, column in enumerate(head)
    ]

    def line(cells: list[str]) -> str:
        sides = (
            cell.ljust(w) if index < table.labels else cell.rjust(w)
            for index, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return ("  " + "  ".join(sides)).rstrip()

    deepest = max(map(len, head))
    heads = [line([*column]) for column in zip(*([""] * (deepest - len(c)) + c for c in head), strict=True)]
    return [*heads, line(["-" * w for w in widths]), *map(line, rows)]
