"""Run the demo: prepare the folder, tell the story, say it on the screen or as JSON, write the report."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datatrust.demo.checks import Checks
from datatrust.demo.compared import compare
from datatrust.demo.document import document
from datatrust.demo.engine import EngineStory, run_engine
from datatrust.demo.engine import engine_document as document_of_engine
from datatrust.demo.hospitals import write
from datatrust.demo.page import write_page
from datatrust.demo.program import python_program
from datatrust.demo.screen import ending, engine_screen, screen
from datatrust.demo.story import tell_story
from datatrust.demo.words import Words
from trust.errors import InvalidInput

__all__ = ["run_demo", "run_engine_demo"]

_FAULT = 3


def run_engine_demo(*, out: Path | None = None, as_json: bool = False, lang: str = "en", keep: bool = False) -> int:
    """The studies over a SuperLink, in processes of their own; the exit code: 0, or 3 where a comparison failed.

    Raises: InvalidInput for a language or a folder that cannot be used, Fault where a process does not run.
    """
    words = Words(lang)
    if as_json and keep:
        raise InvalidInput("--json and --keep together", expected="one of them")
    folder = _folder(out)

    def tell(event: str) -> None:
        if not as_json and (keep or not (event.startswith("node ") or ": sum " in event)):
            print(event, flush=True)

    def shown(story: EngineStory) -> None:
        for line in [json.dumps(document_of_engine(story))] if as_json else engine_screen(story, words):
            print(line, flush=True)

    with _writing(folder):
        story = run_engine(folder, lang, tell, shown, keep=keep)
    return _failed(story.checks, words)


def run_demo(*, out: Path | None = None, as_json: bool = False, lang: str = "en", show_code: bool = False) -> int:
    """The exit code: 0, or 3 where a comparison failed.

    Raises: InvalidInput for a language or a folder that cannot be used.
    """
    words = Words(lang)
    if as_json and show_code:
        raise InvalidInput("--json and --show-code together", expected="one of them")
    folder = _folder(out)
    if show_code:
        with _writing(folder):
            hospitals = write(folder / "data")
        print(python_program(hospitals), end="")
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
    return _failed(story.checks, words)


def _folder(out: Path | None) -> Path:
    return Path(tempfile.mkdtemp(prefix="datatrust-demo-")) if out is None else out.absolute()


def _failed(checks: Checks, words: Words) -> int:
    """Say which comparisons failed; the exit code."""
    for check in checks.failed:
        print(words("check_failed", name=f"{check.group}: {check.name}"), file=sys.stderr)
    return _FAULT if checks.failed else 0


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        remedy = "name a folder that you may write to"
        raise InvalidInput(f"{str(folder)!r} cannot be written ({wrong.strerror})", remedy=remedy) from None
