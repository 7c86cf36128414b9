"""Run the demo: prepare the folder, tell the story, say it on the screen or as JSON, write the report."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datatrust.demo.compared import compare
from datatrust.demo.document import document
from datatrust.demo.hospitals import write
from datatrust.demo.page import write_page
from datatrust.demo.program import program
from datatrust.demo.screen import ending, screen
from datatrust.demo.story import tell_story
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
        folder.mkdir(parents=True, exist_ok=True)
        story = tell_story(folder, lang)
    compare(story)
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
