"""Run the demo: prepare the folder, tell the story, say it on the screen or as JSON, write the report."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from datatrust.demo.hospitals import COHORT, SEED, write
from datatrust.demo.page import write_page
from datatrust.demo.program import program
from datatrust.demo.screen import ending, screen
from datatrust.demo.story import COEFFICIENTS, SEXES, TITLE, Story, tell_story
from datatrust.words import Words
from trust.errors import InvalidInput

__all__ = ["run_demo"]

_FAULT = 3


def run_demo(*, out: Path | None = None, as_json: bool = False, lang: str = "en", show_code: bool = False) -> int:
    """The exit code: 0, or 3 where a comparison failed.

    Raises: InvalidInput for a language or a folder that cannot be used.
    """
    words = Words(lang)
    if as_json and show_code:
        raise InvalidInput("--json and --show-code together", expected="one of them")
    folder = Path(tempfile.mkdtemp(prefix="datatrust-demo-")) if out is None else out.absolute()
    if show_code:
        with _writing(folder):
            written = write(folder / "data")
        print(program(written), end="")
        return 0
    with _writing(folder):
        story = tell_story(folder / "data")
    if not as_json:
        for line in screen(story, words):
            print(line)
    with _writing(folder):
        report = write_page(story, words, folder / "report.html")
    if as_json:
        print(json.dumps(document(story, report)))
    else:
        for line in ending(story, words, str(report)):
            print(line)
    for check in story.checks.failed:
        print(words("check_failed", name=f"{check.group}: {check.name}"), file=sys.stderr)
    return _FAULT if story.checks.failed else 0


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        remedy = "name a folder that you may write to"
        raise InvalidInput(f"{str(folder)!r} cannot be written ({wrong.strerror})", remedy=remedy) from None


def document(story: Story, report: Path) -> dict[str, Any]:
    """The story as JSON; a hidden figure is null."""
    fit = story.fit
    no = story.refusal.refused
    names = [name for name, key in COEFFICIENTS.items() if key]
    interval = fit.conf_int()
    return {
        "seed": {case.name: {"local": case.local, "federated": case.federated} for case in story.cases},
        "study": {
            "title": TITLE,
            "cohort": COHORT,
            "purpose": story.result.study.purpose,
            "charter": story.trust.charter.name,
            "seed": SEED,
            "rows": story.written.rows,
            "table": {sex: _table(story, sex) for sex in SEXES},
            "histogram": {"edges": [int(edge) for edge in story.ages.edges], "counts": story.bins},
            "odds_ratios": {
                name: _exp(odds_ratio=fit.params[name], low=interval[0][name], high=interval[1][name]) for name in names
            },
            "sent": {t.partner: {"messages": t.messages, "sums": t.sums, "bytes": t.bytes} for t in story.traffic},
            "masked": {"bytes": story.masked.bytes, "pvalue": story.masked.pvalue},
            "largest_difference": story.largest_difference,
        },
        "refused": {"rule": no.rule, "text": no.text, "remedy": no.remedy},
        "checked": [story.checks.passed(), story.checks.total()],
        "report": str(report),
    }


def _exp(**values: float) -> dict[str, float]:
    return {name: math.exp(value) for name, value in values.items()}


def _table(story: Story, sex: str) -> dict[str, dict[str, float | None]]:
    frame = story.table.loc[[sex]].droplevel("sex")
    return {
        str(name): {str(key): None if pd.isna(value) else float(value) for key, value in column.items()}
        for name, column in frame.items()
    }
