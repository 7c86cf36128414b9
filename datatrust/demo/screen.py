"""The demo on a terminal: plain lines, at most 88 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from datatrust.demo import tables
from datatrust.demo.hospitals import EDGES, SEED
from datatrust.demo.sentences import ages_title, asked, hidden_means, refused, rule_words, seed_charter
from datatrust.demo.story import Story
from datatrust.report import Table
from datatrust.words import Words

__all__ = ["ending", "screen"]

_WIDTH, _BAR = 88, 40


def screen(story: Story, words: Words) -> Iterator[str]:
    """Every line but the last ones."""
    yield from [words("title"), "=" * len(words("title")), ""]
    yield from _text(words("what_1"), words("what_2"), words("made_up", seed=SEED))
    yield from _seed(story, words)
    yield from _study(story, words)
    yield from _refusal(story, words)
    yield from _heading(4, words("sent"))
    yield from _text(words("sent_1"))
    yield from _table(tables.traffic(story, words), words)
    yield from _text(words("sent_2", bytes=words.count(story.masked.bytes)))
    yield from _heading(5, words("checks"))
    yield from _text(words("checks_1", rows=words.count(sum(story.written.rows.values()))))
    yield from _table(tables.checks(story, words), words)
    yield from _text(words("largest", value=words.small(story.largest_difference)))


def ending(story: Story, words: Words, report: str) -> Iterator[str]:
    """The last lines: how much was checked, and where the report is."""
    yield words("checked", passed=story.checks.passed(), total=story.checks.total())
    yield words("data", path=str(story.written.dataset.parent))
    yield words("report", path=report)


def _seed(story: Story, words: Words) -> Iterator[str]:
    yield from _heading(1, words("seed_title"))
    yield from _text(words("seed_1"), words("seed_2"), words("seed_3"))
    yield from _table(tables.seed(story, words), words)
    yield from _text(seed_charter(story, words))
    yield from _text(words("seed_rebuilt"), words("seed_source"))


def _study(story: Story, words: Words) -> Iterator[str]:
    yield from _heading(2, words("study_title"))
    for name, said in asked(story, words):
        yield from textwrap.wrap(
            words("pair", name=name, said=said), _WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    yield ""
    for table in (tables.by_sex(story, words), tables.by_pain(story, words)):
        yield from _table(table, words)
    yield from _bars(story, words)
    yield from _table(tables.coefficients(story, words), words)
    yield from _text(words("risk_note", records=words.count(story.fit.nobs)))


def _refusal(story: Story, words: Words) -> Iterator[str]:
    yield from _heading(3, words("refused"))
    yield from _text(*refused(story, words))
    for name, said in rule_words(story, words):
        yield from textwrap.wrap(
            words("pair", name=name, said=said), _WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    yield from ["", *_text(words("remedy_here"))]


# ---- layout


def _heading(number: int, text: str) -> list[str]:
    return [f"{number}  {text}", "-" * (len(text) + 3), ""]


def _text(*paragraphs: str) -> list[str]:
    return [line for paragraph in paragraphs for line in [*textwrap.wrap(paragraph, _WIDTH), ""]]


def _table(table: Table, words: Words) -> list[str]:
    """Labels to the left, numbers to the right."""
    rows = [[words("hidden") if cell is None else cell for cell in row] for row in table.rows]
    head = [textwrap.wrap(cell, 14 if at >= table.labels else 40) for at, cell in enumerate(table.head)]
    widths = [max([len(line) for line in column] + [len(row[at]) for row in rows]) for at, column in enumerate(head)]

    def line(cells: list[str]) -> str:
        sides = (
            cell.ljust(w) if at < table.labels else cell.rjust(w)
            for at, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return ("  " + "  ".join(sides)).rstrip()

    deepest = max(map(len, head))
    heads = [line([*column]) for column in zip(*([""] * (deepest - len(c)) + c for c in head), strict=True)]
    return [table.caption, "", *heads, line(["-" * w for w in widths]), *map(line, rows), ""]


def _bars(story: Story, words: Words) -> list[str]:
    found = story.bins
    largest = max(count for count in found if count is not None)
    lines = [ages_title(story, words), ""]
    for low, high, count in zip(EDGES, EDGES[1:], found, strict=False):
        shown = words("hidden") if count is None else words.count(count)
        lines.append(f"  {low}–{high}  {shown:>8}  {'█' * round(_BAR * (count or 0) / largest)}".rstrip())
    return [*lines, "", *textwrap.wrap(hidden_means(story, words), _WIDTH), ""]
